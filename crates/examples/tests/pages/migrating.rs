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
