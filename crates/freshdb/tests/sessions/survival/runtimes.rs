//! One engine, many runtimes: those that end, stand still, or lie about the time.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use test_support::{Proxy, Weather};

use crate::harness::{
    CLOSE, PlainPool, driven_runtime, eventually_here, on_a_thread, patient, paused_runtime, runtime_of_a_test,
};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY)";
const COUNT: &str = "SELECT COUNT(*) FROM items";

/// What the driver says of a connection whose runtime has ended: asyncio's "Event loop is closed".
const LOOP_IS_CLOSED: &str =
    r#"Io(Custom { kind: Other, error: "A Tokio 1.x context was found, but it is being shutdown." })"#;

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// Two tests share a pool. The second is handed the connection of the first, which then ends.
    async fn plain_pool_fails_in_a_test_when_another_one_ends(database: &TestDatabase, open: Pool) {
        on_a_thread(|| {
            let (first, second) = (driven_runtime(), driven_runtime());
            let pool = first.block_on(async { open(PlainPool::of_one(), database.url()) });
            first.block_on(async { drop(pool.acquire().await.expect("a connection")) });
            eventually_here("the connection is back", || pool.num_idle() == 1);
            let mut connection = second.block_on(pool.acquire()).expect("a connection, which has just proved itself");
            drop(first);
            // An answer that is there at once would still be read.
            let query = sqlx::query(AssertSqlSafe(database.sleep(1))).execute(&mut *connection);
            let error = second.block_on(query).expect_err("it is dead");
            assert_eq!(format!("{error:?}"), LOOP_IS_CLOSED);
            second.block_on(async { drop(connection) });
        });
    }
}

with_every_driver! {
    async fn a_session_works_on_when_the_runtime_ends_that_used_its_connection_first(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let (first, second) = (driven_runtime(), driven_runtime());
            let engine = open(database.url(), patient().max_connections(1));
            first.block_on(async { drop(engine.session().await.expect("a session")) });
            let mut session = second.block_on(engine.session()).expect("a session");
            drop(first);
            second.block_on(sqlx::query("SELECT 1").execute(&mut session)).expect("it works");
            drop(session);
            second.block_on(engine.close(CLOSE)).expect("nothing leaks");
        });
    }
}

with_every_driver! {
    /// The program that failed in 15 of 15 runs on the driver's pool, and here has a hundred: 31 tests on 4 threads, each
    /// with a runtime of its own, all of them with one engine in a `static`.
    async fn a_static_engine_serves_31_tests_on_4_threads(database: &TestDatabase, open: Open) {
        const TESTS: i32 = 31 * 100;

        database.execute(CREATE).await;
        let url = database.url().to_owned();
        // As a `static` of this type would be, but for that a test of another engine needs its own.
        let engine = LazyLock::new(move || open(&url, patient().max_connections(4)));
        let next = AtomicI32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= TESTS {
                            return;
                        }
                        runtime_of_a_test().block_on(async {
                            let mut session = engine.session().await.expect("a session");
                            sqlx::query("SELECT 1").execute(&mut session).await.expect("it works");
                            let mut tx = session.begin().await.expect("a transaction");
                            let insert = AssertSqlSafe(format!("INSERT INTO items VALUES ({number})"));
                            // Not prepared: the driver would have to forget one statement for each of these.
                            sqlx::raw_sql(insert).execute(&mut tx).await.expect("it works");
                            // The runtime ends before anything can be said to the server.
                            drop(tx);
                        });
                    }
                });
            }
        });
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&*engine).await.expect("a count");
        assert_eq!(count, 0);
        engine.close(CLOSE).await.expect("nothing leaks");
        assert_eq!(engine.stats().in_use, 0);
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// One after another, the tests do not fail: the dead connection is found out, and replaced. Without that, they do.
    async fn plain_pool_hides_it_from_tests_that_run_one_after_another(database: &TestDatabase, open: Pool) {
        // An answer that is there at once would still be read, from a connection that is dead.
        let proxy = Proxy::before(database.server_address()).await;
        proxy.set(Weather::Delay(Duration::from_millis(20)));
        let url = database.url_through(proxy.port);
        on_a_thread(|| {
            for test_before_acquire in [true, false] {
                let (first, second) = (driven_runtime(), runtime_of_a_test());
                let settings = PlainPool { test_before_acquire, ..PlainPool::of_one() };
                let pool = first.block_on(async { open(settings, &url) });
                first.block_on(async { drop(pool.acquire().await.expect("a connection")) });
                eventually_here("the connection is back", || pool.num_idle() == 1);
                drop(first);
                match second.block_on(sqlx::query("SELECT 1").execute(&pool)) {
                    Ok(_) => assert!(test_before_acquire),
                    Err(error) => {
                        assert!(!test_before_acquire, "{error:?}");
                        assert_eq!(format!("{error:?}"), LOOP_IS_CLOSED);
                    }
                }
            }
        });
    }
}

with_every_driver! {
    /// And on the connection of the first: nothing is hidden, as nothing is broken.
    async fn an_engine_serves_tests_that_run_one_after_another(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let engine = open(database.url(), patient().max_connections(1));
            let ids: Vec<_> = (0..31)
                .map(|_| {
                    runtime_of_a_test().block_on(async {
                        let mut session = engine.session().await.expect("a session");
                        sqlx::query("SELECT 1").execute(&mut session).await.expect("it works");
                        session.connection_id()
                    })
                })
                .collect();
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
            runtime_of_a_test().block_on(engine.close(CLOSE)).expect("nothing leaks");
        });
    }
}

with_every_plain_pool! {
    [sqlite]
    async fn plain_pool_loses_a_database_in_memory(_database: &TestDatabase, open: Pool) {
        on_a_thread(|| {
            let first = runtime_of_a_test();
            let pool = first.block_on(async {
                let pool = open(PlainPool::of_one(), "sqlite::memory:");
                sqlx::query(CREATE).execute(&pool).await.expect("a table");
                pool
            });
            drop(first);
            // The connection was on its way back, in a task that has ended. When its thread has, too, so has the database.
            eventually_here("no such table", || {
                let result = runtime_of_a_test().block_on(sqlx::query(COUNT).execute(&pool));
                result.is_err_and(|error| error.to_string().contains("no such table: items"))
            });
        });
    }
}

with_every_driver! {
    [sqlite]
    async fn a_database_in_memory_outlives_the_runtime_that_made_it(_database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            for url in ["sqlite::memory:", "sqlite://items.db?mode=memory", "sqlite://?mode=memory&cache=private"] {
                let engine = open(url, patient());
                runtime_of_a_test().block_on(sqlx::query(CREATE).execute(&engine)).expect("a table");
                for count in 0..31 {
                    runtime_of_a_test().block_on(async {
                        let insert = sqlx::query("INSERT INTO items VALUES (?)").bind(count);
                        insert.execute(&engine).await.expect("a row");
                    });
                }
                // Not even with the connection that it was made on.
                let cut_off = runtime_of_a_test().block_on(async {
                    let mut session = engine.session().await.expect("a session");
                    let endless = sqlx::query("WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step) SELECT COUNT(*) FROM step");
                    tokio::time::timeout(Duration::from_millis(20), endless.execute(&mut session)).await
                });
                assert!(cut_off.is_err());
                let count: i64 = runtime_of_a_test().block_on(sqlx::query_scalar(COUNT).fetch_one(&engine)).expect("the table");
                assert_eq!(count, 31, "{url}");
                runtime_of_a_test().block_on(engine.close(CLOSE)).expect("nothing leaks");
            }
        });
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// The answer to the question whether the connection lives reaches a runtime that does not look.
    async fn plain_pool_waits_for_a_runtime_that_stands_still(database: &TestDatabase, open: Pool) {
        let proxy = Proxy::before(database.server_address()).await;
        let url = database.url_through(proxy.port);
        on_a_thread(|| {
            let still = runtime_of_a_test();
            let settings = PlainPool { acquire_timeout: Duration::from_secs(4), ..PlainPool::of_one() };
            let pool = still.block_on(async {
                let pool = open(settings, &url);
                drop(pool.acquire().await.expect("a connection"));
                while pool.num_idle() == 0 {
                    tokio::task::yield_now().await;
                }
                pool
            });
            // An answer that is there at once would still be read.
            proxy.set(Weather::Delay(Duration::from_millis(20)));
            let result = runtime_of_a_test().block_on(pool.acquire()).map(drop);
            assert!(matches!(result, Err(sqlx::Error::PoolTimedOut)), "{result:?}");
        });
    }
}

with_every_driver! {
    async fn an_engine_does_not_need_a_runtime_that_stands_still(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let still = runtime_of_a_test();
            let engine = open(database.url(), patient().max_connections(1));
            still.block_on(async { drop(engine.session().await.expect("a session")) });
            runtime_of_a_test().block_on(sqlx::query("SELECT 1").execute(&engine)).expect("it works");
            // Nor when a session is open there.
            let mut session = still.block_on(engine.session()).expect("a session");
            runtime_of_a_test().block_on(sqlx::query("SELECT 1").execute(&mut session)).expect("it works");
            drop(session);
            runtime_of_a_test().block_on(engine.close(CLOSE)).expect("nothing leaks");
            drop(still);
        });
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// A paused clock leaps to the end of the time to wait as soon as there is nothing to do but to wait.
    async fn plain_pool_takes_a_paused_clock_at_its_word(database: &TestDatabase, open: Pool) {
        // A server that answers at once leaves no time to leap.
        let proxy = Proxy::before(database.server_address()).await;
        proxy.set(Weather::Delay(Duration::from_millis(20)));
        let url = database.url_through(proxy.port);
        on_a_thread(|| {
            let started = Instant::now();
            let acquire = async { open(PlainPool::default(), &url).acquire().await.map(drop) };
            let result = paused_runtime().block_on(acquire);
            assert!(matches!(result, Err(sqlx::Error::PoolTimedOut)), "{result:?}");
            assert!(started.elapsed() < PlainPool::default().acquire_timeout / 2);
        });
    }
}

with_every_driver! {
    async fn an_engine_goes_by_the_clock_of_the_process(database: &TestDatabase, open: Open) {
        const PATIENCE: Duration = Duration::from_millis(300);

        on_a_thread(|| {
            let engine = open(database.url(), patient().max_connections(1));
            // To connect takes as long as it takes.
            let mut session = paused_runtime().block_on(engine.session()).expect("a session");
            paused_runtime().block_on(sqlx::query("SELECT 1").execute(&mut session)).expect("it works");
            // To wait for a session that comes back does, too.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(50));
                    drop(session);
                });
                drop(paused_runtime().block_on(engine.session()).expect("the session that came back"));
            });
            paused_runtime().block_on(engine.close(CLOSE)).expect("nothing leaks");

            // And to wait in vain. To connect may take longer than that; the connection is kept.
            let engine = open(database.url(), patient().max_connections(1).acquire_timeout(PATIENCE));
            let mut held = None;
            eventually_here("there is a session", || {
                held = paused_runtime().block_on(engine.session()).ok();
                held.is_some()
            });
            let started = Instant::now();
            let error = paused_runtime().block_on(engine.session()).expect_err("it is in use");
            assert!(error.is_exhausted(), "{error:?}");
            assert!(started.elapsed() >= PATIENCE, "{:?}", started.elapsed());
            drop(held);
            paused_runtime().block_on(engine.close(CLOSE)).expect("nothing leaks");
        });
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// As when a handle is kept in a `static`.
    async fn plain_pool_fails_in_a_runtime_that_has_ended(database: &TestDatabase, open: Pool) {
        on_a_thread(|| {
            let handle = runtime_of_a_test().handle().clone();
            let _entered = handle.enter();
            let pool = open(PlainPool::default(), database.url());
            let error = futures_executor::block_on(pool.acquire()).map(drop).expect_err("there is no runtime");
            assert_eq!(format!("{error:?}"), LOOP_IS_CLOSED);
        });
    }
}

with_every_driver! {
    async fn an_engine_works_in_a_runtime_that_has_ended(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let handle = runtime_of_a_test().handle().clone();
            let _entered = handle.enter();
            let engine = open(database.url(), patient());
            futures_executor::block_on(async {
                let mut tx = engine.begin().await.expect("a transaction");
                sqlx::query("SELECT 1").execute(&mut tx).await.expect("it works");
                drop(tx);
                engine.close(CLOSE).await.expect("nothing leaks");
            });
        });
    }
}

with_every_driver! {
    /// Then nothing can be done, and that is said: no waiting, no panic, whatever is tried.
    async fn an_engine_whose_own_runtime_has_ended_says_so(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let bound_to = driven_runtime();
            let options = patient().runtime(bound_to.handle().clone());
            let (engine, unused) = (open(database.url(), options.clone()), open(database.url(), options));
            let test = runtime_of_a_test();
            let (mut open, tx) = test.block_on(async {
                drop(engine.session().await.expect("a session"));
                let sessions = (engine.session().await.expect("a session"), engine.begin().await.expect("a transaction"));
                drop(engine.session().await.expect("a session, for one that is idle"));
                sessions
            });
            drop(bound_to);
            drop(tx);

            let started = Instant::now();
            for engine in [&engine, &unused] {
                for _ in 0..3 {
                    let error = test.block_on(engine.session()).expect_err("there is no runtime");
                    assert!(error.to_string().contains("has ended"), "{error:?}");
                    let error = test.block_on(engine.begin()).expect_err("there is no runtime");
                    assert!(error.to_string().contains("has ended"), "{error:?}");
                }
            }
            // A session that was open is lost, if it had a socket. An answer that is there at once would still be read.
            let embedded = database.engine == test_support::Engine::Sqlite;
            let sql = if embedded { "SELECT 1".to_owned() } else { database.sleep(1) };
            let result = test.block_on(sqlx::query(AssertSqlSafe(sql)).execute(&mut open));
            assert_eq!(result.is_ok(), embedded, "{result:?}");
            drop(open);
            test.block_on(engine.close(CLOSE)).expect("nothing is open");
            test.block_on(unused.close(CLOSE)).expect("nothing is open");
            assert!(started.elapsed() < CLOSE, "{:?}", started.elapsed());
        });
    }
}

with_every_driver! {
    /// Closed or dropped, it leaves nothing there that would be taken for somebody's task.
    async fn an_engine_leaves_no_task_on_its_runtime(database: &TestDatabase, open: Open) {
        on_a_thread(|| {
            let (bound_to, test) = (driven_runtime(), runtime_of_a_test());
            for is_closed in [true, false] {
                let engine = open(database.url(), patient().runtime(bound_to.handle().clone()));
                test.block_on(async {
                    drop(engine.session().await.expect("a session"));
                    if is_closed {
                        engine.close(CLOSE).await.expect("nothing is open");
                    }
                });
                let kept = is_closed.then_some(engine);
                eventually_here("it has no task", || bound_to.handle().metrics().num_alive_tasks() == 0);
                drop(kept);
            }
        });
    }
}
