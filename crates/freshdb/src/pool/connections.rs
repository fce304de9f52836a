//! Connections: made, kept, and handed out.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::{Either, join_all, select};
use sqlx::Connection as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use super::closing::{REPORT, close, close_connection};
use crate::conduct::{Last, LastStatement};
use crate::counters::Counters;
use crate::dialect::{Backend, ConnectOptions, Lifetime};
use crate::error::{Error, Wanted};
use crate::lease::{Lease, Live, prove, timed_out};
use crate::options::Settings;
use crate::registry::{OpenSession, Place, Registry, Use, seconds};
use crate::runtime::{Home, within};
#[cfg(feature = "test")]
use crate::test::reuse::Reuse;
use crate::vigilance::Vigilance;

pub(crate) struct Pool<DB: Backend> {
    pub(crate) settings: Settings,
    options: ConnectOptions<DB>,
    /// What is tried before them.
    #[cfg(feature = "test")]
    plain: Option<ConnectOptions<DB>>,
    pub(super) lifetime: Lifetime,
    /// Where the connections' sockets live, and the engine's own work is done.
    pub(super) home: Home,
    pub(super) slots: Arc<Semaphore>,
    pub(super) writers: Option<Arc<Semaphore>>,
    pub(super) idle: Mutex<Idle<DB>>,
    /// Keeps a database in memory alive while its connections come and go.
    pub(super) anchor: tokio::sync::Mutex<Option<DB::Connection>>,
    /// The connection over which the server is told to end sessions; one more than the limit.
    pub(super) control: tokio::sync::Mutex<Option<(DB::Connection, Instant)>>,
    /// Somebody has freed a slot.
    pub(super) freed: Notify,
    /// A connection is idle, for one who cannot have a new one.
    pub(super) returned: Notify,
    /// Held by the engine's regular work, and dropped with it when the runtime ends.
    pub(super) reaper: OnceLock<Weak<()>>,
    /// Tells that work that there is none any more: the engine is closed, or dropped. It may run on a runtime of the user's, who is
    /// told of tasks that outlive a test.
    pub(super) ended: Arc<Notify>,
    pub(crate) sessions: Registry,
    pub(crate) vigilance: Vigilance,
    pub(crate) counters: Counters,
}

/// The connections that wait for work, the one used last at the end.
pub(super) struct Idle<DB: Backend> {
    pub(super) connections: Vec<Live<DB>>,
    /// Those that were born up to then are not kept: they lead to a server that takes no writes.
    pub(super) retired: Option<Instant>,
    pub(super) closed: bool,
}

/// The right to have a connection. Dropped, the next in the queue has it.
pub(crate) struct Slot<DB: Backend> {
    pool: Arc<Pool<DB>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<DB: Backend> Slot<DB> {
    pub(crate) fn pool(&self) -> &Arc<Pool<DB>> {
        &self.pool
    }
}

impl<DB: Backend> Drop for Slot<DB> {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.pool.freed.notify_waiters();
    }
}

/// Tells, when it is dropped, that a slot may be free.
struct Freed<'p>(&'p Notify);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// A connection by options that a server may refuse. Why it does is found out by what is tried next.
#[cfg(feature = "test")]
pub(crate) async fn open_plain<DB: Backend>(options: Option<&ConnectOptions<DB>>) -> Option<DB::Connection> {
    DB::Connection::connect_with(options?).await.ok()
}

/// How long a connection that was idle may take to prove itself.
const PROOF_OF_IDLE: Duration = Duration::from_secs(1);

/// How long one waits for a connection to come back until a full server is asked for another one again.
const SHORTEST_PAUSE_WHILE_FULL: Duration = Duration::from_millis(50);
const LONGEST_PAUSE_WHILE_FULL: Duration = Duration::from_secs(1);

/// How long a file that somebody else has for himself is tried again: as long as the driver has SQLite wait where that waits by
/// itself, and has then failed for good.
const LONGEST_WHILE_BUSY: Duration = Duration::from_secs(5);

const SHORTEST_PAUSE_WHILE_BUSY: Duration = Duration::from_millis(1);
const LONGEST_PAUSE_WHILE_BUSY: Duration = Duration::from_millis(50);

/// How often all connections are made anew because one may not write.
const BETWEEN_RETIREMENTS: Duration = Duration::from_secs(1);

/// A control connection that nobody needed for so long is closed.
const CONTROL_IDLE: Duration = Duration::from_secs(30);

impl<DB: Backend> Pool<DB> {
    pub(crate) fn new(options: ConnectOptions<DB>, mut settings: Settings, home: Home) -> Arc<Self> {
        let (options, lifetime) = DB::adapt(options);
        if lifetime == Lifetime::OfItsConnections {
            // Connections to one database in memory get in each other's way as no two processes would on a file.
            settings.max_connections = 1;
        }
        let slots = Arc::new(Semaphore::new(settings.max_connections as usize));
        let pool = Arc::new(Self {
            #[cfg(feature = "test")]
            plain: if settings.plain { DB::plain(&options) } else { None },
            settings,
            options,
            lifetime,
            home,
            slots,
            writers: DB::WRITERS.map(|count| Arc::new(Semaphore::new(count))),
            idle: Mutex::new(Idle { connections: Vec::new(), retired: None, closed: false }),
            anchor: tokio::sync::Mutex::new(None),
            control: tokio::sync::Mutex::new(None),
            freed: Notify::new(),
            returned: Notify::new(),
            reaper: OnceLock::new(),
            ended: Arc::new(Notify::new()),
            sessions: Registry::default(),
            vigilance: Vigilance::new(),
            counters: Counters::default(),
        });
        #[cfg(feature = "test")]
        crate::test::census::enter(&pool);
        pool
    }

    /// Connections at this moment: those that wait for work, and the slots that are taken.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let taken = self.settings.max_connections as usize - self.slots.available_permits();
        (self.idle().connections.len(), taken)
    }

    /// Does work where the engine's own work is done. Where that runtime is gone, so is what was to be done: the work is
    /// dropped, and with it the connection.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.home.spawn(work);
    }

    pub(crate) async fn acquire(self: &Arc<Self>, place: Place) -> Result<Lease<DB>, Error> {
        #[cfg(feature = "test")]
        crate::test::guard::admit(&self.settings.target, place)?;
        let started = Instant::now();
        let slot = self.slot(started).await?;
        self.lease(slot, started, place).await
    }

    /// As [`Self::acquire`], with the right to write, where the engine limits that.
    pub(crate) async fn acquire_to_write(self: &Arc<Self>, place: Place) -> Result<Lease<DB>, Error> {
        #[cfg(feature = "test")]
        crate::test::guard::admit(&self.settings.target, place)?;
        // Of all waits together.
        let started = Instant::now();
        // Before the connection: who waits for the right to write must not keep readers from theirs.
        let mut writer = self.writer(started).await?;
        let slot = if let Some(slot) = self.free_slot()? {
            slot
        } else {
            // Who has a connection may be waiting for the right to write, and must not wait for whoever waits for that connection.
            drop(writer);
            let slot = self.slot(started).await?;
            writer = self.writer(started).await?;
            slot
        };
        let mut lease = self.lease(slot, started, place).await?;
        lease.keep_writer(writer);
        Ok(lease)
    }

    async fn lease(self: &Arc<Self>, slot: Slot<DB>, started: Instant, place: Place) -> Result<Lease<DB>, Error> {
        let lease = self.lease_of(slot, started, place).await?;
        // Closing may have begun meanwhile, and ended in vain: the report did not name this session, nor will another.
        if self.slots.is_closed() { Err(Error::closed(&self.settings.target)) } else { Ok(lease) }
    }

    /// As [`Self::lease_once`]; where the server is full, one that comes back will do.
    async fn lease_of(
        self: &Arc<Self>,
        mut slot: Slot<DB>,
        started: Instant,
        place: Place,
    ) -> Result<Lease<DB>, Error> {
        let mut pause = SHORTEST_PAUSE_WHILE_FULL;
        let mut full = None;
        loop {
            let error = match self.lease_once(slot, started, place).await {
                Err(error) if error.driver_error().is_some_and(DB::is_full) => error,
                // There was no time left to be refused once more.
                Err(error) => return Err(full.filter(|_| self.rest(started).is_zero()).unwrap_or(error)),
                leased => return leased,
            };
            let (idle, taken) = self.counts();
            if self.rest(started).is_zero() || idle + taken == 0 {
                return Err(error);
            }
            full = Some(error);
            // The server may have a place again without any of ours having come back.
            within(pause.min(self.rest(started)), self.returned.notified()).await;
            pause = (2 * pause).min(LONGEST_PAUSE_WHILE_FULL);
            slot = self.slot(started).await?;
        }
    }

    async fn lease_once(self: &Arc<Self>, slot: Slot<DB>, started: Instant, place: Place) -> Result<Lease<DB>, Error> {
        // What is idle is dead then, and may have been in use too short a while ago to be asked.
        if self.reaper.get().is_some_and(|reaper| reaper.strong_count() == 0) {
            // Unless it was closed since the slot was taken.
            let gone = if self.slots.is_closed() { Error::closed } else { Error::runtime_gone };
            return Err(gone(&self.settings.target));
        }
        while let Some(mut live) = self.next_idle() {
            if live.born.elapsed() > self.settings.max_lifetime {
                self.spawn(close(live));
                continue;
            }
            if !self.vigilance.doubts(live.idle_since.elapsed()) {
                return Ok(Lease::new(live, slot, place));
            }
            match within(PROOF_OF_IDLE, prove::<DB>(&mut live.connection)).await {
                Some(true) => return Ok(Lease::new(live, slot, place)),
                Some(false) => self.vigilance.lost_one(),
                None => {
                    // A network that says nothing says nothing to the others either.
                    self.vigilance.lost_one();
                    drop(std::mem::take(&mut self.idle().connections));
                }
            }
        }
        #[cfg(feature = "test")]
        while let Some(mut live) = self.settings.reuse.as_ref().and_then(Reuse::take) {
            // What became of it between two tests is not known: whoever ends sessions may have ended this one.
            if within(PROOF_OF_IDLE, prove::<DB>(&mut live.connection)).await == Some(true) {
                self.sessions.note_own(live.id);
                self.reap();
                return Ok(Lease::new(live, slot, place));
            }
        }
        let (live, slot) = self.connect_elsewhere(slot, started).await?;
        Ok(Lease::new(live, slot, place))
    }

    /// Waits for the right to write, where the engine limits that.
    pub(crate) async fn writer(&self, started: Instant) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let Some(writers) = &self.writers else { return Ok(None) };
        if let Ok(permit) = writers.clone().try_acquire_owned() {
            return Ok(Some(permit));
        }
        match within(self.rest(started), writers.clone().acquire_owned()).await {
            Some(Ok(permit)) => Ok(Some(permit)),
            Some(Err(_closed)) => Err(Error::closed(&self.settings.target)),
            None => Err(self.exhausted(started, Wanted::Writer)),
        }
    }

    /// What is left of the time that one waits.
    fn rest(&self, started: Instant) -> Duration {
        self.settings.acquire_timeout.saturating_sub(started.elapsed())
    }

    async fn slot(self: &Arc<Self>, started: Instant) -> Result<Slot<DB>, Error> {
        if let Some(slot) = self.free_slot()? {
            return Ok(slot);
        }
        // Dropped after the wait, which may give back a slot that was meant for it: because the engine is closed, or nobody waits any more.
        let _tell = Freed(&self.freed);
        match within(self.rest(started), self.slots.clone().acquire_owned()).await {
            Some(Ok(permit)) => Ok(Slot { pool: self.clone(), permit: Some(permit) }),
            Some(Err(_closed)) => Err(Error::closed(&self.settings.target)),
            None => {
                let limit = self.settings.max_connections;
                Err(self.exhausted(started, Wanted::Session { limit }))
            }
        }
    }

    /// A slot, if one is free at once.
    fn free_slot(self: &Arc<Self>) -> Result<Option<Slot<DB>>, Error> {
        match self.slots.clone().try_acquire_owned() {
            Ok(permit) => Ok(Some(Slot { pool: self.clone(), permit: Some(permit) })),
            Err(TryAcquireError::Closed) => Err(Error::closed(&self.settings.target)),
            Err(TryAcquireError::NoPermits) => Ok(None),
        }
    }

    fn exhausted(&self, started: Instant, wanted: Wanted) -> Error {
        self.counters.exhausted();
        let mut holders: Vec<OpenSession> = self.sessions.list().iter().map(OpenSession::of).collect();
        if wanted == Wanted::Writer {
            holders.retain(|holder| holder.used_for() == Use::Transaction);
        }
        Error::exhausted(&self.settings.target, started.elapsed(), wanted, holders)
    }

    /// Connects in a task of the engine's. A caller who gives up leaves the connection to the next.
    async fn connect_elsewhere(
        self: &Arc<Self>,
        slot: Slot<DB>,
        started: Instant,
    ) -> Result<(Live<DB>, Slot<DB>), Error> {
        let waited = started.elapsed();
        let limit = self.rest(started);
        let (sender, receiver) = oneshot::channel();
        let pool = self.clone();
        self.spawn(async move {
            let connected = within(limit, pool.connect(limit)).await;
            let connected = connected.unwrap_or_else(|| Err(out_of_time(limit, waited)));
            match sender.send(connected.map(|live| (live, slot))) {
                Ok(()) | Err(Err(_)) => {}
                Err(Ok((live, slot))) => pool.put_back(live, slot),
            }
        });
        // The task has its own limit; this one is for a runtime that nobody drives.
        match within(limit.saturating_add(REPORT), receiver).await {
            Some(Ok(Ok(connected))) => Ok(connected),
            Some(Ok(Err(error))) => {
                // That somebody was late says nothing of the server.
                if waited <= limit || !is_out_of_time(&error) {
                    self.counters.lost();
                    // Nor does a full one say that connections are dead.
                    if !DB::is_full(&error) {
                        self.vigilance.lost_one();
                    }
                }
                Err(Error::connect(&self.settings.target, error))
            }
            Some(Err(_dropped)) => Err(Error::runtime_gone(&self.settings.target)),
            None => Err(Error::connect(&self.settings.target, out_of_time(limit, waited))),
        }
    }

    async fn connect(self: &Arc<Self>, limit: Duration) -> Result<Live<DB>, sqlx::Error> {
        let (started, limit) = (Instant::now(), limit.min(LONGEST_WHILE_BUSY));
        let mut pause = SHORTEST_PAUSE_WHILE_BUSY;
        loop {
            match undisturbed::<DB, _, _>(|| self.try_to_connect()).await {
                Err(error) if DB::is_busy(&error) && started.elapsed() + pause < limit => {
                    tracing::debug!(%error, "connecting again");
                }
                result => return result,
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE_WHILE_BUSY);
        }
    }

    /// A connection of which nothing else is known.
    pub(super) async fn open(&self) -> Result<DB::Connection, sqlx::Error> {
        #[cfg(feature = "test")]
        if let Some(connection) = open_plain::<DB>(self.plain.as_ref()).await {
            return Ok(connection);
        }
        DB::Connection::connect_with(&self.options).await
    }

    async fn try_to_connect(self: &Arc<Self>) -> Result<Live<DB>, sqlx::Error> {
        if self.lifetime == Lifetime::OfItsConnections {
            let mut anchor = self.anchor.lock().await;
            if anchor.is_none() {
                *anchor = Some(self.open().await?);
            }
        }
        let mut connection = self.open().await?;
        let birth = DB::settle(&mut connection, &self.settings.statements).await?;
        #[cfg(feature = "test")]
        self.sessions.note_own(birth.id);
        self.reap();
        let now = Instant::now();
        Ok(Live {
            connection,
            id: birth.id,
            interrupt: birth.interrupt,
            signs: birth.signs,
            born: now,
            idle_since: now,
            last: Last::default(),
            #[cfg(feature = "test")]
            is_plain: true,
            #[cfg(feature = "test")]
            is_reused: false,
        })
    }

    /// Has the engine's regular work done from now on.
    fn reap(self: &Arc<Self>) {
        self.reaper.get_or_init(|| {
            let period = (self.settings.idle_timeout / 2).clamp(Duration::from_secs(1), Duration::from_secs(30));
            let alive = Arc::new(());
            let reaper = Arc::downgrade(&alive);
            self.spawn(reap_regularly(Arc::downgrade(self), self.ended.clone(), period, alive));
            reaper
        });
    }

    /// Keeps a connection for the next, whose turn it is then.
    pub(crate) fn put_back(&self, mut live: Live<DB>, slot: Slot<DB>) {
        live.idle_since = Instant::now();
        live.last.set(LastStatement::None);
        let mut idle = self.idle();
        if idle.closed || idle.retired.is_some_and(|retired| live.born <= retired) {
            drop(idle);
            // The slot is taken until the server has let go as well.
            self.spawn(async move {
                close(live).await;
                drop(slot);
            });
        } else {
            idle.connections.push(live);
            drop(idle);
            drop(slot);
            self.returned.notify_one();
        }
    }

    /// Keeps none of the connections that there are: closes those that are idle, and the others when they come back. Not if that was
    /// done a moment ago, for the sake of those who read from a server that takes no writes for longer.
    pub(crate) fn retire(&self) {
        let mut idle = self.idle();
        if idle.retired.is_some_and(|retired| retired.elapsed() < BETWEEN_RETIREMENTS) {
            return;
        }
        idle.retired = Some(Instant::now());
        let retired = std::mem::take(&mut idle.connections);
        drop(idle);
        self.spawn(async move { drop(join_all(retired.into_iter().map(close)).await) });
    }

    fn next_idle(&self) -> Option<Live<DB>> {
        self.idle().connections.pop()
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, Idle<DB>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what has been idle for too long, or has lived for too long.
    fn take_expired(&self) -> Vec<Live<DB>> {
        let Settings { idle_timeout, max_lifetime, .. } = self.settings;
        let expired =
            |live: &mut Live<DB>| live.idle_since.elapsed() > idle_timeout || live.born.elapsed() > max_lifetime;
        self.idle().connections.extract_if(.., expired).collect()
    }
}

/// The error of a connection that was not made in the time that a wait for a place had left.
fn out_of_time(limit: Duration, waited: Duration) -> sqlx::Error {
    match timed_out(limit) {
        sqlx::Error::Io(error) if waited > REPORT => {
            let message = format!("{error}, after {} of waiting for a place", seconds(waited));
            sqlx::Error::Io(io::Error::new(error.kind(), message))
        }
        error => error,
    }
}

fn is_out_of_time(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// How long a server may be silent until another connection is tried besides, where that is known to help.
const SILENCE: Duration = Duration::from_secs(5);

/// Connects once more, and once more again, when it was not this connection that the server had trouble with.
pub(super) async fn undisturbed<DB: Backend, T, F>(attempt: impl Fn() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    for _ in 0..2 {
        match one_or_another::<DB, T, F>(&attempt).await {
            Err(error) if DB::is_disturbed(&error) => tracing::debug!(%error, "connecting again"),
            result => return result,
        }
    }
    attempt().await
}

async fn one_or_another<DB: Backend, T, F>(attempt: &impl Fn() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let mut one = pin!(attempt());
    if !DB::MAY_BE_SILENT {
        return one.await;
    }
    if let Some(result) = within(SILENCE, one.as_mut()).await {
        return result;
    }
    match select(one, pin!(attempt())).await {
        Either::Left((Ok(connection), _)) | Either::Right((Ok(connection), _)) => Ok(connection),
        Either::Left((Err(_), other)) | Either::Right((Err(_), other)) => other.await,
    }
}

async fn reap_regularly<DB: Backend>(pool: Weak<Pool<DB>>, ended: Arc<Notify>, period: Duration, _alive: Arc<()>) {
    while within(period, ended.notified()).await.is_none() {
        let Some(pool) = pool.upgrade() else { return };
        join_all(pool.take_expired().into_iter().map(close)).await;
        let mut control = pool.control.lock().await;
        if let Some((connection, _)) = control.take_if(|(_, used)| used.elapsed() > CONTROL_IDLE) {
            drop(control);
            close_connection::<DB>(connection).await;
        }
    }
}

impl<DB: Backend> fmt::Debug for Pool<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, taken) = self.counts();
        formatter
            .debug_struct("Pool")
            .field("target", &self.settings.target)
            .field("idle", &idle)
            .field("taken", &taken)
            .field("limit", &self.settings.max_connections)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "test", feature = "sqlite"))]
mod tests {
    use sqlx::Sqlite;

    use super::*;

    #[tokio::test]
    async fn what_is_refused_is_no_error_yet() {
        let refused: ConnectOptions<Sqlite> = "sqlite:///there/is/no.db".parse().expect("options");
        assert!(open_plain::<Sqlite>(Some(&refused)).await.is_none());
        assert!(open_plain::<Sqlite>(None).await.is_none());
        let taken: ConnectOptions<Sqlite> = "sqlite::memory:".parse().expect("options");
        assert!(open_plain::<Sqlite>(Some(&taken)).await.is_some());
    }
}
