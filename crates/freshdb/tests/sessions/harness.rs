//! How a test of sessions runs: the same body, once for each driver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use freshdb::EngineOptions;
use test_support::DEADLINE;
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
