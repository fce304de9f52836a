//! What the tests of schemas share.

use freshdb_databases::schema::{Fingerprint, Schema, SchemaError, Target};
use freshdb_databases::{DatabaseUrl, Error};
use sqlx::{Connection, MySqlConnection, PgConnection, SqliteConnection};
use test_support::{Engine, TestDatabase};

pub(crate) fn target(database: &TestDatabase) -> Target {
    Target::new(DatabaseUrl::parse(database.url()).expect("a URL"))
}

/// Applies a schema the way a pool does: in a task of another runtime.
pub(crate) async fn apply(schema: impl Schema + 'static, database: &TestDatabase) -> Result<(), SchemaError> {
    let target = target(database);
    let applied = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async move { tokio::spawn(async move { schema.apply(&target).await }).await })
    });
    let applied = applied.await.expect("the thread").expect("the task");
    assert_eq!(database.sessions().await, 0, "the schema leaves a connection open");
    applied
}

/// What a schema says that cannot be applied: the message and its causes, and the hint.
pub(crate) async fn refusal(schema: impl Schema + 'static, database: &TestDatabase) -> (String, Option<String>) {
    let error = apply(schema, database).await.expect_err("the schema fails");
    told(&error)
}

pub(crate) fn told(error: &SchemaError) -> (String, Option<String>) {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    let hint = error.downcast_ref::<Error>().and_then(Error::advice).map(ToOwned::to_owned);
    (message, hint)
}

/// The first column of a query's rows.
pub(crate) async fn texts(database: &TestDatabase, query: &str) -> Vec<String> {
    let url = target(database).url().reveal();
    let query = sqlx::AssertSqlSafe(query.to_owned());
    match database.engine {
        Engine::Sqlite => {
            let mut connection = SqliteConnection::connect(&url).await.expect("a connection");
            sqlx::query_scalar(query).fetch_all(&mut connection).await
        }
        Engine::Mysql | Engine::Mariadb => {
            let mut connection = MySqlConnection::connect(&url).await.expect("a connection");
            sqlx::query_scalar(query).fetch_all(&mut connection).await
        }
        Engine::Postgres => {
            let mut connection = PgConnection::connect(&url).await.expect("a connection");
            sqlx::query_scalar(query).fetch_all(&mut connection).await
        }
    }
    .expect("the rows")
}

pub(crate) fn fingerprint(schema: &impl Schema) -> Fingerprint {
    let mut fingerprint = Fingerprint::new();
    schema.fingerprint(&mut fingerprint).expect("a fingerprint");
    fingerprint
}
