//! Whatever stands in a name or in a text: the server reads it as that, and as nothing else.

use std::cell::{Cell, RefCell};

use futures_util::TryStreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, Column as _, Either, MySqlConnection, Row as _};

use super::super::connection::{identifier, literal, number};
use super::admin;
use crate::Kind;

const PARSE_ERROR: u16 = 1064;
/// So many bytes of a name are kept, and a few more: <https://dev.mysql.com/doc/refman/9.7/en/identifier-length.html>.
const LONGEST_KEPT: usize = 250;

macro_rules! on_both_in_threads {
    ($($name:ident),+) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn mysql() {
                super::$name(crate::Kind::Mysql).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn mariadb() {
                super::$name(crate::Kind::Mariadb).await;
            }
        }
    )+};
}

on_both_in_threads!(texts_stay_texts, names_stay_names);

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "'",
            "''",
            "`",
            "``",
            "\"",
            "\\",
            "\\'",
            "\\`",
            "\0",
            "\n",
            "\r",
            "\u{1a}",
            "\t",
            ";",
            "--",
            "-- ",
            "#",
            "/*",
            "/*!",
            "*/",
            "%",
            "_",
            "?",
            ":a",
            "🦀",
            "ü",
            " ",
            "' OR 1 = 1 -- ",
            "`; SELECT 7; -- ",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
        "[a-z]{1,8}",
    ];
    let some = prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat());
    prop_oneof![40 => some.clone(), 1 => some.prop_map(|text| text.repeat(5_000))]
}

async fn texts_stay_texts(kind: Kind) {
    let admin = RefCell::new(admin(kind).await);
    tokio::task::block_in_place(|| {
        TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() }).run(&hostile(), |text| {
            let found = ask(&mut admin.borrow_mut(), &format!("SELECT {}, 'behind'", literal(&text))).map_err(fail)?;
            prop_assert_eq!(found.values, vec![vec![text.into_bytes(), b"behind".to_vec()]]);
            prop_assert_eq!(found.statements, 1);
            Ok(())
        })
    })
    .unwrap_or_else(|error| panic!("{kind}: {error}"));
}

async fn names_stay_names(kind: Kind) {
    let admin = RefCell::new(admin(kind).await);
    let read_back = Cell::new(0);
    tokio::task::block_in_place(|| {
        TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() }).run(&hostile(), |name| {
            match ask(&mut admin.borrow_mut(), &format!("SELECT 1 AS {}, 2 AS behind", identifier(&name))) {
                Ok(found) => {
                    prop_assert_eq!(found.statements, 1);
                    prop_assert_eq!(found.names.len(), 2);
                    prop_assert_eq!(&found.names[1], "behind");
                    // What is not in the basic plane cannot be in a name, and what stands around an alias is not kept.
                    let is_kept = name
                        .chars()
                        .all(|letter| letter <= '\u{ffff}' && !letter.is_whitespace() && !letter.is_control());
                    if is_kept {
                        // A long one is cut off, at a length that is not the same on both servers.
                        prop_assert!(name.starts_with(&found.names[0]), "{}", found.names[0]);
                        prop_assert!(found.names[0].len() >= name.len().min(LONGEST_KEPT), "{}", found.names[0]);
                        read_back.set(read_back.get() + 1);
                    }
                }
                // Refused, and understood: but for what no name can hold, it is not the grammar that it broke.
                Err(error) => {
                    let refused = number(&error);
                    prop_assert!(refused.is_some(), "{}", error);
                    prop_assert!(refused != Some(PARSE_ERROR) || name.contains('\0'), "{}", error);
                }
            }
            Ok(())
        })
    })
    .unwrap_or_else(|error| panic!("{kind}: {error}"));
    let read_back = read_back.get();
    assert!(read_back > 20, "{kind}: only {read_back} names were read back");
}

#[derive(Default)]
struct Answer {
    statements: usize,
    names: Vec<String>,
    values: Vec<Vec<Vec<u8>>>,
}

/// All that the server answers, by a connection that lets several statements through at once.
fn ask(connection: &mut MySqlConnection, sql: &str) -> Result<Answer, sqlx::Error> {
    tokio::runtime::Handle::current().block_on(async {
        let mut answer = Answer::default();
        let mut answers = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(connection);
        while let Some(next) = answers.try_next().await? {
            match next {
                Either::Left(_) => answer.statements += 1,
                Either::Right(row) => {
                    answer.names = row.columns().iter().map(|column| column.name().to_owned()).collect();
                    let value = |at| row.try_get_unchecked::<Vec<u8>, _>(at);
                    answer.values.push((0..row.len()).map(value).collect::<Result<_, _>>()?);
                }
            }
        }
        Ok(answer)
    })
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn fail(error: sqlx::Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}
