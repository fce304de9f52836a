//! How a test of sessions runs: the same body, once for each driver.

use std::future::poll_fn;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;

use freshdb::{Dialect, Engine, EngineOptions};
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, Executor, Row, Type};
use test_support::{Engine as Kind, Observer, Proxy, TestDatabase, Weather, eventually};

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

/// Settings with which a test waits as long as it takes: on a busy machine, unoptimised, a dozen new connections to a
/// server take their seconds.
pub fn patient() -> EngineOptions {
    EngineOptions::new().acquire_timeout(test_support::DEADLINE / 2)
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
