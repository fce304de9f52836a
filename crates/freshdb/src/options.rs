//! How an engine is made.

use std::panic::Location;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::dialect::{ConnectOptions, Dialect};
use crate::engine::Engine;
use crate::error::Error;
use crate::pool::Pool;
use crate::runtime::{self, Home};

/// How an engine is made.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use std::time::Duration;
///
/// use freshdb::{EngineOptions, SqliteEngine};
///
/// let engine: SqliteEngine = EngineOptions::new()
///     .max_connections(4)
///     .acquire_timeout(Duration::from_secs(3))
///     .lazy("sqlite::memory:")?;
/// # }
/// # Ok::<(), freshdb::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until an engine is made of them"]
pub struct EngineOptions {
    max_connections: u32,
    acquire_timeout: Duration,
    idle_timeout: Duration,
    max_lifetime: Duration,
    statement_timeout: Option<Duration>,
    on_connect: Vec<String>,
    echo: Option<bool>,
    runtime: Option<Handle>,
    #[cfg(feature = "test")]
    plain: bool,
    #[cfg(feature = "test")]
    reuse: Option<crate::test::reuse::Reuse>,
}

/// What the pool needs to know of them.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_connections: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_lifetime: Duration,
    /// Executed on each new connection.
    pub(crate) statements: String,
    /// Where the database is, as people are told.
    pub(crate) target: String,
    /// Where the engine was made.
    #[cfg(feature = "test")]
    pub(crate) made_at: crate::registry::Place,
    /// Whether connections are tried first without what only a network has need of.
    #[cfg(feature = "test")]
    pub(crate) plain: bool,
    /// Where connections come from, and go to when the engine is closed.
    #[cfg(feature = "test")]
    pub(crate) reuse: Option<crate::test::reuse::Reuse>,
}

/// A statement that took longer is logged as slow when statements are echoed or not.
const SLOW_STATEMENT: Duration = Duration::from_secs(1);

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(10),
            max_lifetime: Duration::from_mins(30),
            statement_timeout: None,
            on_connect: Vec::new(),
            echo: None,
            runtime: None,
            #[cfg(feature = "test")]
            plain: false,
            #[cfg(feature = "test")]
            reuse: None,
        }
    }
}

impl EngineOptions {
    /// Ten connections at the most; ten seconds to wait for one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connections at the most, and so sessions at once: 10 if nothing else is said, at least 1. A database in SQLite's
    /// memory always has one. To end sessions on a server, the engine opens one more for a moment.
    pub fn max_connections(mut self, count: u32) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// How long [`Engine::session`] and [`Engine::begin`] wait, for a free connection or a new one, and on SQLite for other writers: 10 s
    /// if nothing else is said.
    pub fn acquire_timeout(mut self, limit: Duration) -> Self {
        self.acquire_timeout = limit;
        self
    }

    /// After how long without work a connection is closed: 10 min if nothing else is said.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// After how long a connection is closed when it comes back: 30 min if nothing else is said.
    pub fn max_lifetime(mut self, limit: Duration) -> Self {
        self.max_lifetime = limit;
        self
    }

    /// How long one statement may take, as far as the engine can hold to that: PostgreSQL ends the statement. MySQL and
    /// MariaDB bound the time that it waits for locks, in whole seconds; SQLite, the time that it waits for another
    /// process. No limit but the server's if nothing else is said.
    pub fn statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = Some(limit);
        self
    }

    /// Statements that are executed on each new connection, such as `SET time_zone = '+00:00'`. They must not open a
    /// transaction.
    pub fn on_connect(mut self, statements: impl Into<String>) -> Self {
        self.on_connect.push(statements.into());
        self
    }

    /// Whether every statement, its duration and its rows are written to `tracing`, at the level `INFO` under the target
    /// `sqlx::query`. `false` silences the driver but for statements that take longer than a second. If nothing is said,
    /// the driver decides: by its default, at the level `DEBUG`.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = Some(echo);
        self
    }

    /// Binds the engine to a runtime that lives longer than it: the one multi-thread runtime of a server. What sessions
    /// read then wakes that runtime's own threads, and not by way of the engine's.
    ///
    /// If that runtime ends first, sessions that are open are lost, and no new ones are to be had.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Whether the server is asked first to do without what only a network has need of.
    #[cfg(feature = "test")]
    pub(crate) fn plain(mut self, plain: bool) -> Self {
        self.plain = plain;
        self
    }

    /// Takes the connections that the last test on its database has left, and leaves its own to the next.
    #[cfg(feature = "test")]
    pub(crate) fn reuse(mut self, reuse: Option<crate::test::reuse::Reuse>) -> Self {
        self.reuse = reuse;
        self
    }

    /// Makes an engine that connects when it is first used. Needs no runtime.
    ///
    /// # Errors
    ///
    /// If the URL is not one of the database's, or the options cannot be kept.
    #[track_caller]
    pub fn lazy<DB: Dialect>(self, url: &str) -> Result<Engine<DB>, Error> {
        self.lazy_with(driver_options::<DB>(url)?)
    }

    /// Makes an engine out of the driver's own options, that connects when it is first used. Needs no runtime.
    ///
    /// # Errors
    ///
    /// If the options cannot be kept.
    #[track_caller]
    pub fn lazy_with<DB: Dialect>(self, mut options: ConnectOptions<DB>) -> Result<Engine<DB>, Error> {
        // Always: it tells the time, and an engine that has one must not find out later that there is none.
        let process = runtime::of_process().map_err(|error| {
            Error::options("the system has no threads for the engine's runtime", Some(error.into()))
        })?;
        if let Some(bound) = &self.runtime
            && bound.runtime_flavor() == RuntimeFlavor::CurrentThread
        {
            let fact =
                "an engine cannot be bound to a current-thread runtime, which stands still while it is not driven";
            return Err(Error::options(fact, None));
        }
        if let Some(echo) = self.echo {
            let level = if echo { log::LevelFilter::Info } else { log::LevelFilter::Off };
            options = options.log_statements(level).log_slow_statements(log::LevelFilter::Warn, SLOW_STATEMENT);
        }
        let bound = self.statement_timeout.map(DB::bound_statements);
        let statements: Vec<String> = bound.into_iter().chain(self.on_connect).map(|text| without_end(&text)).collect();
        let settings = Settings {
            max_connections: self.max_connections,
            acquire_timeout: self.acquire_timeout,
            idle_timeout: self.idle_timeout,
            max_lifetime: self.max_lifetime,
            // Each behind the line of the one before it, which may end with a comment.
            statements: statements.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n; "),
            target: DB::target(&options),
            #[cfg(feature = "test")]
            made_at: Location::caller(),
            #[cfg(feature = "test")]
            plain: self.plain,
            #[cfg(feature = "test")]
            reuse: self.reuse,
        };
        let home = self.runtime.map_or(Home::OfProcess(process), Home::Bound);
        Ok(Engine::of(Pool::new(options, settings, home)))
    }

    /// Makes an engine, and a first connection, so that what is wrong is said here.
    ///
    /// # Errors
    ///
    /// If the URL is not one of the database's, or no connection can be made.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped, there is no engine.
    #[track_caller]
    pub fn connect<DB: Dialect>(
        self,
        url: &str,
    ) -> impl Future<Output = Result<Engine<DB>, Error>> + Send + 'static + use<DB> {
        let (place, engine) = (Location::caller(), self.lazy(url));
        async move {
            let engine = engine?;
            drop(engine.session_at(place).await?);
            Ok(engine)
        }
    }
}

/// Without the `;` at its end, behind which MySQL and MariaDB want another statement.
fn without_end(statements: &str) -> String {
    statements.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == ';').to_owned()
}

/// See [`Engine::driver_options`].
pub(crate) fn driver_options<DB: Dialect>(url: &str) -> Result<ConnectOptions<DB>, Error> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    // SQLite itself knows `file://`.
    let is_path = DB::TAKES_PATHS && (!url.contains("://") || scheme == Some("file"));
    if !is_path && !scheme.is_some_and(|scheme| DB::SCHEMES.contains(&scheme)) {
        let schemes: Vec<String> = DB::SCHEMES.iter().map(|scheme| format!("`{scheme}://`")).collect();
        let fact = format!("the database URL is not one of {}, which begin with {}", DB::TITLE, schemes.join(" or "));
        return Err(Error::options(fact, None));
    }
    DB::options(url).map_err(|error| {
        // The URL is not repeated: it may hold a password.
        Error::options(format!("the database URL is not one of {}", DB::TITLE), Some(error))
    })
}
