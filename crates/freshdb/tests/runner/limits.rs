//! Limits of all sizes: of no time at all, of all the time that there is, and what is due to each of many.

use std::future::pending;
use std::time::Duration;

use freshdb::test::{ArgumentError, Case, Context, FromContext, Kind, Runtime, run, schema};

use super::child;

/// The threads of its own runtime are no leak of the test's, however little it is to wait for leaks.
#[test]
fn no_grace() {
    for number in 0..50 {
        let case = Case::new(format!("number_{number}"), Kind::Sqlite).runtime(Runtime::MultiThread(2));
        run(case.grace(Duration::ZERO), || schema::sql(""), async || {});
    }
}

#[freshdb::test(on = [sqlite], timeout = Duration::MAX, grace = Duration::MAX)]
async fn no_limits() {}

const GRACE: Duration = Duration::from_millis(250);

/// More than what else a test is given at its end.
const ENDINGS: usize = 12;

/// What does not end, many times.
struct Endless;

impl FromContext for Endless {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        for number in 0..ENDINGS {
            context.on_end(format!("number {number}"), pending());
        }
        Ok(Self)
    }
}

#[ignore = "run by the test of its report"]
#[freshdb::test(on = [sqlite], timeout = Duration::from_secs(1), grace = GRACE)]
async fn much_to_end(_: Endless) {}

/// Each is given twice the grace, and the thread that waits for them is not taken for one that is blocked.
#[test]
fn each_of_what_is_to_be_ended_has_its_limit_for_itself() {
    let printed = child::run("limits::much_to_end::sqlite", &[]);
    assert!(!printed.passed, "{}", printed.text);
    assert_eq!(printed.text.matches("it took longer than").count(), ENDINGS, "{}", printed.text);
    assert!(!printed.text.contains("left behind"), "{}", printed.text);
}
