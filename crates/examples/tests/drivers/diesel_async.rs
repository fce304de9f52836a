//! diesel-async: PostgreSQL and MySQL's driver take the URL as it is, SQLite's the path. A connection is closed by dropping it.

use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use freshdb::test::{Guarded, Kind, Lease};

diesel::table! {
    tags (tag_id) {
        tag_id -> VarChar,
        description -> Nullable<VarChar>,
    }
}

/// The same of each driver: diesel's queries are compiled for one.
macro_rules! what_is_written_is_read {
    ($connection:expr) => {{
        let mut connection = $connection;
        let tag = (tags::tag_id.eq("Rust"), tags::description.eq("A language"));
        diesel::insert_into(tags::table).values(tag).execute(&mut connection).await?;
        let read: Vec<(String, Option<String>)> = tags::table.load(&mut connection).await?;
        assert_eq!(read, [("Rust".to_owned(), Some("A language".to_owned()))]);
    }};
}

#[freshdb::test(schema = crate::tags(), on = [postgres])]
async fn what_is_written_is_read_by_postgres(lease: Lease) -> Result<(), Box<dyn std::error::Error>> {
    what_is_written_is_read!(AsyncPgConnection::establish(&lease.url().reveal()).await?);
    Ok(())
}

#[freshdb::test(schema = crate::tags(), on = [mysql, mariadb])]
async fn what_is_written_is_read_by_mysql_async(lease: Lease) -> Result<(), Box<dyn std::error::Error>> {
    what_is_written_is_read!(AsyncMysqlConnection::establish(&lease.url().reveal()).await?);
    Ok(())
}

#[freshdb::test(schema = crate::tags(), on = [sqlite])]
async fn what_is_written_is_read_by_sqlite(lease: Lease) -> Result<(), Box<dyn std::error::Error>> {
    let file = lease.url().path().expect("a file").to_string_lossy();
    what_is_written_is_read!(SyncConnectionWrapper::<SqliteConnection>::establish(&file).await?);
    Ok(())
}

#[freshdb::test(schema = crate::tags(), on = [postgres])]
async fn a_transaction_that_is_rolled_back_leaves_nothing(lease: Lease) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = AsyncPgConnection::establish(&lease.url().reveal()).await?;
    let refused = connection
        .transaction(async |connection| {
            diesel::insert_into(tags::table).values(tags::tag_id.eq("Rust")).execute(connection).await?;
            Err::<(), _>(Error::RollbackTransaction)
        })
        .await;
    assert_eq!(refused, Err(Error::RollbackTransaction));
    assert_eq!(tags::table.count().get_result::<i64>(&mut connection).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_connection_left_open_is_named_by_postgres() -> Result<(), Box<dyn std::error::Error>> {
    let database = Guarded::lease(Kind::Postgres, crate::tags()).await?;
    let mut connection = AsyncPgConnection::establish(&database.database().url().reveal()).await?;
    connection.batch_execute("BEGIN; INSERT INTO tags VALUES ('Rust')").await?;
    let said = crate::end_of_leaky(database).await;
    assert!(said.contains("1 session open on"), "{said}");
    assert!(said.contains("idle in transaction"), "{said}");
    drop(connection);
    Ok(())
}

#[tokio::test]
async fn a_connection_left_open_is_named_by_mysql() -> Result<(), Box<dyn std::error::Error>> {
    a_connection_left_open_is_named_by(Kind::Mysql).await
}

#[tokio::test]
async fn a_connection_left_open_is_named_by_mariadb() -> Result<(), Box<dyn std::error::Error>> {
    a_connection_left_open_is_named_by(Kind::Mariadb).await
}

async fn a_connection_left_open_is_named_by(kind: Kind) -> Result<(), Box<dyn std::error::Error>> {
    let database = Guarded::lease(kind, crate::tags()).await?;
    let mut connection = AsyncMysqlConnection::establish(&database.database().url().reveal()).await?;
    connection.batch_execute("START TRANSACTION; INSERT INTO tags VALUES ('Rust', NULL)").await?;
    let said = crate::end_of_leaky(database).await;
    assert!(said.contains("1 session open on"), "{said}");
    drop(connection);
    Ok(())
}
