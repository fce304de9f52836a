//! rusqlite takes the file's path, and not the URL. Its libsqlite3-sys must be sqlx's, for a program links SQLite once.

use freshdb::test::{Guarded, Kind, Lease};
use rusqlite::Connection;

#[freshdb::test(schema = crate::tags(), on = [sqlite])]
async fn what_is_written_is_read(lease: Lease) -> Result<(), rusqlite::Error> {
    let connection = Connection::open(lease.url().path().expect("a file"))?;

    connection.execute("INSERT INTO tags VALUES (?1, ?2)", ["Rust", "A language"])?;
    let read = "SELECT description FROM tags WHERE tag_id = ?1";
    let description: String = connection.query_row(read, ["Rust"], |row| row.get(0))?;
    assert_eq!(description, "A language");

    connection.close().map_err(|(_, error)| error)
}

/// There is no server that knows of it. Its file is replaced under it, and what it writes nobody sees.
#[tokio::test]
async fn a_connection_left_open_is_not_seen_and_does_no_harm() -> Result<(), Box<dyn std::error::Error>> {
    let database = Guarded::lease(Kind::Sqlite, crate::tags()).await?;
    let mut left_open = Connection::open(database.database().url().path().expect("a file"))?;
    let transaction = left_open.transaction()?;
    transaction.execute("INSERT INTO tags VALUES ('Rust', NULL)", [])?;
    database.end().await?;

    // Not by chance another one: as many as are needed to have had each of those that there are.
    let mut databases = Vec::new();
    for _ in 0..4 {
        databases.push(Guarded::lease(Kind::Sqlite, crate::tags()).await?);
    }
    // The file is not there any more, or its journal is not: it may be refused.
    drop(transaction.commit());
    for database in databases {
        let connection = Connection::open(database.database().url().path().expect("a file"))?;
        let tags: u32 = connection.query_row("SELECT count(*) FROM tags", [], |row| row.get(0))?;
        assert_eq!(tags, 0);
        connection.execute("INSERT INTO tags VALUES ('Go', NULL)", [])?;
        connection.close().map_err(|(_, error)| error)?;
        database.end().await?;
    }
    Ok(())
}
