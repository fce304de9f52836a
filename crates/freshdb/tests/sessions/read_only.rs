//! Connections to a server that takes no writes, as those are that a pool keeps over a failover.

use freshdb::Verdict;
use test_support::{TestDatabase, eventually};

use crate::harness::{CLOSE, patient};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, name VARCHAR(20))";
const INSERT: &str = "INSERT INTO items VALUES (1, 'a')";

/// The statement after which a session only reads.
fn only_read(database: &TestDatabase) -> &'static str {
    use test_support::Engine::{Mariadb, Mysql, Postgres, Sqlite};

    match database.engine {
        Sqlite => "PRAGMA query_only = 1",
        Mysql | Mariadb => "SET SESSION TRANSACTION READ ONLY",
        Postgres => "SET default_transaction_read_only = on",
    }
}

with_every_driver! {
    /// The first that meets it says so, and takes with it all others.
    async fn connections_that_may_not_write_are_not_kept(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(3));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut sessions = Vec::new();
        for _ in 0..3 {
            let mut session = engine.session().await.expect("a session");
            sqlx::raw_sql(only_read(database)).execute(&mut session).await.expect("it is set");
            sessions.push(session);
        }
        let held = sessions.pop();
        drop(sessions);
        eventually("two are idle", async || engine.stats().idle == 2).await;

        let error = sqlx::query(INSERT).execute(&engine).await.expect_err("it may not write");
        assert_eq!(Verdict::of(&error), Verdict::ReadOnly, "{error}");
        assert_eq!(engine.stats().idle, 0);
        drop(held);
        eventually("all are back", async || engine.stats().in_use == 0).await;
        assert_eq!(engine.stats().idle, 0, "the one that was in use is no better");
        sqlx::query(INSERT).execute(&engine).await.expect("a new connection may");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    async fn work_that_may_not_write_is_run_again_on_a_new_connection(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(2));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let (mut one, mut other) =
            (engine.session().await.expect("a session"), engine.session().await.expect("a session"));
        for session in [&mut one, &mut other] {
            sqlx::raw_sql(only_read(database)).execute(session).await.expect("it is set");
        }
        drop((one, other));
        eventually("both are idle", async || engine.stats().idle == 2).await;

        let tx = engine.begin().await.expect("a transaction");
        let stored: Result<(), sqlx::Error> = tx
            .run(async |mut tx| {
                sqlx::query(INSERT).execute(&mut tx).await?;
                Ok(tx.commit().await.map(drop)?)
            })
            .await;
        stored.expect("the second attempt may write");
        assert_eq!(database.observer().await.number("SELECT COUNT(*) FROM items").await, 1);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}
