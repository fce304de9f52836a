//! No runtime at all: engines made, and sessions dropped, where there is none, in a thread's last moments, and in a panic.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc;

use freshdb::{Dialect, Engine};
use test_support::{DEADLINE, eventually};

use crate::harness::{CLOSE, PlainPool, on_a_thread, panic_of, patient, runtime_of_a_test};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY)";
const INSERT: &str = "INSERT INTO items VALUES (1)";

/// What the driver says where there is no runtime.
const NO_CONTEXT: &str = "this functionality requires a Tokio context";

with_every_plain_pool! {
    async fn plain_pool_panics_outside_of_a_runtime(database: &TestDatabase, open: Pool) {
        on_a_thread(|| {
            assert_eq!(panic_of(|| open(PlainPool::default(), database.url())), NO_CONTEXT);

            let runtime = runtime_of_a_test();
            let pool = runtime.block_on(async { open(PlainPool::default(), database.url()) });
            let connection = runtime.block_on(pool.acquire()).expect("a connection");
            assert_eq!(panic_of(|| drop(connection)), NO_CONTEXT);
            let transaction = runtime.block_on(pool.begin()).expect("a transaction");
            assert_eq!(panic_of(|| drop(transaction)), NO_CONTEXT);
        });
    }
}

with_every_plain_pool! {
    /// A test that fails takes all the others with it: the whole process is aborted.
    async fn plain_pool_aborts_the_process_in_a_panic(database: &TestDatabase, _open: Pool) {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "--nocapture", "survival::nowhere::a_test_that_fails"])
            .env(URL_OF_THE_CHILD, database.url())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("the test fails") && said.contains(NO_CONTEXT), "{said}");
        assert_eq!(child.status.code(), None, "it was ended by a signal: {said}");
    }
}

const URL_OF_THE_CHILD: &str = "FRESHDB_TEST_CHILD_URL";

#[test]
#[ignore = "run by `plain_pool_aborts_the_process_in_a_panic`, in a process of its own"]
fn a_test_that_fails() {
    fn with<DB: sqlx::Database>(url: &str) {
        let runtime = runtime_of_a_test();
        let pool = runtime.block_on(async { PlainPool::default().open::<DB>(url) });
        let _connection = runtime.block_on(pool.acquire()).expect("a connection");
        panic!("the test fails");
    }
    let url = std::env::var(URL_OF_THE_CHILD).expect("a URL");
    match url.split_once(':').expect("a URL").0 {
        "sqlite" => with::<sqlx::Sqlite>(&url),
        "postgres" => with::<sqlx::Postgres>(&url),
        _ => with::<sqlx::MySql>(&url),
    }
}

with_every_driver! {
    async fn an_engine_works_where_there_is_no_runtime(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let engine = open(database.url(), patient());
            futures_executor::block_on(async {
                sqlx::query(CREATE).execute(&engine).await.expect("a table");
                let mut tx = engine.begin().await.expect("a transaction");
                sqlx::query(INSERT).execute(&mut tx).await.expect("a row");
                let mut session = tx.commit().await.expect("it commits");
                let count: i64 =
                    sqlx::query_scalar("SELECT COUNT(*) FROM items").fetch_one(&mut session).await.expect("a count");
                assert_eq!(count, 1);
                drop(session);
                engine.close(CLOSE).await.expect("nothing leaks");
            });
        });
    }
}

with_every_driver! {
    async fn sessions_and_transactions_may_be_dropped_where_there_is_no_runtime(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let engine = open(database.url(), patient());
            let runtime = runtime_of_a_test();
            let (session, mut tx, last) = runtime.block_on(async {
                sqlx::query(CREATE).execute(&engine).await.expect("a table");
                let session = engine.session().await.expect("a session");
                (session, engine.begin().await.expect("a transaction"), open(database.url(), patient()))
            });
            runtime.block_on(sqlx::query(INSERT).execute(&mut tx)).expect("a row");
            runtime.block_on(async { drop(last.session().await.expect("a session")) });
            drop(runtime);
            drop(session);
            drop(tx);
            // The last handle to an engine that was never closed, too.
            drop(last);
            futures_executor::block_on(engine.close(CLOSE)).expect("nothing leaks");
        });
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}

thread_local! {
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

with_every_driver! {
    /// When a thread ends, what its thread-locals hold is dropped: before or after those of the runtime.
    async fn sessions_and_transactions_may_be_dropped_by_a_thread_that_ends(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        for runtime_first in [true, false] {
            let engine = engine.clone();
            let own = open(database.url(), patient());
            let thread = std::thread::spawn(move || {
                // What is used first is dropped last.
                if !runtime_first {
                    KEPT.with_borrow_mut(Vec::clear);
                }
                let kept = runtime_of_a_test().block_on(async {
                    let session = engine.session().await.expect("a session");
                    let mut tx = engine.begin().await.expect("a transaction");
                    sqlx::query(INSERT).execute(&mut tx).await.expect("a row");
                    drop(own.session().await.expect("a session"));
                    (session, tx)
                });
                KEPT.with_borrow_mut(|all| all.extend([Box::new(kept) as Box<dyn Any>, Box::new(own)]));
            });
            tokio::task::spawn_blocking(|| thread.join()).await.expect("a task").expect("the thread ends in order");
        }
        eventually("every connection is back", async || engine.stats().in_use == 0).await;
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
        engine.close(CLOSE).await.expect("nothing leaks");
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}

with_every_driver! {
    async fn sessions_and_transactions_may_be_dropped_in_a_panic(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let test = || {
            let runtime = runtime_of_a_test();
            let _session = runtime.block_on(engine.session()).expect("a session");
            let mut tx = runtime.block_on(engine.begin()).expect("a transaction");
            runtime.block_on(sqlx::query(INSERT).execute(&mut tx)).expect("a row");
            drop(runtime);
            panic!("the test fails");
        };
        // Outside of a runtime, and as it happens in a test: inside.
        assert_eq!(on_a_thread(|| panic_of(test)), "the test fails");
        let within = async {
            let _session = engine.session().await.expect("a session");
            let mut tx = engine.begin().await.expect("a transaction");
            sqlx::query(INSERT).execute(&mut tx).await.expect("a row");
            panic!("the test fails");
        };
        on_a_thread(|| catch_unwind(AssertUnwindSafe(|| runtime_of_a_test().block_on(within))).expect_err("it fails"));

        eventually("every connection is back", async || engine.stats().in_use == 0).await;
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
        sqlx::query(INSERT).execute(&engine).await.expect("nobody holds the row");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

/// What a session is for, which asks the engine whenever it is written, and when it ends.
struct Asking<DB: Dialect>(Engine<DB>);

impl<DB: Dialect> fmt::Display for Asking<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "one of {}", self.0.stats().sessions)
    }
}

impl<DB: Dialect> Drop for Asking<DB> {
    fn drop(&mut self) {
        assert!(self.0.stats().sessions <= 1);
    }
}

with_every_driver! {
    /// What the user wrote runs then, and may ask the engine about that same session.
    async fn a_session_is_dropped_whatever_its_label_does(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        for own in ["SELECT 1", "BEGIN"] {
            let mut session = engine.session().await.expect("a session");
            sqlx::raw_sql(own).execute(&mut session).await.expect("it is executed");
            session.label(Asking(engine.clone()));
            assert_eq!(engine.open_sessions()[0].label(), Some("one of 1"));
            let (ended, has_ended) = mpsc::channel();
            std::thread::spawn(move || {
                session.label(Asking(session.engine()));
                drop(session);
                ended.send(()).expect("somebody waits");
            });
            let waiting = tokio::task::spawn_blocking(move || has_ended.recv_timeout(DEADLINE));
            waiting.await.expect("it ends").unwrap_or_else(|_| panic!("{own}: a session that is not dropped"));
        }
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}
