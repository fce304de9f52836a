//! Engines and sessions whose database is known when the program runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, ExecResult, QueryResult, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, Either, IntoArguments};
use tokio::sync::MutexGuard;

use crate::conduct::LevelId;
use crate::counters::Stats;
use crate::dialect::{Backend, Begin};
use crate::engine::{Beginning, Engine};
use crate::error::{Error, Leaks};
use crate::executor::Query;
use crate::lease::Lease;
use crate::registry::{Label, OpenSession, Place};
use crate::verdict::Verdict;

/// A database that SeaORM knows.
pub(crate) trait OrmBackend: Backend {
    const BACKEND: DbBackend;
}

#[cfg(feature = "mysql")]
impl OrmBackend for sqlx::MySql {
    const BACKEND: DbBackend = DbBackend::MySql;
}

#[cfg(feature = "postgres")]
impl OrmBackend for sqlx::Postgres {
    const BACKEND: DbBackend = DbBackend::Postgres;
}

#[cfg(feature = "sqlite")]
impl OrmBackend for sqlx::Sqlite {
    const BACKEND: DbBackend = DbBackend::Sqlite;
}

/// An engine on one of the databases.
pub(crate) trait ErasedEngine: fmt::Debug + Send + Sync {
    fn backend(&self) -> DbBackend;
    fn session(&self, place: Place) -> BoxFuture<'_, Result<Arc<Shared>, Error>>;
    fn begin(&self, place: Place, beginning: Beginning) -> BoxFuture<'_, Result<Arc<Shared>, Error>>;
    fn server(&self, place: Place) -> BoxFuture<'_, Result<String, Error>>;
    fn close(&self, limit: Duration) -> BoxFuture<'_, Result<(), Leaks>>;
    fn stats(&self) -> Stats;
    fn open_sessions(&self) -> Vec<OpenSession>;
    fn target(&self) -> &str;
    fn met(&self, verdict: Verdict);
}

/// A session on one of the databases, which SeaORM's traits use by shared reference: one statement at a time.
pub(crate) struct Shared<L: ?Sized = dyn ErasedLease> {
    pub(crate) engine: Arc<dyn ErasedEngine>,
    pub(crate) place: Place,
    /// The transactions that were dropped while the session was at work.
    pub(crate) dropped: Mutex<Vec<LevelId>>,
    pub(crate) lease: tokio::sync::Mutex<L>,
}

impl<L: ErasedLease + ?Sized> Shared<L> {
    /// The session, when nobody is at work on it, and without what is left of transactions that were dropped.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, L> {
        let mut lease = self.lease.lock().await;
        for level in self.take_dropped() {
            if let Err(error) = lease.roll_back(level).await {
                tracing::debug!(%error, "a dropped transaction was not rolled back in order");
            }
        }
        lease
    }

    /// The session, for work inside of this transaction, if it is for one.
    ///
    /// # Errors
    ///
    /// If that has ended: what is executed next would be stored at once, or be part of another one.
    pub(crate) async fn lock_within(&self, level: Option<LevelId>) -> Result<MutexGuard<'_, L>, Error> {
        let lease = self.lock().await;
        match level {
            Some(level) if !lease.is_open(level) => Err(ended()),
            _ => Ok(lease),
        }
    }

    /// Whoever locks the session next rolls these back first.
    pub(crate) fn note_dropped(&self, levels: impl IntoIterator<Item = LevelId>) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).extend(levels);
    }

    pub(crate) fn take_dropped(&self) -> Vec<LevelId> {
        std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn ended() -> Error {
    Error::aborted("the transaction around it has ended".into())
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lease.try_lock() {
            Ok(lease) => fmt::Debug::fmt(&*lease, formatter),
            Err(_) => write!(formatter, "Lease {{ opened_at: {}, at work }}", self.place),
        }
    }
}

pub(crate) trait ErasedLease: fmt::Debug + Send {
    fn execute(&mut self, statement: Statement) -> BoxFuture<'_, Result<ExecResult, sqlx::Error>>;
    fn execute_unprepared(&mut self, sql: String) -> BoxFuture<'_, Result<ExecResult, sqlx::Error>>;
    fn query_one(&mut self, statement: Statement) -> BoxFuture<'_, Result<Option<QueryResult>, sqlx::Error>>;
    fn query_all(&mut self, statement: Statement) -> BoxFuture<'_, Result<Vec<QueryResult>, sqlx::Error>>;
    fn begin(&mut self, begin: Option<Begin>) -> BoxFuture<'_, Result<LevelId, Error>>;
    fn is_open(&self, level: LevelId) -> bool;
    /// How this transaction has begun, if it is open and in no other.
    fn beginning_of(&self, level: LevelId) -> Option<Beginning>;
    fn commit(&mut self, level: LevelId) -> BoxFuture<'_, Result<(), Error>>;
    /// What has ended with the transaction around it was rolled back with that.
    fn roll_back(&mut self, level: LevelId) -> BoxFuture<'_, Result<(), Error>>;
    fn roll_back_later(&mut self, level: LevelId) -> bool;
    fn flush(&mut self) -> BoxFuture<'_, Result<(), Error>>;
    fn connection_id(&self) -> Option<u64>;
    fn label(&self, label: Label);
}

impl<DB> ErasedEngine for Engine<DB>
where
    DB: OrmBackend,
    Lease<DB>: ErasedLease,
{
    fn backend(&self) -> DbBackend {
        DB::BACKEND
    }

    fn session(&self, place: Place) -> BoxFuture<'_, Result<Arc<Shared>, Error>> {
        Box::pin(async move { Ok(share(self, self.lease_at(place).await?)) })
    }

    fn begin(&self, place: Place, beginning: Beginning) -> BoxFuture<'_, Result<Arc<Shared>, Error>> {
        Box::pin(async move { Ok(share(self, self.begin_as(place, beginning).await?)) })
    }

    fn server(&self, place: Place) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(self.server_at(place))
    }

    fn close(&self, limit: Duration) -> BoxFuture<'_, Result<(), Leaks>> {
        Box::pin(self.close(limit))
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn open_sessions(&self) -> Vec<OpenSession> {
        self.open_sessions()
    }

    fn target(&self) -> &str {
        self.target()
    }

    fn met(&self, verdict: Verdict) {
        self.met(verdict);
    }
}

fn share<DB>(engine: &Engine<DB>, lease: Lease<DB>) -> Arc<Shared>
where
    DB: OrmBackend,
    Lease<DB>: ErasedLease,
{
    let place = lease.place();
    Arc::new(Shared {
        engine: Arc::new(engine.clone()),
        place,
        dropped: Mutex::default(),
        lease: tokio::sync::Mutex::new(lease),
    })
}

impl<DB> ErasedLease for Lease<DB>
where
    DB: OrmBackend,
    SqlxValues: IntoArguments<DB>,
    ExecResult: From<DB::QueryResult>,
    QueryResult: From<DB::Row>,
{
    fn execute(&mut self, statement: Statement) -> BoxFuture<'_, Result<ExecResult, sqlx::Error>> {
        let done = self.fetch_many(query(statement)).try_filter_map(result_of);
        Box::pin(async move { Ok(done.try_collect::<DB::QueryResult>().await?.into()) })
    }

    fn execute_unprepared(&mut self, sql: String) -> BoxFuture<'_, Result<ExecResult, sqlx::Error>> {
        let done = self.fetch_many(Query::of(AssertSqlSafe(sql))).try_filter_map(result_of);
        Box::pin(async move { Ok(done.try_collect::<DB::QueryResult>().await?.into()) })
    }

    fn query_one(&mut self, statement: Statement) -> BoxFuture<'_, Result<Option<QueryResult>, sqlx::Error>> {
        let row = self.fetch_optional(query(statement));
        Box::pin(async move { Ok(row.await?.map(QueryResult::from)) })
    }

    fn query_all(&mut self, statement: Statement) -> BoxFuture<'_, Result<Vec<QueryResult>, sqlx::Error>> {
        let mut items = self.fetch_many(query(statement));
        Box::pin(async move {
            let mut rows = Vec::new();
            while let Some(item) = items.try_next().await? {
                if let Either::Right(row) = item {
                    rows.push(row.into());
                }
            }
            Ok(rows)
        })
    }

    fn begin(&mut self, begin: Option<Begin>) -> BoxFuture<'_, Result<LevelId, Error>> {
        Box::pin(async move {
            self.begin_transaction(begin.into()).await?;
            self.levels().last().copied().ok_or_else(ended)
        })
    }

    fn is_open(&self, level: LevelId) -> bool {
        self.levels().contains(&level)
    }

    fn beginning_of(&self, level: LevelId) -> Option<Beginning> {
        (self.levels().first() == Some(&level)).then(|| self.beginning().clone())
    }

    fn commit(&mut self, level: LevelId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let level = depth(self, level).ok_or_else(ended)?;
            self.commit(level).await.map_err(|error| Error::statement("commit a transaction", error))
        })
    }

    fn roll_back(&mut self, level: LevelId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let Some(level) = depth(self, level) else { return Ok(()) };
            self.roll_back(level).await.map_err(|error| Error::statement("roll a transaction back", error))
        })
    }

    fn roll_back_later(&mut self, level: LevelId) -> bool {
        depth(self, level).is_none_or(|level| self.roll_back_later(level))
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.flush().await.map_err(|error| Error::statement("roll a transaction back", error)) })
    }

    fn connection_id(&self) -> Option<u64> {
        self.id()
    }

    fn label(&self, label: Label) {
        self.label(label);
    }
}

/// Where a transaction is among those that are open, 1 for the outermost.
fn depth<DB: Backend>(lease: &Lease<DB>, level: LevelId) -> Option<usize> {
    lease.levels().iter().position(|open| *open == level).map(|outer| outer + 1)
}

async fn result_of<R, T>(item: Either<R, T>) -> Result<Option<R>, sqlx::Error> {
    Ok(item.left())
}

/// The text, which SeaORM has built and which holds no value, and the values.
fn query<DB>(statement: Statement) -> Query<DB>
where
    DB: sqlx::Database,
    SqlxValues: IntoArguments<DB>,
{
    let values = statement.values.unwrap_or_else(|| sea_orm::Values(Vec::new()));
    Query::of(sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values)))
}
