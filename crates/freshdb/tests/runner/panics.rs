//! Tests that are meant to panic: nothing but a panic of their own, in the words that were expected, lets them pass.

use std::future::pending;
use std::time::Duration;

use freshdb::SqliteEngine;
use freshdb::test::{ArgumentError, Context, FromContext};
use insta::assert_snapshot;

use super::{child, culprits, tags};

const GRACE: Duration = Duration::from_millis(200);

mod meant {
    use super::*;

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic]
    async fn panics() {
        panic!("the body's own words");
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic]
    async fn panics_without_words() {
        std::panic::panic_any(42);
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic(expected = "body's own")]
    async fn panics_as_expected() {
        panic!("the body's {} words", "own");
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic(expected = "somebody else's")]
    async fn panics_otherwise() {
        panic!("the body's own words");
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic(expected = "the body's own words")]
    async fn panics_without_the_words() {
        std::panic::panic_any(42);
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic]
    async fn returns() {}

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic]
    async fn returns_an_error() -> Result<(), std::fmt::Error> {
        Err(std::fmt::Error)
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite], timeout = GRACE)]
    #[should_panic]
    async fn waits_for_ever() {
        pending::<()>().await;
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(schema = tags(), on = [sqlite], grace = GRACE)]
    #[should_panic]
    async fn leaks(engine: SqliteEngine) {
        culprits::keep(engine.session().await.expect("a session"));
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(schema = tags(), on = [sqlite], grace = GRACE)]
    #[should_panic]
    async fn panics_and_leaks(engine: SqliteEngine) {
        culprits::keep(engine.session().await.expect("a session"));
        panic!("the body's own words");
    }

    struct Fixture;

    impl FromContext for Fixture {
        async fn from_context(_: &mut Context) -> Result<Self, ArgumentError> {
            panic!("the fixture's words");
        }
    }

    #[ignore = "run by the test of its verdict"]
    #[freshdb::test(on = [sqlite])]
    #[should_panic]
    async fn does_not_begin(_: Fixture) {
        panic!("the body's own words");
    }
}

fn run(test: &str) -> child::Printed {
    child::run(&format!("panics::meant::{test}::sqlite"), &[])
}

#[test]
fn one_that_panics_passes() {
    for test in ["panics", "panics_without_words", "panics_as_expected"] {
        let printed = run(test);
        assert!(printed.passed, "{test}: {}", printed.text);
        assert_eq!(printed.errors, "", "{test}");
    }
}

#[test]
fn one_that_does_not_fails() {
    for test in ["returns", "returns_an_error", "waits_for_ever", "leaks", "panics_and_leaks", "does_not_begin"] {
        let printed = run(test);
        assert!(!printed.passed, "{test}: {}", printed.text);
    }
    assert_snapshot!(run("returns").text.trim_start(), @r"
    error: test `panics::meant::returns::sqlite` did not panic as expected
      test: crates/freshdb/tests/runner/panics.rs:55
      kept: no, its directory ends with the tests
    ");
}

#[test]
fn one_that_panics_in_other_words_fails() {
    let printed = run("panics_otherwise");
    assert!(!printed.passed, "{}", printed.text);
    assert_snapshot!(printed.text.trim_start(), @r#"
    thread 'panics::meant::panics_otherwise::sqlite' panicked at crates/freshdb/tests/runner/panics.rs:42:9:
    the body's own words
    note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
    error: test `panics::meant::panics_otherwise::sqlite` did not panic as expected: panic did not contain expected string
      panic message: "the body's own words"
      expected substring: "somebody else's"
      test: crates/freshdb/tests/runner/panics.rs:41
      kept: no, its directory ends with the tests
    "#);
    let printed = run("panics_without_the_words");
    assert!(!printed.passed, "{}", printed.text);
    assert_snapshot!(printed.text.trim_start(), @r#"
    thread 'panics::meant::panics_without_the_words::sqlite' panicked at crates/freshdb/tests/runner/panics.rs:49:9:
    Box<dyn Any>
    note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
    error: test `panics::meant::panics_without_the_words::sqlite` did not panic as expected: panic did not contain expected string
      panic message: unknown
      expected substring: "the body's own words"
      test: crates/freshdb/tests/runner/panics.rs:48
      kept: no, its directory ends with the tests
    "#);
}

#[test]
fn one_that_leaves_something_open_fails_for_that() {
    let printed = run("panics_and_leaks");
    assert!(!printed.passed, "{}", printed.text);
    assert_snapshot!(printed.text.trim_start(), @r"
    thread 'panics::meant::panics_and_leaks::sqlite' panicked at crates/freshdb/tests/runner/panics.rs:83:9:
    the body's own words
    note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
    error: test `panics::meant::panics_and_leaks::sqlite` left 1 session open on `freshdb_s_NAME` (waited N s)
      session: open for N s
        opened at crates/freshdb/tests/runner/panics.rs:82:31
        last statement: none
      test: crates/freshdb/tests/runner/panics.rs:81
      kept: no, its directory ends with the tests
    hint: drop each session, or await the task that owns it, before the test returns
    ");
}
