//! How a test runs: on its own database, which is dropped whatever came of it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engines::{Engine, TestDatabase};

/// Makes a test of each engine out of one function: `name::sqlite`, `name::mysql`, `name::mariadb`, `name::postgres`; or
/// of just those engines that stand in brackets before it.
#[macro_export]
macro_rules! on_every_engine {
    ([$($engine:ident),*] $(#[$meta:meta])* async fn $name:ident($database:ident: &TestDatabase) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)]
            use super::*;

            async fn case($database: std::sync::Arc<$crate::TestDatabase>) {
                let $database: &$crate::TestDatabase = &$database;
                $body
            }

            $(
                #[test]
                fn $engine() {
                    $crate::run(stringify!($engine), case);
                }
            )*
        }
    };
    ($(#[$meta:meta])* async fn $($rest:tt)*) => {
        $crate::on_every_engine! { [sqlite, mysql, mariadb, postgres] $(#[$meta])* async fn $($rest)* }
    };
}

/// How long anything may take that a test waits for. Generous: it only ever passes in full when something is broken.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Runs one test on one engine, and drops its database whatever came of it.
///
/// # Panics
///
/// If the test does, or the engine is not there.
pub fn run<Case>(engine: &str, case: impl FnOnce(Arc<TestDatabase>) -> Case)
where
    Case: Future<Output = ()>,
{
    // From here on nothing is compiled anew for each test.
    run_any(engine, Box::new(|database| Box::pin(case(database))));
}

type AnyCase<'c> = Box<dyn FnOnce(Arc<TestDatabase>) -> Pin<Box<dyn Future<Output = ()> + 'c>> + 'c>;

fn run_any(engine: &str, case: AnyCase<'_>) {
    let engine = Engine::named(engine);
    crate::begin_log();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    };
    let during = runtime();
    let database = Arc::new(during.block_on(TestDatabase::create(engine)));
    let verdict = catch_unwind(AssertUnwindSafe(|| during.block_on(case(database.clone()))));
    // Ends whatever the test left running, with its connections, so that nothing holds the database.
    during.shutdown_timeout(DEADLINE);
    let database = Arc::into_inner(database).expect("the test has ended");
    runtime().block_on(database.drop());
    if let Err(panic) = verdict {
        resume_unwind(panic);
    }
}

/// Asks again and again until the answer is yes.
///
/// # Panics
///
/// If it is still no after [`DEADLINE`].
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same outside of a runtime: of what other processes do nothing else tells.
///
/// # Panics
///
/// As there.
pub fn eventually_blocking(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
