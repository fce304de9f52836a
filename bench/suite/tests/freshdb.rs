//! freshdb: a lease of a pristine database.

#![allow(missing_docs, reason = "tests")]

use freshdb_bench_suite::config::config;
use freshdb_bench_suite::{body, two_hundred};
use freshdb_databases::{Config, Kind, Lease, Pool, Server, schema::SqlDirectory};
use sqlx::Connection;
use tokio::runtime::Builder;
use tokio::sync::OnceCell;

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
            fn test() {
                super::run(async {
                    let lease = super::lease().await;
                    let mut connection =
                        <$connection as super::Connection>::connect(&lease.url().reveal()).await.expect("a connection");
                    super::body!(sqlx, &mut connection);
                    super::Connection::close(connection).await.expect("the connection closes");
                    drop(lease);
                });
            }

            super::two_hundred!(test);
        }
    };
}

tests_with!(sqlite, sqlx::SqliteConnection);
tests_with!(mysql, sqlx::MySqlConnection);
tests_with!(postgres, sqlx::PgConnection);

/// Each test has a runtime of its own, as it has with `#[tokio::test]`.
fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

/// From the pool of this process.
async fn lease() -> Lease {
    static POOL: OnceCell<Pool> = OnceCell::const_new();
    let open = async || {
        let suite = config();
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == suite.engine).expect("an engine");
        let config = Config::from_env().expect("the environment is valid");
        let server = Server::of(kind, &config).await.expect("a server");
        Pool::builder(server, SqlDirectory::new(&suite.schema)).open().await.expect("a pool")
    };
    POOL.get_or_init(open).await.lease().await.expect("a lease")
}
