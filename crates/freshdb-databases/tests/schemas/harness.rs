//! What the tests of schemas share.

use std::fs;
use std::path::Path;

use freshdb_databases::schema::{Fingerprint, Schema, SchemaError, Target};
use freshdb_databases::{DatabaseUrl, Error};
use sqlx::{Connection, MySqlConnection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use test_support::{Engine, TestDatabase, eventually};

/// A directory of these files.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        write(directory.path(), name, text);
    }
    directory
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    let file = directory.join(name);
    fs::create_dir_all(file.parent().expect("a directory")).expect("the directory is made");
    fs::write(file, text).expect("the file is written");
}

pub(crate) fn target(database: &TestDatabase) -> Target {
    Target::new(DatabaseUrl::parse(database.url()).expect("a URL"))
}

/// Applies a schema the way a pool does: in a task of another runtime, which lives on.
pub(crate) async fn apply(schema: impl Schema + 'static, database: &TestDatabase) -> Result<(), SchemaError> {
    let target = target(database);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let applied = runtime.spawn(async move { schema.apply(&target).await }).await.expect("the task");
    // A server sees a moment later that a connection was closed.
    eventually("the schema leaves no connection open", async || database.sessions().await == 0).await;
    runtime.shutdown_background();
    applied
}

/// What a schema says that cannot be applied: the message and its causes, and the hint.
pub(crate) async fn refusal(schema: impl Schema + 'static, database: &TestDatabase) -> (String, Option<String>) {
    let error = apply(schema, database).await.expect_err("the schema fails");
    told(&error)
}

pub(crate) fn told(error: &SchemaError) -> (String, Option<String>) {
    let message = freshdb_databases::told(&**error).join(": ");
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
