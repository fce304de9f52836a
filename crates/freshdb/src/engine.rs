//! The engine: where sessions come from.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::{Execute, Executor, SqlSafeStr, SqlStr};

use crate::conduct::{Conduct, conduct_of_beginning};
use crate::counters::Stats;
#[cfg(feature = "sea-orm")]
use crate::dialect::Begin;
use crate::dialect::{ConnectOptions, Dialect, Item};
use crate::error::{Error, Leaks};
use crate::executor::Query;
use crate::lease::Lease;
use crate::options::{EngineOptions, driver_options};
use crate::pool::Pool;
use crate::registry::{OpenSession, Place};
use crate::retry::Attempts;
use crate::session::Session;
use crate::tx::Tx;
use crate::verdict::Verdict;

/// An engine on PostgreSQL.
#[cfg(feature = "postgres")]
pub type PgEngine = Engine<sqlx::Postgres>;

/// An engine on MySQL or MariaDB.
#[cfg(feature = "mysql")]
pub type MySqlEngine = Engine<sqlx::MySql>;

/// An engine on SQLite.
#[cfg(feature = "sqlite")]
pub type SqliteEngine = Engine<sqlx::Sqlite>;

#[doc = include_str!("docs/engine.md")]
pub struct Engine<DB: Dialect>(Arc<Pool<DB>>);

impl<DB: Dialect> Engine<DB> {
    pub(crate) fn of(pool: Arc<Pool<DB>>) -> Self {
        Self(pool)
    }

    /// An engine that connects when it is first used, with the options of [`EngineOptions::new`]. Needs no runtime, and so
    /// can be the value of a `static`'s `LazyLock`.
    ///
    /// # Errors
    ///
    /// If the URL is not one of the database's.
    #[track_caller]
    pub fn lazy(url: &str) -> Result<Self, Error> {
        EngineOptions::new().lazy(url)
    }

    /// An engine that has connected, with the options of [`EngineOptions::new`].
    ///
    /// # Errors
    ///
    /// If the URL is not one of the database's, or no connection can be made.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped, there is no engine.
    #[track_caller]
    pub fn connect(url: &str) -> impl Future<Output = Result<Self, Error>> + Send + 'static + use<DB> {
        EngineOptions::new().connect(url)
    }

    /// The driver's own options for a URL, to be changed and handed to [`EngineOptions::lazy_with`]: as the driver reads it, and `mariadb://` too.
    /// What it passes over because it does not know the parameter is logged by its name, where the driver would log the value.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// use freshdb::{EngineOptions, SqliteEngine};
    ///
    /// let options = SqliteEngine::driver_options("sqlite://tags.db")?.create_if_missing(true);
    /// let engine: SqliteEngine = EngineOptions::new().lazy_with(options)?;
    /// # }
    /// # Ok::<(), freshdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL is not one of the database's.
    pub fn driver_options(url: &str) -> Result<ConnectOptions<DB>, Error> {
        driver_options::<DB>(url)
    }

    /// Checks a connection out: an idle one, or a new one. The place of the call is remembered, for reports.
    ///
    /// # Errors
    ///
    /// If the engine is closed; if every session is in use for as long as one waits, which names who holds them; if no
    /// connection can be made.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped, nothing is checked out, and a connection that is being made is kept for the next.
    #[track_caller]
    pub fn session(&self) -> impl Future<Output = Result<Session<DB>, Error>> + Send + 'static + use<DB> {
        let (pool, place) = (self.0.clone(), Location::caller());
        async move { Ok(Session::of(pool.acquire(place).await?)) }
    }

    /// Checks a connection out and begins a transaction on it. On SQLite it is one that may write, and waits in a fair
    /// queue for the one before it.
    ///
    /// # Errors
    ///
    /// As [`Self::session`], and if the transaction cannot begin.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped, there is no transaction. A connection on which one may have begun is ended on the server.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<Tx<DB>, Error>> + Send + 'static + use<DB> {
        let (engine, place) = (self.clone(), Location::caller());
        async move { engine.begin_at(place).await }
    }

    /// As [`Self::begin`], with a statement of your own, such as `BEGIN ISOLATION LEVEL SERIALIZABLE`. It waits in no queue.
    ///
    /// # Errors
    ///
    /// As [`Self::begin`].
    ///
    /// # Cancellation
    ///
    /// As [`Self::begin`].
    #[track_caller]
    pub fn begin_with<S: SqlSafeStr>(
        &self,
        statement: S,
    ) -> impl Future<Output = Result<Tx<DB>, Error>> + Send + use<DB, S> {
        let (engine, place) = (self.clone(), Location::caller());
        let beginning = Beginning::Statement(statement.into_sql_str());
        async move { Ok(Tx::of(engine.begin_as(place, beginning).await?)) }
    }

    pub(crate) async fn session_at(&self, place: Place) -> Result<Session<DB>, Error> {
        Ok(Session::of(self.0.acquire(place).await?))
    }

    pub(crate) async fn begin_at(&self, place: Place) -> Result<Tx<DB>, Error> {
        Ok(Tx::of(self.begin_as(place, Beginning::Default).await?))
    }

    pub(crate) async fn lease_at(&self, place: Place) -> Result<Lease<DB>, Error> {
        self.0.acquire(place).await
    }

    pub(crate) async fn begin_as(&self, place: Place, beginning: Beginning) -> Result<Lease<DB>, Error> {
        let (_, is_to_write) = beginning.resolve::<DB>();
        let mut attempts = Attempts::new();
        loop {
            let mut lease =
                if is_to_write { self.0.acquire_to_write(place).await? } else { self.0.acquire(place).await? };
            match lease.begin(beginning.clone()).await {
                Ok(_) => return Ok(lease),
                // Nothing was done yet that another connection could not do as well.
                Err(error) => {
                    let verdict = Verdict::of(&error);
                    if !matches!(verdict, Verdict::Lost | Verdict::ReadOnly) || !attempts.may_go_on(verdict) {
                        return Err(Error::statement("begin a transaction", error));
                    }
                    self.met(verdict);
                }
            }
        }
    }

    /// The server's name and version, such as `MariaDB 10.11.19`.
    ///
    /// # Errors
    ///
    /// If there is no session to be had, or the server does not answer.
    ///
    /// # Cancellation
    ///
    /// Safe.
    #[track_caller]
    pub fn server(&self) -> impl Future<Output = Result<String, Error>> + Send + 'static + use<DB> {
        let (engine, place) = (self.clone(), Location::caller());
        async move { engine.server_at(place).await }
    }

    pub(crate) async fn server_at(&self, place: Place) -> Result<String, Error> {
        let mut lease = self.lease_at(place).await?;
        lease.server().await.map_err(|error| Error::statement("ask the server for its version", error))
    }

    /// Takes no new sessions, waits until those that are open have come back, and closes every connection.
    ///
    /// After `limit`, and a fifth of a second at most, it says which sessions are still open; the server is told to end
    /// them. Their own statements fail from then on.
    ///
    /// # Errors
    ///
    /// If sessions were still open: each with the place at which it was opened, its age, and its last statement where that
    /// is known. A session that comes back later is closed then.
    ///
    /// # Cancellation
    ///
    /// Dropped, the engine stays closed to new sessions; those that come back are closed. It may be called again.
    pub async fn close(&self, limit: Duration) -> Result<(), Leaks> {
        self.0.close(limit).await
    }

    /// Counts what made it necessary to run work again, and asks every connection for a while if one was dead.
    pub(crate) fn met(&self, verdict: Verdict) {
        match verdict {
            Verdict::Conflict => self.0.counters.conflicted(),
            Verdict::Lost => {
                self.0.counters.lost();
                self.0.vigilance.lost_one();
            }
            Verdict::Exhausted | Verdict::ReadOnly | Verdict::Overtime | Verdict::Refused => {}
        }
    }

    /// The engine as it is now.
    pub fn stats(&self) -> Stats {
        let (idle, in_use) = self.0.counts();
        let limit = self.0.settings.max_connections as usize;
        self.0.counters.stats(idle, in_use, self.0.sessions.len(), limit)
    }

    /// The sessions that are open, the oldest first. The server is not asked.
    pub fn open_sessions(&self) -> Vec<OpenSession> {
        self.0.sessions.list().iter().map(OpenSession::of).collect()
    }

    /// Where the database is: a URL without its password, and without parameters but for a socket.
    pub fn target(&self) -> &str {
        &self.0.settings.target
    }
}

/// How a transaction begins.
#[derive(Clone, Debug)]
pub(crate) enum Beginning {
    /// As the engine's do.
    Default,
    /// By a statement of the user's.
    Statement(SqlStr),
    /// With these properties.
    #[cfg(feature = "sea-orm")]
    With(Begin),
}

#[cfg(feature = "sea-orm")]
impl From<Option<Begin>> for Beginning {
    fn from(begin: Option<Begin>) -> Self {
        begin.map_or(Self::Default, Self::With)
    }
}

impl Beginning {
    /// Whether a savepoint cannot begin so. What SQLite's mode is about, when a transaction gets its locks, is settled there.
    fn has_properties(&self) -> bool {
        match self {
            Self::Default => false,
            Self::Statement(_) => true,
            #[cfg(feature = "sea-orm")]
            Self::With(begin) => begin.isolation.is_some() || begin.read_only.is_some(),
        }
    }

    /// What it leaves behind on the session, besides the transaction. What an engine begins with has been thought of.
    pub(crate) fn conduct<DB: Dialect>(&self) -> Conduct {
        match self {
            Self::Default => Conduct::Clean,
            Self::Statement(statement) => conduct_of_beginning(statement.as_str(), DB::SYNTAX),
            #[cfg(feature = "sea-orm")]
            Self::With(_) => Conduct::Clean,
        }
    }

    /// The statement, where it is not the driver's own, and whether to wait for the right to write.
    pub(crate) fn resolve<DB: Dialect>(&self) -> (Option<SqlStr>, bool) {
        match self {
            Self::Default => (DB::begin_statement(), true),
            Self::Statement(statement) => (Some(statement.clone()), false),
            #[cfg(feature = "sea-orm")]
            Self::With(begin) => DB::begin_with(begin),
        }
    }
}

impl<DB: Dialect> Lease<DB> {
    /// Begins a transaction on a connection that is checked out already, or a savepoint in the one that is open.
    pub(crate) async fn begin_transaction(&mut self, beginning: Beginning) -> Result<usize, Error> {
        if self.level() > 0 && beginning.has_properties() {
            let fact = "a transaction inside of another is a savepoint, and has no isolation level and no access mode of its own";
            return Err(Error::options(fact, None));
        }
        if self.level() == 0 {
            let (_, is_to_write) = beginning.resolve::<DB>();
            // One that was dropped, and whose ROLLBACK goes first on this connection, may not have let go of it yet.
            if is_to_write && !self.has_writer() {
                let writer = self.pool().writer(Instant::now()).await?;
                self.keep_writer(writer);
            }
        }
        self.begin(beginning).await.map_err(|error| Error::statement("begin a transaction", error))
    }

    async fn server(&mut self) -> Result<String, sqlx::Error> {
        let (connection, watch) = self.watched()?;
        watch.whole::<DB, _>(Conduct::Clean, DB::server(connection)).await
    }
}

/// Clones share the connections.
impl<DB: Dialect> Clone for Engine<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Dialect> fmt::Debug for Engine<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Engine").field(&self.0).finish()
    }
}

/// Each statement on a session of its own, which comes back when the statement has ended.
impl<'c, DB: Dialect> Executor<'c> for &'_ Engine<DB> {
    type Database = DB;

    #[track_caller]
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Item<DB>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let (session, query) = (self.session(), Query::of(query));
        Box::pin(async_stream::try_stream! {
            let mut session = session.await?;
            let mut items = session.lease().fetch_many(query);
            while let Some(item) = items.try_next().await? {
                yield item;
            }
        })
    }

    #[track_caller]
    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let (session, query) = (self.session(), Query::of(query));
        Box::pin(async move { session.await?.lease().fetch_optional(query).await })
    }

    #[track_caller]
    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, sqlx::Error>>
    where
        'c: 'e,
    {
        let session = self.session();
        Box::pin(async move { session.await?.lease().prepare(sql, parameters).await })
    }

    #[track_caller]
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<DB>, sqlx::Error>>
    where
        'c: 'e,
    {
        let session = self.session();
        Box::pin(async move { session.await?.lease().describe(sql).await })
    }
}
