//! The floor: one database for all, one connection a thread, and a transaction for each test that is rolled back.

#![allow(missing_docs, reason = "tests")]

use freshdb_bench_suite::config::config;
use freshdb_bench_suite::{body, two_hundred, unique_name};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection, PgConnection, SqliteConnection};
use tokio::runtime::{Builder, Runtime};

macro_rules! test {
    ($name:ident) => {
        #[test]
        fn $name() {
            super::test();
        }
    };
}

macro_rules! tests_with {
    ($driver:ident, $connection:ty) => {
        mod $driver {
            use std::sync::Mutex;

            /// What no test is using. libtest runs each test on a new thread, so that nothing can belong to a thread; there are
            /// never more of these than tests that run at once. A connection stays with the runtime that it was opened in.
            static IDLE: Mutex<Vec<(super::Runtime, $connection)>> = Mutex::new(Vec::new());

            fn test() {
                let idle = IDLE.lock().expect("nobody panicked here").pop();
                let (runtime, mut connection) = idle.unwrap_or_else(|| {
                    let runtime = super::runtime();
                    let connection = runtime.block_on(super::$driver());
                    (runtime, connection)
                });
                runtime.block_on(async {
                    let mut transaction = super::Connection::begin(&mut connection).await.expect("a transaction");
                    super::body!(sqlx, transaction);
                    transaction.rollback().await.expect("the transaction is rolled back");
                });
                IDLE.lock().expect("nobody panicked here").push((runtime, connection));
            }

            super::two_hundred!(test);
        }
    };
}

tests_with!(sqlite, sqlx::SqliteConnection);
tests_with!(mysql, sqlx::MySqlConnection);
tests_with!(postgres, sqlx::PgConnection);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// SQLite lets one connection write at a time. So that tests do not wait for each other, each connection has a file of its own.
async fn sqlite() -> SqliteConnection {
    let file = config().directory.join(format!("{}.db", unique_name()));
    std::fs::copy(config().directory.join("rollback.db"), &file).expect("a copy of the database");
    SqliteConnectOptions::new().filename(file).connect().await.expect("a connection")
}

async fn mysql() -> MySqlConnection {
    MySqlConnection::connect(config().url()).await.expect("a connection")
}

async fn postgres() -> PgConnection {
    PgConnection::connect(config().url()).await.expect("a connection")
}
