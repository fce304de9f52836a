//! What an engine is told when it is made.

use std::time::{Duration, Instant};

use freshdb::EngineOptions;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use test_support::DEADLINE;

use crate::harness::{CLOSE, number, patient, unique};

with_every_driver! {
    async fn statements_for_new_connections_may_end_as_they_like(database: &TestDatabase, open: Open) {
        let options = patient()
            .on_connect("CREATE TEMPORARY TABLE made (n INTEGER);\n")
            .on_connect("")
            .on_connect("INSERT INTO made VALUES (1) -- with a remark")
            .on_connect("INSERT INTO made VALUES (2) -- and another");
        let engine = open(database.url(), options);
        assert_eq!(number(&engine, "SELECT COUNT(*) FROM made").await.expect("all are executed"), 2);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [sqlite]
    /// SQLite itself does not wait then, whatever its `busy_timeout`.
    async fn connections_wait_for_a_writer_before_they_switch_to_a_log(database: &TestDatabase, open: Open) {
        let mut writer = database.observer().await;
        writer.try_execute("BEGIN IMMEDIATE").await.expect("a transaction");
        let engine = open(database.url(), patient().max_connections(2).on_connect("PRAGMA journal_mode = WAL"));
        let ends = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            writer.try_execute("COMMIT").await.expect("it commits");
        };
        let (one, other, ()) = tokio::join!(engine.session(), engine.session(), ends);
        drop((one.expect("a session"), other.expect("a session")));
        engine.close(CLOSE).await.expect("nothing leaks");

        // But not for ever, and then it says why.
        writer.try_execute("PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE").await.expect("a transaction");
        let engine = open(database.url(), patient().on_connect("PRAGMA journal_mode = WAL"));
        let error = engine.session().await.expect_err("the file is taken");
        assert!(error.is_connect() && format!("{error:?}").contains("database is locked"), "{error:?}");
    }
}

on_every_engine! {
    [sqlite]
    async fn plain_pool_waits_for_no_writer_before_it_switches_to_a_log(database: &TestDatabase) {
        let mut writer = database.observer().await;
        writer.try_execute("BEGIN IMMEDIATE").await.expect("a transaction");
        let options: SqliteConnectOptions = database.url().parse().expect("a URL");
        let pool = SqlitePool::connect_with(options.journal_mode(SqliteJournalMode::Wal).busy_timeout(DEADLINE)).await;
        assert_eq!(pool.expect_err("it does not").to_string(), "error returned from database: (code: 5) database is locked");
        writer.try_execute("COMMIT").await.expect("the transaction is there still");
    }
}

with_every_driver! {
    [sqlite]
    /// It waits for other writers first, and then for a connection.
    async fn a_transaction_waits_no_longer_than_a_session(database: &TestDatabase, open: Open) {
        // One wait after the other would be seven tenths of it longer, of which a busy machine may take some.
        let limit = Duration::from_secs(6);
        let engine = open(database.url(), EngineOptions::new().max_connections(2).acquire_timeout(limit));
        let tx = engine.begin().await.expect("a transaction");
        let reader = engine.session().await.expect("a session");
        let waits = async {
            let started = Instant::now();
            let begun = engine.begin().await;
            (begun.map(drop), started.elapsed())
        };
        // Its turn for a connection comes before that of the next transaction.
        let takes = async { engine.session().await.expect("a session") };
        let ends = async {
            tokio::time::sleep(limit * 7 / 10).await;
            drop(tx);
        };
        let ((begun, waited), taken, ()) = tokio::join!(waits, takes, ends);
        assert!(begun.expect_err("every connection is in use").is_exhausted());
        assert!(waited < limit * 3 / 2, "{waited:?}");
        drop((taken, reader));
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// The server takes fewer connections than the engine may have.
    async fn where_the_server_is_full_one_waits_for_a_session(database: &TestDatabase, open: Open) {
        let user = format!("few_{}_{}", std::process::id(), unique());
        let (_, address) = database.url().rsplit_once('@').expect("a user");
        let (create, url) = match database.engine {
            Kind::Postgres => (
                format!("CREATE ROLE {user} LOGIN PASSWORD 'few' CONNECTION LIMIT 2"),
                format!("postgres://{user}:few@{address}"),
            ),
            engine => (
                format!("CREATE USER {user} WITH MAX_USER_CONNECTIONS 2; GRANT SELECT ON *.* TO {user}"),
                format!("{}://{user}@{address}", engine.name()),
            ),
        };
        database.execute(&create).await;
        let limit = Duration::from_secs(5);
        let engine = open(&url, EngineOptions::new().max_connections(4).acquire_timeout(limit));
        let first = engine.session().await.expect("a session");
        let second = engine.session().await.expect("a session");
        let ends = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(second);
        };
        let (third, ()) = tokio::join!(engine.session(), ends);
        let mut third = third.expect("the one that came back");
        assert_eq!(number(&mut third, "SELECT 1").await.expect("an answer"), 1);

        // None comes back in time.
        let started = Instant::now();
        let error = engine.session().await.expect_err("the server is full");
        assert!(error.is_connect() && !format!("{error:?}").contains("no answer"), "{error:?}");
        assert!(started.elapsed() >= limit, "{:?}", started.elapsed());

        // Where none can come back, that is said at once.
        let started = Instant::now();
        let error = open(&url, patient()).session().await.expect_err("the server is full");
        assert!(error.is_connect() && started.elapsed() < DEADLINE / 2, "{error:?}");

        let ends = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop((first, third));
        };
        let (fourth, closed, ()) = tokio::join!(engine.session(), engine.close(CLOSE), ends);
        assert!(fourth.expect_err("it is closed").is_closed());
        closed.expect("nothing leaks");
        let mut observer = database.observer().await;
        let drop_user = if database.engine == Kind::Postgres { "DROP ROLE" } else { "DROP USER" };
        observer.try_execute(&format!("{drop_user} {user}")).await.expect("it is dropped");
    }
}
