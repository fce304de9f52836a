//! Sessions that nobody ends: forgotten, aborted in the middle of a statement, left to a task.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _};
use test_support::{DEADLINE, TestDatabase, eventually};
use tokio::time::timeout;

use crate::harness::{CLOSE, PlainPool, patient};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, n BIGINT)";
const INSERT: &str = "INSERT INTO items VALUES (1, 0)";
const UPDATE: &str = "UPDATE items SET n = n + 1";

/// What a test waits for in vain.
const IN_VAIN: Duration = Duration::from_secs(1);

with_every_plain_pool! {
    async fn plain_pool_with_a_forgotten_connection_never_closes(database: &TestDatabase, open: Pool) {
        let pool = open(PlainPool::default(), database.url());
        std::mem::forget(pool.acquire().await.expect("a connection"));
        timeout(IN_VAIN, pool.close()).await.expect_err("it waits for ever");
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    async fn plain_pool_waits_for_the_statement_of_a_task(database: &TestDatabase, open: Pool) {
        let pool = open(PlainPool::default(), database.url());
        let query = sqlx::query(AssertSqlSafe(database.sleep(30)));
        let executing = pool.clone();
        let task = tokio::spawn(async move { query.execute(&executing).await.map(drop) });
        eventually("it is executed", async || database.statements_running().await > 0).await;
        timeout(IN_VAIN, pool.close()).await.expect_err("it waits for the statement");
        task.abort();
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// The server has taken what was to be stored, and executes the statement to its end: until then, others wait.
    async fn plain_pool_keeps_the_locks_of_an_aborted_handler(database: &TestDatabase, open: Pool) {
        const STATEMENT: u32 = 3;

        let pool = open(PlainPool::default(), database.url());
        sqlx::query(CREATE).execute(&pool).await.expect("a table");
        sqlx::query(INSERT).execute(&pool).await.expect("a row");
        let sleep = AssertSqlSafe(database.sleep(STATEMENT));
        let started = Instant::now();
        let (begun, in_the_transaction) = tokio::sync::oneshot::channel();
        let handler = tokio::spawn({
            let pool = pool.clone();
            async move {
                let mut tx = pool.begin().await.expect("a transaction");
                sqlx::query(UPDATE).execute(&mut *tx).await.expect("it is updated");
                begun.send(()).expect("the test waits");
                // Sent as it is, and not prepared before.
                sqlx::raw_sql(sleep).execute(&mut *tx).await.expect("it is executed");
            }
        });
        in_the_transaction.await.expect("a transaction");
        eventually("it is executed", async || database.statements_running().await > 0).await;
        handler.abort();
        sqlx::query(UPDATE).execute(&pool).await.expect("it is updated");
        assert!(started.elapsed() >= Duration::from_secs(STATEMENT.into()), "{:?}", started.elapsed());
    }
}

with_every_driver! {
    async fn the_locks_of_an_aborted_handler_are_gone_at_once(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        sqlx::query(INSERT).execute(&engine).await.expect("a row");
        let sleep = AssertSqlSafe(database.sleep(600));
        let (begun, in_the_transaction) = tokio::sync::oneshot::channel();
        let handler = tokio::spawn({
            let engine = engine.clone();
            async move {
                let mut tx = engine.begin().await.expect("a transaction");
                sqlx::query(UPDATE).execute(&mut tx).await.expect("it is updated");
                begun.send(()).expect("the test waits");
                sqlx::query(sleep).execute(&mut tx).await.expect("it is executed");
            }
        });
        in_the_transaction.await.expect("a transaction");
        if database.engine != Kind::Sqlite {
            eventually("it is executed", async || database.statements_running().await > 0).await;
        }
        handler.abort();
        let mut tx = engine.begin().await.expect("a transaction");
        timeout(DEADLINE / 2, sqlx::query(UPDATE).execute(&mut tx)).await.expect("nobody holds the row").expect("it is updated");
        tx.commit().await.expect("it commits");
        let n: i64 = sqlx::query_scalar("SELECT n FROM items WHERE id = 1").fetch_one(&engine).await.expect("a row");
        assert_eq!(n, 1);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// The ROLLBACK waits in the driver until the connection is used next, and the row's lock with it.
    async fn plain_pool_keeps_the_locks_of_a_transaction_dropped_before_its_connection(database: &TestDatabase, open: Pool) {
        const LOCK: &str = "SELECT n FROM items WHERE id = 1 FOR UPDATE NOWAIT";

        let pool = open(PlainPool::default(), database.url());
        sqlx::query(CREATE).execute(&pool).await.expect("a table");
        sqlx::query(INSERT).execute(&pool).await.expect("a row");
        let mut connection = pool.acquire().await.expect("a connection");
        let mut tx = connection.begin().await.expect("a transaction");
        sqlx::query(UPDATE).execute(&mut *tx).await.expect("it is updated");
        drop(tx);
        sqlx::query(LOCK).execute(&pool).await.expect_err("the row is locked");
        connection.ping().await.expect("it lives");
        sqlx::query(LOCK).execute(&pool).await.expect("the row is free");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// A transaction has its session for itself: there is no connection that could be held on to.
    async fn a_dropped_transaction_holds_no_lock(database: &TestDatabase, open: Open) {
        const LOCK: &str = "SELECT n FROM items WHERE id = 1 FOR UPDATE NOWAIT";

        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        sqlx::query(INSERT).execute(&engine).await.expect("a row");
        let mut tx = engine.session().await.expect("a session").begin().await.expect("a transaction");
        sqlx::query(UPDATE).execute(&mut tx).await.expect("it is updated");
        sqlx::query(LOCK).execute(&engine).await.expect_err("the row is locked");
        drop(tx);
        eventually("the row is free", async || sqlx::query(LOCK).execute(&engine).await.is_ok()).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_plain_pool! {
    [mariadb, postgres]
    /// PostgreSQL refuses after five seconds; MariaDB waits for `lock_wait_timeout`, a day if nothing else is said.
    async fn plain_pool_that_is_not_closed_keeps_its_database(database: &TestDatabase, open: Pool) {
        let (url, name) = second(database).await;
        let pool = open(PlainPool::default(), &url);
        sqlx::query(CREATE).execute(&pool).await.expect("a table");
        let mut tx = pool.begin().await.expect("a transaction");
        sqlx::query("SELECT * FROM items").execute(&mut *tx).await.expect("it is read");

        let mut other = open(PlainPool::default(), database.url()).acquire().await.expect("a connection");
        if database.engine == Kind::Mariadb {
            sqlx::raw_sql("SET SESSION lock_wait_timeout = 1").execute(&mut *other).await.expect("it is set");
        }
        let sql = AssertSqlSafe(format!("DROP DATABASE {name}"));
        let error = sqlx::raw_sql(sql).execute(&mut *other).await.expect_err("it is in use").to_string();
        let expected = ["Lock wait timeout exceeded", "is being accessed by other users"];
        assert!(expected.iter().any(|expected| error.contains(expected)), "{error}");
        drop(tx);
        pool.close().await;
        database.execute(&format!("DROP DATABASE {name}")).await;
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    async fn an_engine_that_is_closed_lets_go_of_its_database_whatever_was_forgotten(database: &TestDatabase, open: Open) {
        let (url, name) = second(database).await;
        let engine = open(&url, patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("SELECT * FROM items").execute(&mut tx).await.expect("it is read");
        std::mem::forget(tx);
        std::mem::forget(engine.session().await.expect("a session"));
        let leaks = engine.close(Duration::from_millis(100)).await.expect_err("two leak");
        assert_eq!(leaks.sessions().len(), 2, "{leaks}");
        let others = open(database.url(), patient());
        let drop = || sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name}")));
        eventually("nothing holds it", async || drop().execute(&others).await.is_ok()).await;
    }
}

/// Makes a database beside the test's own: its URL and name.
async fn second(database: &TestDatabase) -> (String, String) {
    let (server, name) = database.url().rsplit_once('/').expect("a path");
    let name = format!("{name}_2");
    database.execute(&format!("CREATE DATABASE {name}")).await;
    (format!("{server}/{name}"), name)
}
