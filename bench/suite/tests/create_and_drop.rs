//! What one writes by hand: for each test a database is created, the schema applied in one batch, and the database dropped.

#![allow(missing_docs, reason = "tests")]

use std::sync::LazyLock;

use freshdb_bench_suite::config::config;
use freshdb_bench_suite::{body, two_hundred, unique_name};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, PgConnection, SqliteConnection};
use tokio::runtime::Builder;

macro_rules! test {
    ($name:ident) => {
        #[test]
        fn $name() {
            super::test();
        }
    };
}

static SCHEMA: LazyLock<String> = LazyLock::new(|| config().schema_text());

macro_rules! tests_with {
    ($driver:ident, $database:ident) => {
        mod $driver {
            fn test() {
                super::run(async {
                    let database = super::$database::create().await;
                    let mut connection = database.connect().await;
                    sqlx::raw_sql(super::AssertSqlSafe(super::SCHEMA.as_str()))
                        .execute(&mut connection)
                        .await
                        .expect("the schema is applied");
                    super::body!(sqlx, &mut connection);
                    super::Connection::close(connection).await.expect("the connection closes");
                    database.drop().await;
                });
            }

            super::two_hundred!(test);
        }
    };
}

tests_with!(sqlite, File);
tests_with!(mysql, MySqlDatabase);
tests_with!(postgres, PgDatabase);

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

fn new_name() -> String {
    format!("bench_created_{}", unique_name().replace('-', "_"))
}

struct File(std::path::PathBuf);

#[expect(clippy::unused_async, reason = "it is used as the servers' databases are")]
impl File {
    async fn create() -> Self {
        Self(config().directory.join(format!("{}.db", new_name())))
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(&self.0).create_if_missing(true);
        options.connect().await.expect("a connection")
    }

    async fn drop(self) {
        std::fs::remove_file(&self.0).expect("the file is removed");
    }
}

struct MySqlDatabase {
    server: MySqlConnection,
    name: String,
}

impl MySqlDatabase {
    async fn create() -> Self {
        let mut server = MySqlConnection::connect(config().url()).await.expect("a connection to the server");
        let name = new_name();
        let create = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut server).await.expect("the database is created");
        Self { server, name }
    }

    async fn connect(&self) -> MySqlConnection {
        let options: MySqlConnectOptions = config().url().parse().expect("a URL");
        options.database(&self.name).connect().await.expect("a connection")
    }

    async fn drop(mut self) {
        let drop = format!("DROP DATABASE {}", self.name);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut self.server).await.expect("the database is dropped");
        self.server.close().await.expect("the connection closes");
    }
}

struct PgDatabase {
    server: PgConnection,
    name: String,
}

impl PgDatabase {
    async fn create() -> Self {
        let mut server = PgConnection::connect(config().url()).await.expect("a connection to the server");
        let name = new_name();
        let create = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut server).await.expect("the database is created");
        Self { server, name }
    }

    async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = config().url().parse().expect("a URL");
        options.database(&self.name).connect().await.expect("a connection")
    }

    async fn drop(mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut self.server).await.expect("the database is dropped");
        self.server.close().await.expect("the connection closes");
    }
}
