//! db-pool: a pool of databases for each process, each of which is truncated before it is used again. It has no SQLite.

#![allow(missing_docs, reason = "tests")]

use std::sync::LazyLock;

use db_pool::r#async::{DatabasePool, DatabasePoolBuilderTrait, SqlxMySQLBackend, SqlxPostgresBackend};
use freshdb_bench_suite::config::config;
use freshdb_bench_suite::{body, two_hundred};
use sqlx_of_db_pool as sqlx;
use sqlx_of_db_pool::Executor;
use sqlx_of_db_pool::mysql::MySqlPoolOptions;
use sqlx_of_db_pool::postgres::PgPoolOptions;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

/// db-pool's connections outlive a test, so that the tests must share a runtime: its documentation has them do that.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().enable_all().build().expect("a runtime"));

macro_rules! test {
    ($name:ident) => {
        #[test]
        fn $name() {
            super::test();
        }
    };
}

macro_rules! tests_with {
    ($driver:ident, $backend:ident) => {
        mod $driver {
            use super::sqlx;

            fn test() {
                super::RUNTIME.block_on(async {
                    static POOL: super::OnceCell<super::DatabasePool<super::$backend>> = super::OnceCell::const_new();
                    let databases = POOL.get_or_init(super::$driver).await;
                    let database = databases.pull_immutable().await;
                    let mut connection = database.acquire().await.expect("a connection");
                    super::body!(sqlx, connection);
                });
            }

            super::two_hundred!(test);
        }
    };
}

tests_with!(mysql, SqlxMySQLBackend);
tests_with!(postgres, SqlxPostgresBackend);

// The sizes of the pools are those of db-pool's documentation. Databases of earlier runs are dropped by the benchmark: under
// nextest, where each test is a process, db-pool would drop those that the other tests are using.

async fn mysql() -> DatabasePool<SqlxMySQLBackend> {
    let backend = SqlxMySQLBackend::new(
        config().url().parse().expect("a URL"),
        || MySqlPoolOptions::new().max_connections(10),
        || MySqlPoolOptions::new().max_connections(2),
        |mut connection| {
            Box::pin(async move {
                let schema = config().schema_text();
                connection.execute(schema.as_str()).await.expect("the schema is applied");
            })
        },
    );
    backend.drop_previous_databases(false).create_database_pool().await.expect("a pool of databases")
}

async fn postgres() -> DatabasePool<SqlxPostgresBackend> {
    let backend = SqlxPostgresBackend::new(
        config().url().parse().expect("a URL"),
        || PgPoolOptions::new().max_connections(10),
        || PgPoolOptions::new().max_connections(2),
        |mut connection| {
            Box::pin(async move {
                let schema = config().schema_text();
                connection.execute(schema.as_str()).await.expect("the schema is applied");
                connection
            })
        },
    );
    backend.drop_previous_databases(false).create_database_pool().await.expect("a pool of databases")
}
