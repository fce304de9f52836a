//! How a test of sessions runs: the same body, once for each driver.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use freshdb::{Dialect, Engine, EngineOptions};
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, Executor, Row, Type};
use test_support::{DEADLINE, Engine as Kind, Observer, Proxy, TestDatabase, Weather, eventually};
use tokio::runtime::{Builder, Runtime};

/// Makes a test of each engine out of one function. Its second argument makes an engine of a URL and options: on SQLite, on
/// MySQL or MariaDB, or on PostgreSQL, which are three types, and so the body is compiled for each of them.
macro_rules! with_every_driver {
    (
        $([$($engine:ident),*])?
        $(#[$meta:meta])*
        async fn $name:ident($database:ident: &TestDatabase, $open:ident: Open) $body:block
    ) => {
        on_every_engine! {
            $([$($engine),*])?
            $(#[$meta])*
            async fn $name(database: &TestDatabase) {
                #[allow(unused_imports, clippy::allow_attributes)]
                use test_support::Engine as Kind;
                let $database = database;
                match $database.engine {
                    Kind::Sqlite => {
                        let $open = |url: &str, options: freshdb::EngineOptions| {
                            options.lazy::<sqlx::Sqlite>(url).expect("an engine")
                        };
                        $body
                    }
                    Kind::Mysql | Kind::Mariadb => {
                        let $open = |url: &str, options: freshdb::EngineOptions| {
                            options.lazy::<sqlx::MySql>(url).expect("an engine")
                        };
                        $body
                    }
                    Kind::Postgres => {
                        let $open = |url: &str, options: freshdb::EngineOptions| {
                            options.lazy::<sqlx::Postgres>(url).expect("an engine")
                        };
                        $body
                    }
                }
            }
        }
    };
}

/// As [`with_every_driver`], for what the driver's own pool does: its second argument makes such a pool.
macro_rules! with_every_plain_pool {
    (
        $([$($engine:ident),*])?
        $(#[$meta:meta])*
        async fn $name:ident($database:ident: &TestDatabase, $pool:ident: Pool) $body:block
    ) => {
        on_every_engine! {
            $([$($engine),*])?
            $(#[$meta])*
            async fn $name(database: &TestDatabase) {
                #[allow(unused_imports, clippy::allow_attributes)]
                use test_support::Engine as Kind;
                let $database = database;
                match $database.engine {
                    Kind::Sqlite => {
                        let $pool = $crate::harness::PlainPool::open::<sqlx::Sqlite>;
                        $body
                    }
                    Kind::Mysql | Kind::Mariadb => {
                        let $pool = $crate::harness::PlainPool::open::<sqlx::MySql>;
                        $body
                    }
                    Kind::Postgres => {
                        let $pool = $crate::harness::PlainPool::open::<sqlx::Postgres>;
                        $body
                    }
                }
            }
        }
    };
}

/// What a test says of a pool of the driver's.
#[derive(Clone, Copy)]
pub struct PlainPool {
    pub max_connections: u32,
    pub acquire_timeout: Duration,
    pub test_before_acquire: bool,
}

/// As the driver's, but for the patience.
impl Default for PlainPool {
    fn default() -> Self {
        Self { max_connections: 10, acquire_timeout: DEADLINE / 2, test_before_acquire: true }
    }
}

impl PlainPool {
    /// One connection, and so the same one each time.
    pub fn of_one() -> Self {
        Self { max_connections: 1, ..Self::default() }
    }

    /// The driver's pool, which connects when it is first used. The driver knows MariaDB by MySQL's name only.
    pub fn open<DB: sqlx::Database>(self, url: &str) -> sqlx::Pool<DB> {
        sqlx::pool::PoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(self.test_before_acquire)
            .connect_lazy(&url.replacen("mariadb:", "mysql:", 1))
            .expect("a URL")
    }
}

/// Settings with which a test waits as long as it takes: on a busy machine, unoptimised, a dozen new connections to a
/// server take their seconds.
pub fn patient() -> EngineOptions {
    EngineOptions::new().acquire_timeout(DEADLINE / 2)
}

/// How long a test gives an engine to close.
pub const CLOSE: Duration = Duration::from_secs(20);

/// A network between an engine and its database that a test can make bad. To a file there is none.
pub struct Network {
    proxy: Option<Proxy>,
    url: String,
}

impl Network {
    pub async fn to(database: &TestDatabase) -> Self {
        if database.engine == Kind::Sqlite {
            return Self { proxy: None, url: database.url().to_owned() };
        }
        let proxy = Proxy::before(database.server_address()).await;
        Self { url: database.url_through(proxy.port), proxy: Some(proxy) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn set(&self, weather: Weather) {
        if let Some(proxy) = &self.proxy {
            proxy.set(weather);
        }
    }
}

/// Held by tests that take the whole machine, and by those that measure how fast something is: one at a time.
pub static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Polls a future so many times at the most, each time when it has asked for it, and drops it.
pub async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Makes the attempt with no poll, one poll, two polls, … until it says that its future has completed; gives how many
/// that took.
pub async fn at_every_await(mut attempt: impl AsyncFnMut(usize) -> bool) -> usize {
    for polls in 0..1000 {
        if attempt(polls).await {
            return polls;
        }
    }
    panic!("a thousand polls, and no end");
}

/// A number that no other test asks for.
pub fn unique() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The number that a statement gives.
pub async fn number<'e, DB, E>(executor: E, sql: &str) -> Result<i64, sqlx::Error>
where
    DB: Database,
    E: Executor<'e, Database = DB>,
    i64: Type<DB> + for<'r> Decode<'r, DB>,
    usize: ColumnIndex<DB::Row>,
{
    executor.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?.try_get_unchecked(0)
}

/// Opens every session that there can be at once. Each answers its own question, and what it writes into `items` is there
/// for others.
pub async fn all_are_in_order<DB>(engine: &Engine<DB>, observer: &mut Observer, after: &str)
where
    DB: Dialect,
    i64: Type<DB> + for<'r> Decode<'r, DB>,
    usize: ColumnIndex<DB::Row>,
{
    let mut sessions = Vec::new();
    for _ in 0..engine.stats().limit {
        sessions.push(engine.session().await.unwrap_or_else(|error| panic!("after {after}: {error:?}")));
    }
    for session in &mut sessions {
        let asked = unique();
        let answer = number(&mut *session, &format!("SELECT {asked}")).await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("after {after}: {error:?}")), asked, "after {after}");
        let insert = sqlx::raw_sql(AssertSqlSafe(format!("INSERT INTO items (id) VALUES ({asked})")));
        session.execute(insert).await.unwrap_or_else(|error| panic!("after {after}: {error:?}"));
        let seen = observer.number(&format!("SELECT COUNT(*) FROM items WHERE id = {asked}")).await;
        assert_eq!(seen, 1, "a session was in a transaction, after {after}");
    }
}

/// Every connection has come back.
pub async fn all_come_back<DB: Dialect>(engine: &Engine<DB>) {
    eventually("every connection has come back", async || engine.stats().in_use == 0).await;
    assert_eq!(engine.stats().sessions, 0);
}

/// Does blocking work on a thread of its own, in which there is no runtime.
pub fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A runtime as `#[tokio::test]` makes one for each test: it makes progress while it is blocked on.
pub fn runtime_of_a_test() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A runtime that makes progress by itself, as that of a test on another thread does.
pub fn driven_runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A runtime whose clock stands still, and leaps when there is nothing else to do.
pub fn paused_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// What the work says when it panics.
///
/// # Panics
///
/// If it does not.
pub fn panic_of<T>(work: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(work)) else { panic!("there was no panic") };
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&'static str>().expect("a message")).to_owned(),
    }
}

/// As [`test_support::eventually`], by the clock of the process and where there is no runtime.
///
/// # Panics
///
/// If the answer is still no after [`DEADLINE`].
pub fn eventually_here(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
