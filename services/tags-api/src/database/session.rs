//! Reads and transactions.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use sea_orm::{DatabaseConnection, DbBackend, Statement};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use super::dialect::{self, Dialect, Pool};
use super::error::{Error, OpenError, Verdict, judge};
use super::open::{Options, Vigilance};
use super::statements::{Fault, OpenTransaction, Row};
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
    /// After so long, work with the driver is given up.
    patience: Duration,
    vigilance: Vigilance,
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

/// The server ends what is over its limits; this is what it takes to say so.
const PATIENCE_BEYOND_LIMITS: Duration = Duration::from_secs(5);

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
        let vigilance = Vigilance::new();
        let opened = dialect.open(&url, options, &vigilance).await?;
        Ok(Self(Arc::new(Inner {
            url,
            server: opened.server,
            dialect,
            connection: opened.pool.connection(),
            pool: opened.pool,
            pool_size: options.pool_size,
            pool_wait: options.pool_wait,
            patience: options.pool_wait + options.statement_timeout + PATIENCE_BEYOND_LIMITS,
            vigilance,
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
        let database = self.clone();
        self.attend(None, async move { database.persevere(|| database.0.pool.ping()).await }).await
    }

    /// The backend that SeaORM builds statements for.
    pub fn backend(&self) -> DbBackend {
        self.0.connection.get_database_backend()
    }

    /// The rows that a statement gives, on a connection of its own. Where the connection turns out dead, the statement is
    /// executed again on another: it only reads.
    ///
    /// # Errors
    ///
    /// If the database does not answer or refuses the statement.
    ///
    /// # Cancellation
    ///
    /// Safe: the statement is finished without anyone who waits for it.
    pub async fn fetch<R: Row>(&self, statement: Statement) -> Result<Vec<R>, Error> {
        let database = self.clone();
        let fetching = async move { database.persevere(|| database.0.pool.fetch(&statement)).await };
        // In a box before it is passed on: it is as large as the largest driver's, and each step would copy it.
        self.attend(None, Box::pin(fetching)).await
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
    /// Safe: the statement that is under way is finished, and then the transaction is rolled back, unless it was the
    /// commit.
    pub async fn write<T, Work>(&self, work: impl Fn(Transaction) -> Work + Send + Sync + 'static) -> Result<T, Error>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, sqlx::Error>> + Send,
    {
        let interest = Arc::new(());
        let (database, awaited) = (self.clone(), Arc::downgrade(&interest));
        // In a box, for the same reason as above.
        let writing = Box::pin(async move {
            // Outside of the attempts: whoever runs again keeps the place in the queue.
            let _writer = database.writer().await?;
            let (database, work) = (&database, &work);
            let attempt = || async {
                let open = database.0.pool.begin().await?;
                Ok(work(Transaction { open, awaited: awaited.clone() }).await?)
            };
            database.persevere(attempt).await
        });
        self.attend(Some(interest), writing).await
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

    /// Runs work with the driver to its end, even if the caller is dropped half-way: see [`Attended`].
    ///
    /// Work that outlasts every limit of the server's is on a connection that is dead and does not know it. Then it is
    /// dropped, and for a while no connection returns to the pool that has not proved itself.
    async fn attend<T>(
        &self,
        interest: Option<Arc<()>>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
    {
        let (database, limit) = (self.clone(), self.0.patience);
        let bounded = async move {
            {
                let work = pin!(work);
                if let Ok(result) = tokio::time::timeout(limit, work).await {
                    return result;
                }
                // Before the work is dropped, and its connection goes where connections are put to the proof.
                database.0.vigilance.lost_one();
            }
            database.0.counters.losses.inc();
            Err(Error::Silent { waited: limit })
        };
        Attended { work: Some(Box::pin(bounded.in_current_span())), interest }.await
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
        Attempt: Future<Output = Result<T, Fault>>,
    {
        let mut attempts = 1;
        loop {
            let fault = match attempt().await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            match judge(self.0.dialect, &fault) {
                Verdict::Conflict if attempts < ATTEMPTS => {
                    self.0.counters.conflicts.inc();
                    tracing::debug!(?fault, attempts, "running a transaction again");
                    tokio::time::sleep(pause(attempts)).await;
                }
                Verdict::Lost if attempts < ATTEMPTS_ON_LOSS => {
                    self.0.counters.losses.inc();
                    self.0.vigilance.lost_one();
                    tracing::debug!(?fault, attempts, "a connection was lost");
                }
                _ => return Err(self.failure(fault, attempts)),
            }
            attempts += 1;
        }
    }

    fn failure(&self, fault: Fault, attempts: u32) -> Error {
        let verdict = judge(self.0.dialect, &fault);
        let (Fault::Connect(error) | Fault::Execute(error)) = fault;
        match verdict {
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
                self.0.vigilance.lost_one();
                Error::Unavailable(error)
            }
            Verdict::Conflict => Error::Conflict { attempts, source: error },
            Verdict::Overtime => Error::Overtime(error),
            Verdict::Other => Error::Refused(error),
        }
    }
}

/// Work with the driver that nobody drops half-way: dropped, it goes on in a task of its own.
///
/// Half-way, a connection owes answers. The drivers keep count of most of them; but MySQL's loses count while a statement
/// is prepared, and every driver between BEGIN and its answer: the connection goes back to the pool, and the next request
/// reads another's rows, or writes into a transaction that nobody commits.
struct Attended<Work: Future + Send + 'static>
where
    Work::Output: Send,
{
    work: Option<Pin<Box<Work>>>,
    /// That somebody waits, which the work may ask.
    interest: Option<Arc<()>>,
}

impl<Work: Future + Send + 'static> Future for Attended<Work>
where
    Work::Output: Send,
{
    type Output = Work::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Work::Output> {
        // Out of its place while it is polled: work that panics is dropped, and not taken up again.
        let mut work = self.work.take().expect("a future is not polled after its end");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<Work: Future + Send + 'static> Drop for Attended<Work>
where
    Work::Output: Send,
{
    fn drop(&mut self) {
        // First: what goes on must know that nobody waits.
        self.interest = None;
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// A transaction that somebody waits for. Dropped, it is rolled back.
pub struct Transaction {
    open: OpenTransaction,
    /// Upgrades as long as the caller waits.
    awaited: Weak<()>,
}

impl Transaction {
    /// Executes a statement, and says how many rows it affected.
    ///
    /// # Errors
    ///
    /// If the database refuses it; the transaction is then good for nothing but to be dropped.
    pub async fn execute(&mut self, statement: &Statement) -> Result<u64, sqlx::Error> {
        self.open.execute(statement).await
    }

    /// Commits, if somebody still waits for that: a client that was told its request took too long, or that has gone away,
    /// must not find later that it was carried out.
    ///
    /// # Errors
    ///
    /// If the database refuses, or nobody waits.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        if self.awaited.strong_count() == 0 {
            self.open.rollback().await?;
            return Err(sqlx::Error::AnyDriverError("nobody waits for this transaction any more".into()));
        }
        self.open.commit().await
    }
}

/// How long to wait before the next attempt: random, so that those who met do not meet again, and longer each time.
fn pause(attempts: u32) -> Duration {
    let most = 1 << attempts.min(7);
    Duration::from_micros(fastrand::u64(200..=1000 * most))
}
