//! A pool on the server of a test's own database, whose name tells its checkout from those of other tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use freshdb_databases::schema::{self, SqlText};
use freshdb_databases::{DatabaseUrl, Error, Garbage, Pool, PoolBuilder, Schema, SchemaError, Server, Target};
use test_support::{Client, Engine, TestDatabase, eventually};

/// The tables of most tests: one that is empty in the template, and one with a row.
pub(crate) fn tables() -> SqlText {
    schema::sql(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(100) NOT NULL);
         CREATE TABLE words (word VARCHAR(50) PRIMARY KEY, meaning VARCHAR(100));
         INSERT INTO words VALUES ('fresh', 'not stale');",
    )
}

/// The server that has a test's database: of SQLite, its directory.
pub(crate) fn server(database: &TestDatabase) -> Server {
    server_at(database, database.url())
}

pub(crate) fn server_at(database: &TestDatabase, url: &str) -> Server {
    let url = DatabaseUrl::parse(url).unwrap();
    match database.engine {
        Engine::Sqlite => Server::existing(DatabaseUrl::file(url.path().unwrap().parent().unwrap().join("server"))),
        _ => Server::existing(url),
    }
}

/// Where freshdb writes down what it made on that server.
pub(crate) fn registry(database: &TestDatabase) -> DatabaseUrl {
    server(database).url().with_database("freshdb_registry")
}

pub(crate) fn builder(database: &TestDatabase, schema: impl Schema + 'static) -> PoolBuilder {
    Pool::builder(server(database), schema).checkout(database.url())
}

pub(crate) async fn pool(database: &TestDatabase) -> Pool {
    builder(database, tables()).open().await.unwrap()
}

/// Closes the pool, and drops all that it made.
pub(crate) async fn clean(database: &TestDatabase, pools: impl IntoIterator<Item = Pool>) {
    for pool in pools {
        pool.close().await.unwrap();
    }
    // A pool may be collecting still what it kept.
    eventually("nothing is in use", async || {
        let collected = Garbage::everything().checkout(database.url()).collect(&server(database)).await.unwrap();
        assert!(collected.failed.is_empty(), "{collected:?}");
        collected.in_use.is_empty()
    })
    .await;
}

/// A schema that counts how often it is applied, and does what a test wants then.
pub(crate) struct Counted {
    applied: Arc<AtomicU32>,
}

impl Counted {
    pub(crate) fn new() -> Self {
        Self { applied: Arc::default() }
    }

    pub(crate) fn schema(&self, version: &str, sql: &str) -> impl Schema + use<> {
        let (applied, sql) = (self.applied.clone(), sql.to_owned());
        schema::from_fn(version, move |target: Target| {
            let (applied, sql) = (applied.clone(), sql.clone());
            async move {
                applied.fetch_add(1, Ordering::SeqCst);
                let mut client = Client::try_connect(&target.url().reveal()).await?;
                let done = client.try_execute(&sql).await;
                client.close().await;
                done.map_err(SchemaError::from)
            }
        })
    }

    pub(crate) fn times(&self) -> u32 {
        self.applied.load(Ordering::SeqCst)
    }
}

/// How many rows a table of a database has.
pub(crate) async fn rows(url: &DatabaseUrl, table: &str) -> i64 {
    let mut client = Client::connect(&url.reveal()).await;
    let rows = client.number(&format!("SELECT COUNT(*) FROM {table}")).await;
    client.close().await;
    rows
}

pub(crate) async fn execute(url: &DatabaseUrl, sql: &str) {
    let mut client = Client::connect(&url.reveal()).await;
    client.execute(sql).await;
    client.close().await;
}

/// The fact and the hint, without what differs from run to run.
pub(crate) fn shown(error: &Error, replace: &[(&str, &str)]) -> String {
    let mut text = format!("{error:?}");
    for (from, to) in replace {
        text = text.replace(from, to);
    }
    text
}
