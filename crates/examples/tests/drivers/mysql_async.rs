//! mysql_async takes the URL as it is, on MySQL and on MariaDB. Asked for a connection by TCP it moves to the server's socket, if that
//! is on this machine. MySQL's password it encrypts by an RSA of its own, where the server wants that: no TLS is needed.

use std::time::Duration;

use freshdb::test::{Guarded, Kind, Lease};
use mysql_async::prelude::{Query as _, Queryable as _, WithParams as _};
use mysql_async::{Conn, Opts, OptsBuilder};

#[freshdb::test(schema = crate::tags(), on = [mysql, mariadb])]
async fn what_is_written_is_read(lease: Lease) -> Result<(), mysql_async::Error> {
    let mut connection = Conn::from_url(lease.url().reveal()).await?;

    "INSERT INTO tags VALUES (?, ?)".with(("Rust", "A language")).ignore(&mut connection).await?;
    let description: Option<String> =
        "SELECT description FROM tags WHERE tag_id = ?".with(("Rust",)).first(&mut connection).await?;
    assert_eq!(description.as_deref(), Some("A language"));

    connection.disconnect().await
}

#[freshdb::test(schema = crate::tags(), on = [mysql, mariadb])]
async fn tcp_will_do(lease: Lease) -> Result<(), mysql_async::Error> {
    let options = OptsBuilder::from_opts(Opts::from_url(&lease.url().reveal())?).prefer_socket(false);
    let mut connection = Conn::new(options).await?;
    let one: Option<u8> = connection.query_first("SELECT 1").await?;
    assert_eq!(one, Some(1));
    connection.disconnect().await
}

#[tokio::test]
async fn a_connection_left_open_is_named_by_mysql() -> Result<(), Box<dyn std::error::Error>> {
    a_connection_left_open_is_named_by_the_server(Kind::Mysql).await
}

#[tokio::test]
async fn a_connection_left_open_is_named_by_mariadb() -> Result<(), Box<dyn std::error::Error>> {
    a_connection_left_open_is_named_by_the_server(Kind::Mariadb).await
}

async fn a_connection_left_open_is_named_by_the_server(kind: Kind) -> Result<(), Box<dyn std::error::Error>> {
    let database = Guarded::lease(kind, crate::tags()).await?;
    let mut connection = Conn::from_url(database.database().url().reveal()).await?;
    "START TRANSACTION".ignore(&mut connection).await?;
    "INSERT INTO tags VALUES ('Rust', NULL)".ignore(&mut connection).await?;
    let id = connection.id();

    let said = crate::end_of_leaky(database).await;
    assert!(said.contains("1 session open on"), "{said}");
    assert!(said.contains(&format!("session {id} of ")), "{said}");

    // It is ended with the lease, and not before the report.
    let ended = async { while connection.ping().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), ended).await?;
    Ok(())
}
