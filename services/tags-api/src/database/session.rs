//! Reads and transactions.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dialect::{self, Dialect, Pool};
use super::error::{Error, OpenError, Verdict, judge};
use super::open::{Freshness, Options};
use super::url::DatabaseUrl;

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: DatabaseUrl,
    server: String,
    dialect: &'static dyn Dialect,
    pool: Pool,
    connection: DatabaseConnection,
    pool_size: u32,
    pool_wait: Duration,
    freshness: Freshness,
    /// One permit for each transaction that the engine lets write at once. The queue here is fair, and wakes the next
    /// writer at once; SQLite's own is a poll in which the unlucky starve.
    writers: Option<Arc<Semaphore>>,
    counters: Counters,
}

/// What happened since the database was opened.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Transactions that were run again because they lost against others.
    pub conflicts: Counter,
    /// Attempts that met a dead connection, or none.
    pub losses: Counter,
    /// Requests that found no free connection in time.
    pub exhaustions: Counter,
}

/// The pool, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that wait for work.
    pub idle: u32,
    /// Connections in use.
    pub in_use: u32,
    /// Connections there may be.
    pub limit: u32,
}

/// How often a transaction is run that loses against others.
const ATTEMPTS: u32 = 12;

/// How often work is run whose connection turns out dead. All after the first ask the connection before they use it.
const ATTEMPTS_ON_LOSS: u32 = 3;

impl Database {
    /// Opens a database and asks it for its version.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, refuses the user or does not exist, in one sentence.
    pub async fn open(url: DatabaseUrl, options: &Options) -> Result<Self, OpenError> {
        let dialect = dialect::of(&url);
        let freshness = Freshness::new();
        let opened = dialect.open(&url, options, &freshness).await?;
        Ok(Self(Arc::new(Inner {
            url,
            server: opened.server,
            dialect,
            connection: opened.pool.connection(),
            pool: opened.pool,
            pool_size: options.pool_size,
            pool_wait: options.pool_wait,
            freshness,
            writers: dialect.writers().map(|count| Arc::new(Semaphore::new(count))),
            counters: Counters::default(),
        })))
    }

    /// Where it is; shown, its password is `***`.
    pub fn url(&self) -> &DatabaseUrl {
        &self.0.url
    }

    /// The server's name and version, such as `MariaDB 10.11.19`.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The pool as it is now.
    pub fn pool(&self) -> PoolState {
        let size = self.0.pool.size();
        let idle = u32::try_from(self.0.pool.idle()).unwrap_or(u32::MAX).min(size);
        PoolState { idle, in_use: size - idle, limit: self.0.pool_size }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    ///
    /// If it does not.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn ping(&self) -> Result<(), Error> {
        self.0.connection.ping().await.map_err(|error| self.failure(error, 1))
    }

    /// Runs `work`, one statement that reads, on a connection of its own. Where the connection turns out dead, it is run
    /// again on another.
    ///
    /// # Errors
    ///
    /// If the database does not answer or refuses the statement.
    ///
    /// # Cancellation
    ///
    /// Safe: the connection is returned once the server has finished the statement.
    pub async fn read<T, Work>(&self, work: impl Fn(DatabaseConnection) -> Work) -> Result<T, Error>
    where
        Work: Future<Output = Result<T, DbErr>>,
    {
        self.persevere(|| work(self.0.connection.clone())).await
    }

    /// Runs `work` in a transaction, which it commits itself: dropped, it is rolled back. Where it loses against another
    /// transaction, or the connection turns out dead, `work` is run again from the start: it must be such that twice is
    /// as good as once.
    ///
    /// # Errors
    ///
    /// If the database does not answer, refuses a statement, or others won each time. Nothing is stored then, unless the
    /// connection was lost while the commit was under way.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped before the commit was sent, nothing is stored, and the connection is returned outside of any
    /// transaction.
    pub async fn write<T, Work>(&self, work: impl Fn(DatabaseTransaction) -> Work) -> Result<T, Error>
    where
        Work: Future<Output = Result<T, DbErr>>,
    {
        // Outside of the attempts: whoever runs again keeps the place in the queue.
        let _writer = self.writer().await?;
        let work = &work;
        self.persevere(|| async move { work(self.begin().await?).await }).await
    }

    /// Closes the pool; waits for the connections in use.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    pub(super) fn dialect(&self) -> &'static dyn Dialect {
        self.0.dialect
    }

    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.0.connection
    }

    /// Begins a transaction, in a task of its own: a `begin` that is dropped between sending BEGIN and the answer would
    /// return its connection to the pool inside the transaction, for the next request to write into. The task ends with
    /// a transaction in hand, and rolls it back if nobody waits for it any more.
    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let database = self.clone();
        let begin = async move {
            let options = database.0.dialect.transaction();
            database.0.connection.begin_with_options(options).await
        };
        tokio::spawn(begin).await.unwrap_or_else(|panic| Err(DbErr::Custom(panic.to_string())))
    }

    async fn writer(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let Some(writers) = &self.0.writers else { return Ok(None) };
        match tokio::time::timeout(self.0.pool_wait, writers.clone().acquire_owned()).await {
            Ok(permit) => Ok(permit.ok()),
            Err(_elapsed) => {
                self.0.counters.exhaustions.inc();
                Err(Error::Exhausted { waited: self.0.pool_wait })
            }
        }
    }

    async fn persevere<T, Attempt>(&self, attempt: impl Fn() -> Attempt) -> Result<T, Error>
    where
        Attempt: Future<Output = Result<T, DbErr>>,
    {
        let mut attempts = 1;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match judge(self.0.dialect, &error) {
                Verdict::Conflict if attempts < ATTEMPTS => {
                    self.0.counters.conflicts.inc();
                    tracing::debug!(%error, attempts, "running a transaction again");
                    tokio::time::sleep(pause(attempts)).await;
                }
                Verdict::Lost if attempts < ATTEMPTS_ON_LOSS => {
                    self.0.counters.losses.inc();
                    self.0.freshness.lost_one();
                    tracing::debug!(%error, attempts, "a connection was lost");
                }
                _ => return Err(self.failure(error, attempts)),
            }
            attempts += 1;
        }
    }

    fn failure(&self, error: DbErr, attempts: u32) -> Error {
        match judge(self.0.dialect, &error) {
            // A pool that is not full and yet has no connection to give cannot make one.
            Verdict::Exhausted if self.0.pool.size() < self.0.pool_size => {
                self.0.counters.losses.inc();
                Error::Unavailable(error)
            }
            Verdict::Exhausted => {
                self.0.counters.exhaustions.inc();
                Error::Exhausted { waited: self.0.pool_wait }
            }
            Verdict::Lost => {
                self.0.counters.losses.inc();
                self.0.freshness.lost_one();
                Error::Unavailable(error)
            }
            Verdict::Conflict => Error::Conflict { attempts, source: error },
            Verdict::Other => Error::Refused(error),
        }
    }
}

/// How long to wait before the next attempt: random, so that those who met do not meet again, and longer each time.
fn pause(attempts: u32) -> Duration {
    let most = 1 << attempts.min(7);
    Duration::from_micros(fastrand::u64(200..=1000 * most))
}
