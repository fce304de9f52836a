//! What becomes of tests that were written for something else: docs/migrating.md shows these after the others.

/// From `#[sqlx::test]`.
mod from_sqlx {
    use freshdb::test::Schema;
    use freshdb::test::schema::{SqlDirectory, SqlxMigrations};
    use sqlx::PgPool;

    fn migrations() -> impl Schema {
        SqlxMigrations::directory("migrations").expect("migrations") // or SqlxMigrations::new(sqlx::migrate!())
    }

    #[freshdb::test(schema = migrations().then(SqlDirectory::new("fixtures")), on = [postgres])]
    async fn tags_are_listed(pool: PgPool) -> sqlx::Result<()> {
        let tags: i64 = sqlx::query_scalar("SELECT count(*) FROM tags").fetch_one(&pool).await?;
        assert_eq!(tags, 2);
        Ok(())
    }
}

/// From a database that each test creates, for an application that listens on a port.
mod from_create_database {
    use std::io;
    use std::net::SocketAddr;

    use freshdb::test::schema::SqlDirectory;
    use freshdb::test::{ArgumentError, Context, FromContext};
    use sqlx::PgPool;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    /// The application: it stores each line that it is sent, in a task for each connection, and serves for ever.
    async fn serve(listener: TcpListener, pool: PgPool) -> io::Result<()> {
        loop {
            let (connection, _) = listener.accept().await?;
            tokio::spawn(answer(connection, pool.clone()));
        }
    }

    async fn answer(connection: TcpStream, pool: PgPool) -> io::Result<()> {
        let (requests, mut answers) = connection.into_split();
        let mut requests = BufReader::new(requests).lines();
        while let Some(tag) = requests.next_line().await? {
            let insert = sqlx::query("INSERT INTO tags (tag_id) VALUES ($1)").bind(tag);
            let stored = insert.execute(&pool).await.is_ok();
            answers.write_u8(u8::from(stored)).await?;
        }
        Ok(())
    }

    struct TestApp {
        address: SocketAddr,
        pool: PgPool,
    }

    impl FromContext for TestApp {
        async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
            let pool: PgPool = context.get().await?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let server = tokio::spawn(serve(listener, pool.clone()));
            context.on_end("the server", async move {
                server.abort(); // it serves for ever, and is left running otherwise
                Ok(())
            });
            Ok(Self { address, pool })
        }
    }

    impl TestApp {
        async fn store(&self, tag: &str) -> io::Result<bool> {
            let mut connection = TcpStream::connect(self.address).await?;
            connection.write_all(format!("{tag}\n").as_bytes()).await?;
            Ok(connection.read_u8().await? == 1)
        }
    }

    #[freshdb::test(schema = SqlDirectory::new("migrations"), on = [postgres])]
    async fn a_tag_is_stored(app: TestApp) -> Result<(), Box<dyn std::error::Error>> {
        assert!(app.store("Rust").await?);
        let tags: Vec<String> = sqlx::query_scalar("SELECT tag_id FROM tags").fetch_all(&app.pool).await?;
        assert_eq!(tags, ["Rust"]);
        Ok(())
    }
}

/// From a container of each test's own.
mod from_testcontainers {
    use freshdb::test::Lease;
    use freshdb::test::schema::SqlDirectory;
    use tokio_postgres::NoTls;

    #[freshdb::test(schema = SqlDirectory::new("migrations"), on = [postgres])]
    async fn tags_are_stored(lease: Lease) -> Result<(), tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&lease.url().reveal(), NoTls).await?;
        let connection = tokio::spawn(connection);
        client.execute("INSERT INTO tags (tag_id) VALUES ('Rust')", &[]).await?;

        drop(client);
        connection.await.expect("the connection's task ends")
    }
}

/// From a pool of databases for diesel-async.
mod from_db_pool {
    use diesel::prelude::*;
    use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
    use freshdb::test::Lease;
    use freshdb::test::schema::SqlDirectory;

    diesel::table! {
        tags (tag_id) { tag_id -> VarChar, }
    }

    #[freshdb::test(schema = SqlDirectory::new("migrations"), on = [postgres])]
    async fn tags_are_stored(lease: Lease) -> Result<(), Box<dyn std::error::Error>> {
        let mut connection = AsyncPgConnection::establish(&lease.url().reveal()).await?;
        diesel::insert_into(tags::table).values(tags::tag_id.eq("Rust")).execute(&mut connection).await?;
        Ok(())
    }
}

/// From a transaction that is rolled back.
mod from_rollback {
    use freshdb::PgEngine;
    use freshdb::test::schema::SqlDirectory;

    /// The code under test: it begins and commits a transaction of its own.
    async fn rename(engine: &PgEngine, old: &str, new: &str) -> Result<(), Box<dyn std::error::Error>> {
        let mut tx = engine.begin().await?;
        sqlx::query("DELETE FROM tags WHERE tag_id = $1").bind(old).execute(&mut tx).await?;
        sqlx::query("INSERT INTO tags (tag_id) VALUES ($1)").bind(new).execute(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    #[freshdb::test(schema = SqlDirectory::new("migrations"), on = [postgres])]
    async fn a_tag_is_renamed(engine: PgEngine) -> Result<(), Box<dyn std::error::Error>> {
        sqlx::query("INSERT INTO tags (tag_id) VALUES ('Rust 1')").execute(&engine).await?;
        rename(&engine, "Rust 1", "Rust 2").await?;
        let tags: Vec<String> = sqlx::query_scalar("SELECT tag_id FROM tags").fetch_all(&engine).await?;
        assert_eq!(tags, ["Rust 2"]);
        Ok(())
    }
}
