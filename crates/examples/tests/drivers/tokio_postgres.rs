//! tokio-postgres takes the URL as it is. Its connection is a task, which ends when the client is dropped.

use freshdb::test::{Guarded, Kind, Lease};
use tokio_postgres::NoTls;

#[freshdb::test(schema = crate::tags(), on = [postgres])]
async fn what_is_written_is_read(lease: Lease) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&lease.url().reveal(), NoTls).await?;
    let connection = tokio::spawn(connection);

    client.execute("INSERT INTO tags VALUES ($1, $2)", &[&"Rust", &"A language"]).await?;
    let row = client.query_one("SELECT description FROM tags WHERE tag_id = $1", &[&"Rust"]).await?;
    assert_eq!(row.get::<_, &str>(0), "A language");

    drop(client);
    connection.await.expect("the connection's task ends")
}

#[tokio::test]
async fn a_connection_left_open_is_named_by_the_server() -> Result<(), Box<dyn std::error::Error>> {
    let database = Guarded::lease(Kind::Postgres, crate::tags()).await?;
    let (client, connection) = tokio_postgres::connect(&database.database().url().reveal(), NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute("BEGIN; INSERT INTO tags VALUES ('Rust')").await?;

    let said = crate::end_of_leaky(database).await;
    assert!(said.contains("1 session open on"), "{said}");
    assert!(said.contains("idle in transaction"), "{said}");
    assert!(said.contains("last statement: BEGIN; INSERT INTO tags VALUES ('Rust')"), "{said}");

    // It was ended with the lease, and not before the report.
    assert!(connection.await?.is_err());
    assert!(client.is_closed());
    Ok(())
}
