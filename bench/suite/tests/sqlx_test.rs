//! `#[sqlx::test]`: a database for each test, made by migrations and dropped after it.

#![allow(missing_docs, reason = "tests")]

use std::sync::LazyLock;

use freshdb_bench_suite::config::config;
use freshdb_bench_suite::{body, two_hundred};
use sqlx::migrate::Migrator;
use tokio::runtime::Builder;

/// The attribute usually embeds the migrations. Here they are read once a process, for they differ from run to run.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(Migrator::new(config().schema.as_path())).expect("the migrations can be read")
});

macro_rules! test {
    ($name:ident) => {
        #[sqlx::test(migrator = "crate::MIGRATOR")]
        async fn $name(pool: sqlx::Pool<super::Driver>) {
            super::test(pool).await;
        }
    };
}

macro_rules! tests_with {
    ($module:ident, $driver:ident) => {
        mod $module {
            type Driver = sqlx::$driver;

            async fn test(pool: sqlx::Pool<Driver>) {
                let mut connection = pool.acquire().await.expect("a connection");
                super::body!(sqlx, connection);
            }

            super::two_hundred!(test);
        }
    };
}

tests_with!(sqlite, Sqlite);
tests_with!(mysql, MySql);
tests_with!(postgres, Postgres);
