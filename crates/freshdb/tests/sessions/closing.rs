//! Closing takes no longer than it was told to, whatever is open and whoever does not answer.

use std::time::{Duration, Instant};

use freshdb::{Engine, Leaks};
use sqlx::AssertSqlSafe;
use test_support::{Proxy, Weather, eventually};

use crate::harness::{CLOSE, on_a_thread, patient, paused_runtime};

/// How long an engine is given where something does not end.
const LIMIT: Duration = Duration::from_millis(500);

/// What it may take beyond its limit: the fifth of a second that is promised.
const BEYOND: Duration = Duration::from_millis(200);

/// On a machine that is busy with other tests, a thread may not run for so long: then all is done again, this often.
const ATTEMPTS: usize = 3;

/// How long closing took, and what came of it.
async fn closing<DB: freshdb::Dialect>(engine: &Engine<DB>, limit: Duration) -> (Result<(), Leaks>, Duration) {
    let started = Instant::now();
    let result = engine.close(limit).await;
    (result, started.elapsed())
}

/// Runs a measurement until it is as short as it should be.
macro_rules! within_its_limit {
    ($limit:expr, $measured:expr) => {{
        let mut attempt = 1;
        loop {
            let (result, took) = $measured;
            if took < $limit + BEYOND {
                break result;
            }
            assert!(attempt < ATTEMPTS, "closing took {took:?}, and its limit was {:?}", $limit);
            attempt += 1;
        }
    }};
}

with_every_driver! {
    /// As soon as there is nothing left to close, and not when the time is over.
    async fn an_engine_without_sessions_closes_at_once(database: &TestDatabase, open: Open) {
        let (unused, used) = (open(database.url(), patient()), open(database.url(), patient()));
        drop((used.session().await.expect("a session"), used.session().await.expect("a session")));
        for engine in [&unused, &used] {
            let (result, took) = closing(engine, CLOSE).await;
            result.expect("nothing leaks");
            assert!(took < CLOSE / 2, "{took:?}");
            let error = engine.session().await.expect_err("it is closed");
            assert!(error.is_closed(), "{error:?}");
            let error = engine.begin().await.expect_err("it is closed");
            assert!(error.is_closed(), "{error:?}");
        }
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}

with_every_driver! {
    async fn closing_waits_for_sessions_that_come_back(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        let (session, tx) = (engine.session().await.expect("a session"), engine.begin().await.expect("a transaction"));
        let task = tokio::spawn(async move {
            tokio::time::sleep(LIMIT).await;
            drop((session, tx));
        });
        let (result, took) = closing(&engine, CLOSE).await;
        result.expect("nothing leaks");
        assert!(took < CLOSE / 2, "{took:?}");
        task.await.expect("it ends");
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}

with_every_driver! {
    async fn closing_does_not_wait_for_what_was_forgotten(database: &TestDatabase, open: Open) {
        // Of a transaction on SQLite nobody could ever take the file's lock back.
        let with_transaction = database.engine != test_support::Engine::Sqlite;
        for limit in [Duration::ZERO, LIMIT] {
            let leaks = within_its_limit!(limit, {
                let engine = open(database.url(), patient());
                std::mem::forget(engine.session().await.expect("a session"));
                if with_transaction {
                    std::mem::forget(engine.begin().await.expect("a transaction"));
                }
                std::mem::forget(engine.session().await.expect("a session"));
                closing(&engine, limit).await
            });
            assert_eq!(leaks.expect_err("all leak").sessions().len(), 2 + usize::from(with_transaction));
        }
        // The server has ended them all, and the connection over which it was told is gone, too.
        eventually("no connection is left", async || database.sessions().await == 0).await;
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
    }
}

with_every_driver! {
    /// A session that comes back after that is of no use to anybody, and is closed then.
    async fn a_session_that_was_open_too_long_is_of_no_use(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query("CREATE TABLE items (id INTEGER PRIMARY KEY)").execute(&engine).await.expect("a table");
        let mut session = engine.session().await.expect("a session");
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1)").execute(&mut tx).await.expect("a row");
        let leaks = engine.close(Duration::ZERO).await.expect_err("two leak");
        assert_eq!(leaks.sessions().len(), 2, "{leaks}");
        eventually("the server has ended it", async || sqlx::query("SELECT 1").execute(&mut session).await.is_err()).await;
        eventually("the server has ended it", async || sqlx::query("SELECT 1").execute(&mut tx).await.is_err()).await;
        tx.commit().await.expect_err("the server has ended it");
        drop(session);
        eventually("both are back", async || engine.stats().in_use == 0).await;
        assert_eq!(engine.stats().idle, 0);
        eventually("no connection is left", async || database.sessions().await == 0).await;
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
    }
}

with_every_driver! {
    /// In a session, in a transaction, and out of sight on the driver's connection.
    async fn closing_ends_statements_that_run(database: &TestDatabase, open: Open) {
        let mut tasks = Vec::new();
        let leaks = within_its_limit!(LIMIT, {
            let engine = open(database.url(), patient());
            let (mut session, mut lent) = (engine.session().await.expect("a session"), engine.session().await.expect("a session"));
            let mut tx = engine.begin().await.expect("a transaction");
            let sleep = || AssertSqlSafe(database.sleep(600));
            let (first, second, third) = (sqlx::query(sleep()), sqlx::query(sleep()), sqlx::query(sleep()));
            let before = tasks.len();
            tasks.push(tokio::spawn(async move { first.execute(&mut session).await.map(drop) }));
            tasks.push(tokio::spawn(async move { second.execute(&mut *lent).await.map(drop) }));
            tasks.push(tokio::spawn(async move { third.execute(&mut tx).await.map(drop) }));
            if database.engine != test_support::Engine::Sqlite {
                // What an earlier attempt has left may still be at work.
                let all = i64::try_from(before).expect("a few") + 3;
                eventually("all are executed", async || (3..=all).contains(&database.statements_running().await)).await;
            }
            closing(&engine, LIMIT).await
        });
        let leaks = leaks.expect_err("three leak");
        assert_eq!(leaks.sessions().len(), 3, "{leaks}");
        for task in tasks {
            // MySQL's SLEEP answers a KILL with a row, at times, and only then is gone.
            let result = tokio::time::timeout(test_support::DEADLINE, task).await.expect("it is ended").expect("a result");
            assert!(result.is_err() || database.engine == test_support::Engine::Mysql, "{result:?}");
        }
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// With idle connections, with one that is asked whether it lives, with sessions, with a transaction, and with nothing
    /// but an attempt to connect.
    async fn closing_does_not_wait_for_a_peer_that_is_dead(database: &TestDatabase, open: Open) {
        for weather in [Weather::Stall, Weather::Cut] {
            for with_sessions in [false, true] {
                let result = within_its_limit!(LIMIT, {
                    let proxy = Proxy::before(database.server_address()).await;
                    let engine = open(&database.url_through(proxy.port), patient().max_connections(5));
                    let mut held = vec![engine.session().await.expect("a session"), engine.session().await.expect("a session")];
                    let (mut lent, tx) = (engine.session().await.expect("a session"), engine.begin().await.expect("a transaction"));
                    sqlx::query("SELECT 1").execute(&mut *lent).await.expect("it works");
                    proxy.set(weather);
                    drop((held.pop(), lent));
                    if with_sessions {
                        let connecting = tokio::spawn({ let engine = engine.clone(); async move { drop(engine.session().await) } });
                        let measured = closing(&engine, LIMIT).await;
                        drop((tx, held));
                        connecting.abort();
                        measured
                    } else {
                        drop((tx, held));
                        closing(&engine, LIMIT).await
                    }
                });
                assert_eq!(result.is_err(), with_sessions, "{weather:?}: {result:?}");
            }
        }
    }
}

with_every_driver! {
    async fn closing_may_be_asked_for_more_than_once(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        let session = engine.session().await.expect("a session");
        // Given up half-way.
        let closing = engine.close(CLOSE);
        assert!(tokio::time::timeout(Duration::from_millis(20), closing).await.is_err());
        let error = engine.session().await.expect_err("it is closed");
        assert!(error.is_closed(), "{error:?}");
        // Two at once, and one that has no time.
        let (first, second) = (tokio::spawn({ let engine = engine.clone(); async move { engine.close(CLOSE).await } }), engine.clone());
        assert_eq!(second.close(Duration::ZERO).await.expect_err("one leaks").sessions().len(), 1);
        let second = tokio::spawn(async move { second.close(CLOSE).await });
        drop(session);
        first.await.expect("it ends").expect("it has come back");
        second.await.expect("it ends").expect("it has come back");
        engine.close(Duration::ZERO).await.expect("nothing is open");
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}

with_every_driver! {
    /// By the clock of the process, and as long as there may ever be.
    async fn closing_needs_no_runtime_and_no_clock(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            for paused in [true, false] {
                let block_on = |work: futures_util::future::BoxFuture<'_, _>| {
                    if paused { paused_runtime().block_on(work) } else { futures_executor::block_on(work) }
                };
                let leaks = within_its_limit!(LIMIT, {
                    let engine = open(database.url(), patient());
                    std::mem::forget(futures_executor::block_on(engine.session()).expect("a session"));
                    block_on(Box::pin(async move {
                        let (result, took) = closing(&engine, LIMIT).await;
                        assert!(took >= LIMIT, "it waits by the clock of the process: {took:?}");
                        (result, took)
                    }))
                });
                assert_eq!(leaks.expect_err("one leaks").sessions().len(), 1);
                let engine = open(database.url(), patient());
                drop(futures_executor::block_on(engine.session()).expect("a session"));
                let (result, _) = block_on(Box::pin(async move { closing(&engine, Duration::MAX).await }));
                result.expect("nothing leaks");
            }
        });
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}

with_every_driver! {
    /// Whoever waits may be the next just before, and lets go of the place when he hears that the engine is closed.
    async fn closing_does_not_wait_for_a_place_that_nobody_takes(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        let session = engine.session().await.expect("a session");
        let mut waiting = std::pin::pin!(engine.session());
        tokio::select! {
            biased;
            session = &mut waiting => panic!("there is none, but {session:?}"),
            () = std::future::ready(()) => {}
        }
        drop(session);
        let ((result, took), waited) = tokio::join!(closing(&engine, CLOSE), waiting);
        result.expect("nothing leaks");
        assert!(took < CLOSE / 2, "{took:?}");
        let error = waited.expect_err("it is closed");
        assert!(error.is_closed(), "{error:?}");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// Whoever was waiting for a connection when the engine was closed does not get it afterwards.
    async fn a_session_asked_for_before_closing_is_not_given_after(database: &TestDatabase, open: Open) {
        let proxy = Proxy::before(database.server_address()).await;
        let engine = open(&database.url_through(proxy.port), patient());
        proxy.set(Weather::Stall);
        let asking = tokio::spawn({ let engine = engine.clone(); async move { engine.session().await.map(drop) } });
        eventually("it is connecting", async || engine.stats().in_use == 1).await;
        engine.close(Duration::ZERO).await.expect("no session is open");
        proxy.set(test_support::FAIR);
        let error = asking.await.expect("it ends").expect_err("it is closed");
        assert!(error.is_closed(), "{error:?}");
        eventually("no connection is left", async || database.sessions().await == 0).await;
    }
}
