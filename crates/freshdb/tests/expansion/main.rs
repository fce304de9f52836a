//! What may stand around, above and inside a test: names of the user's own, attributes, arguments of all forms.
//!
//! What cannot be a test is in `crates/user-tests`. SQLite is enough here: what the engines differ in is not the attribute's.

extern crate freshdb as db;

use std::sync::atomic::{AtomicBool, Ordering};

use freshdb::SqliteEngine;
use freshdb::test::{Lease, Schema, schema};

fn tags() -> impl Schema {
    schema::sql("CREATE TABLE tags (tag_id TEXT PRIMARY KEY)")
}

async fn insert(engine: &SqliteEngine) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO tags VALUES ('Rust')").execute(engine).await.map(drop)
}

/// A comment for whoever reads the source.
#[freshdb::test(schema = tags(), on = [sqlite])]
#[allow(clippy::unused_async, reason = "attributes of functions are as good here as elsewhere")]
async fn with_nothing_to_await() {}

#[freshdb::test(schema = tags(), on = [sqlite],)]
async fn with_a_comma_at_the_end(engine: SqliteEngine) -> Result<(), sqlx::Error> {
    insert(&engine).await
}

#[freshdb::test(on = [sqlite])]
#[ignore = "it would fail: this is how one knows that it does not run"]
async fn ignored() {
    panic!("an ignored test has run");
}

#[freshdb::test(schema = tags(), on = [sqlite])]
#[should_panic(expected = "UNIQUE constraint failed")]
async fn that_should_panic(engine: SqliteEngine) {
    insert(&engine).await.expect("the first");
    insert(&engine).await.expect("the second");
}

#[freshdb::test(on = [sqlite])]
#[cfg(any())]
async fn configured_away(argument: NoSuchType) {}

#[cfg(any())]
#[freshdb::test(on = [sqlite])]
async fn configured_away_from_above(argument: NoSuchType) {}

#[freshdb::test(on = [sqlite])]
#[cfg_attr(all(), ignore = "it would fail")]
async fn ignored_by_a_condition() {
    panic!("an ignored test has run");
}

struct Pair {
    engine: SqliteEngine,
    lease: Lease,
}

impl freshdb::test::FromContext for Pair {
    async fn from_context(context: &mut freshdb::test::Context) -> Result<Self, freshdb::test::ArgumentError> {
        Ok(Self { engine: context.get().await?, lease: context.get().await? })
    }
}

#[freshdb::test(schema = tags(), on = [sqlite])]
async fn arguments_are_patterns(mut lease: Lease, Pair { engine, lease: same }: Pair, _: Lease) {
    assert_eq!(lease.name(), same.name());
    lease = same;
    insert(&engine).await.expect("a row");
    assert!(lease.url().reveal().starts_with("sqlite://"));
}

#[expect(clippy::too_many_arguments, reason = "as many as there may be")]
#[freshdb::test(on = [sqlite])]
async fn eight_arguments(_: Lease, _: Lease, _: Lease, _: Lease, _: Lease, _: Lease, _: Lease, engine: SqliteEngine) {
    drop(engine);
}

#[freshdb::test(on = [sqlite])]
async fn an_outcome_in_an_outcome() -> Result<Result<(), std::fmt::Error>, std::io::Error> {
    Ok(Ok(()))
}

#[freshdb::test(on = [sqlite])]
async fn an_error_that_is_not_named() -> Result<(), impl std::fmt::Debug> {
    Ok::<_, std::fmt::Error>(())
}

#[freshdb::test(on = [sqlite])]
async fn r#match() {}

#[freshdb::test(on = [sqlite])]
async fn sqlite() {}

// The value of an option is an expression of the user's, in which the names of the expansion mean nothing.
const NAME: &str = "CREATE TABLE tags (tag_id TEXT PRIMARY KEY)";
mod kind {
    pub(super) const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
}

#[freshdb::test(schema = { let test = NAME; schema::sql(test) }, on = [sqlite], timeout = kind::LIMIT, grace = kind::LIMIT / 10)]
async fn options_are_expressions(engine: SqliteEngine) -> Result<(), sqlx::Error> {
    insert(&engine).await
}

#[db::test(crate = db, schema = tags(), on = [sqlite], flavor = "multi_thread", leaks = "warn")]
async fn where_freshdb_is_called_otherwise(engine: SqliteEngine) -> Result<(), sqlx::Error> {
    insert(&engine).await
}

/// Names of the user's that are those of what the expansion needs.
mod names_that_mean_something_else {
    use super::tags;

    #[allow(dead_code)]
    mod freshdb {}
    #[allow(dead_code)]
    mod std {}
    #[allow(dead_code)]
    mod core {}
    #[allow(dead_code)]
    struct String;
    #[allow(dead_code)]
    enum Result {
        Ok,
    }
    #[allow(dead_code)]
    struct Kind;
    #[allow(unused_macros)]
    macro_rules! module_path {
        () => {
            compile_error!("this is the user's")
        };
    }
    #[allow(dead_code)]
    fn test() {}
    #[allow(dead_code)]
    fn name() {}

    #[::freshdb::test(schema = tags(), on = [sqlite])]
    async fn do_no_harm(engine: ::freshdb::SqliteEngine) -> ::std::result::Result<(), sqlx::Error> {
        super::insert(&engine).await
    }

    mod and_deeper {
        #[::freshdb::test(schema = super::super::tags(), on = [sqlite])]
        async fn do_no_harm(engine: ::freshdb::SqliteEngine) -> Result<(), sqlx::Error> {
            crate::insert(&engine).await
        }
    }
}

/// A test that is written by a macro of the user's.
macro_rules! stored {
    ($name:ident, $tag:expr) => {
        #[freshdb::test(schema = tags(), on = [sqlite])]
        async fn $name(engine: SqliteEngine) -> Result<(), sqlx::Error> {
            sqlx::query("INSERT INTO tags VALUES (?)").bind($tag).execute(&engine).await.map(drop)
        }
    };
}

stored!(written_by_a_macro, "Rust");
stored!(written_by_a_macro_again, "Python");

static BODY_HAS_RUN: AtomicBool = AtomicBool::new(false);

#[freshdb::test(on = [sqlite])]
async fn the_function_is_an_ordinary_one() {
    BODY_HAS_RUN.store(true, Ordering::SeqCst);
}

#[test]
fn and_can_be_called() {
    futures_executor::block_on(the_function_is_an_ordinary_one());
    assert!(BODY_HAS_RUN.load(Ordering::SeqCst));
}

/// Every test is there, under the name of its function and its engine, and those that are configured away are not.
#[test]
fn each_is_a_test_of_its_engine() {
    let list = std::process::Command::new(std::env::current_exe().expect("this program")).arg("--list").output();
    let list = String::from_utf8(list.expect("a list").stdout).expect("text");
    insta::assert_snapshot!(list, @r"
    an_error_that_is_not_named::sqlite: test
    an_outcome_in_an_outcome::sqlite: test
    and_can_be_called: test
    arguments_are_patterns::sqlite: test
    each_is_a_test_of_its_engine: test
    eight_arguments::sqlite: test
    ignored::sqlite: test
    ignored_by_a_condition::sqlite: test
    names_that_mean_something_else::and_deeper::do_no_harm::sqlite: test
    names_that_mean_something_else::do_no_harm::sqlite: test
    options_are_expressions::sqlite: test
    r#match::sqlite: test
    sqlite::sqlite: test
    that_should_panic::sqlite: test
    the_function_is_an_ordinary_one::sqlite: test
    where_freshdb_is_called_otherwise::sqlite: test
    with_a_comma_at_the_end::sqlite: test
    with_nothing_to_await::sqlite: test
    written_by_a_macro::sqlite: test
    written_by_a_macro_again::sqlite: test

    20 tests, 0 benchmarks
    ");
}
