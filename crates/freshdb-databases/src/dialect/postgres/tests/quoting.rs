//! Whatever stands in a name or in a text: the server reads it as that, and as nothing else.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, Column as _, Row as _};

use super::super::connection::{Connection, execute, identifier, literal, sqlstate};
use super::admin;

/// The longest name: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>.
const LONGEST: usize = 63;

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
            "\"; SELECT 7; -- ",
            "$$",
            "U&",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
        "[a-z]{1,8}",
    ];
    let some = prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat());
    prop_oneof![40 => some.clone(), 1 => some.prop_map(|text| text.repeat(5_000))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn texts_stay_texts() {
    let mut admin = admin().await;
    for conforming in ["on", "off"] {
        execute(&mut admin, &format!("SET standard_conforming_strings = {conforming}")).await.expect("a setting");
        hold(|text| {
            let answer = ask(&mut admin, &format!("SELECT{}, 'behind'", literal(text)));
            // No text of the server's holds a NUL, and no statement does.
            if text.contains('\0') {
                prop_assert!(answer.is_err());
                return Ok(());
            }
            let (_, values) = answer.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(values, vec![text.to_owned(), "behind".to_owned()]);
            Ok(())
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn names_stay_names() {
    let mut admin = admin().await;
    hold(|name| {
        let answer = ask(&mut admin, &format!("SELECT 'a' AS {}, 'b' AS behind", identifier(name)));
        if name.contains('\0') {
            prop_assert!(answer.is_err());
            return Ok(());
        }
        let (names, _) = answer.map_err(|error| TestCaseError::fail(format!("{:?}: {error}", sqlstate(&error))))?;
        prop_assert_eq!(names.len(), 2);
        prop_assert_eq!(&names[1], "behind");
        prop_assert_eq!(&names[0], &name[..name.floor_char_boundary(LONGEST)]);
        Ok(())
    });
}

fn hold(mut property: impl FnMut(&str) -> Result<(), TestCaseError>) {
    let property = std::cell::RefCell::new(&mut property);
    tokio::task::block_in_place(|| {
        TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() })
            .run(&hostile(), |text| (property.borrow_mut())(&text))
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

/// The names and the values of the one row that there is to be.
fn ask(connection: &mut Connection, sql: &str) -> Result<(Vec<String>, Vec<String>), sqlx::Error> {
    let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection.wire);
    let rows = tokio::runtime::Handle::current().block_on(query)?;
    assert_eq!(rows.len(), 1, "{sql}");
    let names = rows[0].columns().iter().map(|column| column.name().to_owned()).collect();
    let values = (0..rows[0].len()).map(|at| rows[0].try_get_unchecked(at)).collect::<Result<_, _>>()?;
    Ok((names, values))
}
