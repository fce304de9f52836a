//! A connection that is checked out: what it takes with it, and how it comes back.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "test")]
use sqlx::SqlStr;
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::conduct::{Conduct, Last, LastStatement, LevelId, OpenTransaction, Signs, Undone, Watch};
use crate::dialect::{Backend, Interrupt};
use crate::engine::Beginning;
use crate::pool::{Pool, Slot, close};
use crate::registry::{Label, Place, Use};
use crate::runtime::within;
use crate::verdict::Verdict;
use crate::words::words;

/// A connection that lives, and what is known of it.
pub(crate) struct Live<DB: Backend> {
    pub(crate) connection: DB::Connection,
    pub(crate) id: Option<u64>,
    pub(crate) interrupt: Option<Interrupt>,
    pub(crate) signs: Signs,
    pub(crate) born: Instant,
    pub(crate) idle_since: Instant,
    pub(crate) last: Last,
    /// Whether all that was ever executed on it only read and wrote rows, and named no variable.
    #[cfg(feature = "test")]
    pub(crate) is_plain: bool,
    /// Whether it comes from an earlier test.
    #[cfg(feature = "test")]
    pub(crate) is_reused: bool,
}

/// A connection that is checked out. Dropped, it comes back, or is discarded: the engine sees to that.
pub(crate) struct Lease<DB: Backend> {
    /// There until it is dropped.
    live: Option<Live<DB>>,
    slot: Option<Slot<DB>>,
    writer: Option<OwnedSemaphorePermit>,
    conduct: Conduct,
    transaction: Option<OpenTransaction>,
    /// How the transaction began, or the last one: so that another can begin alike.
    beginning: Beginning,
    /// What the next transaction or savepoint is called.
    next_level: LevelId,
    place: Place,
    key: u64,
    /// The statement of the session's own that began a transaction, until another has ended it.
    #[cfg(feature = "test")]
    begun: Option<SqlStr>,
    /// Whether a statement named a variable of the session's.
    #[cfg(feature = "test")]
    variables: bool,
}

/// How long a connection may take to prove that it is in order, when nothing can be under way on it.
const PROOF: Duration = Duration::from_secs(5);

/// And when something can: after that it is stopped.
const PROOF_WHILE_UNKNOWN: Duration = Duration::from_millis(50);

/// How long others wait for the place of a session that the server was told to end.
const CANCEL: Duration = Duration::from_secs(2);

/// And how long it may take when nobody waits for that any more.
const CANCEL_AT_ALL: Duration = Duration::from_secs(30);

impl<DB: Backend> Lease<DB> {
    pub(crate) fn new(live: Live<DB>, slot: Slot<DB>, place: Place) -> Self {
        let key = slot.pool().sessions.open(place, &live);
        let conduct = Conduct::Clean;
        Self {
            live: Some(live),
            slot: Some(slot),
            writer: None,
            conduct,
            transaction: None,
            beginning: Beginning::Default,
            next_level: LevelId::FIRST,
            place,
            key,
            #[cfg(feature = "test")]
            begun: None,
            #[cfg(feature = "test")]
            variables: false,
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<DB>> {
        self.slot.as_ref().expect("a lease has a slot").pool()
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn label(&self, label: Label) {
        self.pool().sessions.label(self.key, label);
    }

    pub(crate) fn id(&self) -> Option<u64> {
        self.live.as_ref().and_then(|live| live.id)
    }

    pub(crate) fn connection(&self) -> &DB::Connection {
        &self.live.as_ref().expect("a lease has a connection").connection
    }

    /// Lends the driver's connection, out of sight.
    pub(crate) fn lend(&mut self) -> &mut DB::Connection {
        let live = self.live.as_mut().expect("a lease has a connection");
        live.last.set(LastStatement::Unseen);
        self.conduct = self.conduct.max(Conduct::Unknown);
        &mut live.connection
    }

    /// The driver's connection, and the marks that work on it makes.
    ///
    /// # Errors
    ///
    /// If an earlier statement was dropped half-way: what the driver reads next may be the answer to that one. If the driver waits for
    /// an answer that never comes, or did not understand one. If the transaction is gone: what is executed next would be stored at once.
    pub(crate) fn watched(&mut self) -> Result<(&mut DB::Connection, Watch<'_>), sqlx::Error> {
        if let Some((Undone::Gone, cause)) = self.undone() {
            return Err(crate::Error::aborted(cause.clone()).into());
        }
        self.watched_anyway()
    }

    fn watched_anyway(&mut self) -> Result<(&mut DB::Connection, Watch<'_>), sqlx::Error> {
        match self.conduct {
            Conduct::Cut => return Err(crate::Error::cut_off(self.place).into()),
            Conduct::Confused => return Err(crate::Error::confused(self.place).into()),
            Conduct::Garbled => return Err(crate::Error::garbled(self.place).into()),
            _ => {}
        }
        let target = &self.slot.as_ref().expect("a lease has a slot").pool().settings.target;
        let live = self.live.as_mut().expect("a lease has a connection");
        // Nothing else tells a database without a server that the engine was closed over this session.
        if live.interrupt.as_ref().is_some_and(Interrupt::is_set) {
            return Err(crate::Error::closed(target).into());
        }
        let watch = Watch {
            #[cfg(feature = "test")]
            syntax: DB::SYNTAX,
            conduct: &mut self.conduct,
            transaction: &mut self.transaction,
            last: &live.last,
            signs: &live.signs,
            #[cfg(feature = "test")]
            begun: &mut self.begun,
            #[cfg(feature = "test")]
            crossing: None,
            #[cfg(feature = "test")]
            variables: &mut self.variables,
        };
        Ok((&mut live.connection, watch))
    }

    /// Keeps the right to write until the transaction is over, on the server too.
    pub(crate) fn keep_writer(&mut self, writer: Option<OwnedSemaphorePermit>) {
        self.writer = writer;
    }

    pub(crate) fn has_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// Begins a transaction, and a savepoint, which all begin alike, inside of one. Gives its level, 1 for the outermost.
    pub(crate) async fn begin(&mut self, beginning: Beginning) -> Result<usize, sqlx::Error> {
        let begun = self.begin_another(beginning).await;
        if let Err(error) = &begun {
            self.note_refused(error);
            // A session may outlive a transaction that did not begin, and does without what was meant for that.
            self.note_end();
        }
        begun
    }

    /// A driver may roll back what is around a savepoint that it could not set, as PostgreSQL's does: what is executed next is not part of
    /// that any more.
    fn note_refused(&mut self, error: &sqlx::Error) {
        let depth = DB::TransactionManager::get_transaction_depth(self.connection());
        if depth < self.level()
            && let Some(open) = &mut self.transaction
        {
            let cause = open.undone.take().map_or_else(|| words(error), |(_, cause)| cause);
            open.undone = Some((Undone::Gone, cause));
        }
    }

    async fn begin_another(&mut self, beginning: Beginning) -> Result<usize, sqlx::Error> {
        self.transaction.get_or_insert_default();
        let is_outermost = self.level() == 0;
        if !is_outermost && let Some((_, cause)) = self.undone() {
            return Err(crate::Error::aborted(cause.clone()).into());
        }
        let (mut statement, mut harm) = (None, Conduct::Clean);
        if is_outermost {
            statement = DB::marked(beginning.resolve::<DB>().0);
            harm = beginning.conduct::<DB>();
            self.beginning = beginning;
        }
        let (connection, watch) = self.watched()?;
        if is_outermost {
            // The driver would take it for a savepoint in one of its own. With a statement, it refuses that itself.
            if statement.is_none() && DB::TransactionManager::get_transaction_depth(connection) > 0 {
                return Err(crate::Error::miscounted().into());
            }
        }
        let signs = watch.signs.clone();
        watch.whole::<DB, _>(harm, DB::TransactionManager::begin(connection, statement)).await?;
        if is_outermost {
            // Not before: the ROLLBACK of one that was dropped is carried out on the way.
            signs.forget();
        }
        let open = self.transaction.get_or_insert_default();
        open.levels.push(self.next_level);
        self.next_level = self.next_level.next();
        if is_outermost {
            self.pool().sessions.used_for(self.key, Use::Transaction);
        }
        Ok(self.level())
    }

    /// How the transaction has begun that is open.
    pub(crate) fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// How many transactions and savepoints are open.
    pub(crate) fn level(&self) -> usize {
        self.levels().len()
    }

    /// The transactions and savepoints that are open, the outermost first.
    pub(crate) fn levels(&self) -> &[LevelId] {
        self.transaction.as_ref().map_or(&[], |open| &open.levels)
    }

    /// What an error has done to the transaction that is open, and the error.
    fn undone(&self) -> Option<&(Undone, String)> {
        self.transaction.as_ref().and_then(|open| open.undone.as_ref())
    }

    /// Commits the transaction or savepoint of this level. What was begun inside of it and has not ended is undone first.
    pub(crate) async fn commit(&mut self, level: usize) -> Result<(), sqlx::Error> {
        if let Some((_, cause)) = self.undone() {
            return Err(crate::Error::aborted(cause.clone()).into());
        }
        while self.level() > level {
            self.roll_back_innermost().await?;
        }
        if self.level() < level {
            return Err(crate::Error::aborted("the transaction around it has ended".into()).into());
        }
        if !self.goes_on().await? {
            return Err(crate::Error::ended().into());
        }
        let (connection, watch) = self.watched()?;
        match watch.whole::<DB, _>(Conduct::Clean, commit::<DB>(connection, level)).await {
            // What is inside of another ends with that.
            Err(error) if level == 1 && Verdict::of(&error) == Verdict::Lost && !DB::came_too_late(&error) => {
                return Err(crate::Error::in_doubt(error).into());
            }
            committed => committed?,
        }
        self.note_end_of_innermost();
        Ok(())
    }

    /// Rolls the transaction or savepoint of this level back, with everything that was begun inside of it.
    pub(crate) async fn roll_back(&mut self, level: usize) -> Result<(), sqlx::Error> {
        let mut goes_on = true;
        while self.level() >= level.max(1) {
            goes_on &= self.goes_on().await?;
            self.roll_back_innermost().await?;
        }
        if goes_on { Ok(()) } else { Err(crate::Error::ended().into()) }
    }

    /// Whether the outermost transaction, which is about to end, is the one that was begun. That costs a round trip, and only a
    /// statement that is looked into can have ended it without an error.
    async fn goes_on(&mut self) -> Result<bool, sqlx::Error> {
        if self.level() != 1 || self.undone().is_some() || self.conduct < Conduct::Doubtful {
            return Ok(true);
        }
        let (connection, watch) = self.watched()?;
        // To take the mark away would take with it what the driver has begun on a connection that was lent out.
        if DB::TransactionManager::get_transaction_depth(connection) > 1 {
            return Ok(true);
        }
        let goes_on = watch.whole::<DB, _>(Conduct::Clean, DB::is_the_marked_one(connection)).await?;
        if let (false, Some(open)) = (goes_on, &mut self.transaction) {
            open.undone = Some((Undone::Gone, "a statement in it had ended it".into()));
        }
        Ok(goes_on)
    }

    async fn roll_back_innermost(&mut self) -> Result<(), sqlx::Error> {
        let undone = self.undone().map(|(how, _)| *how);
        let level = self.level();
        let savepoints = level.saturating_sub(1);
        let (connection, watch) = self.watched_anyway()?;
        let work = async {
            if undone == Some(Undone::Gone) {
                DB::replace_transaction(connection, savepoints).await?;
            }
            DB::TransactionManager::rollback(connection).await?;
            // What the driver has begun on a connection that was lent out is inside of it.
            while DB::TransactionManager::get_transaction_depth(connection) >= level {
                DB::TransactionManager::rollback(connection).await?;
            }
            Ok(())
        };
        watch.whole::<DB, _>(Conduct::Clean, work).await?;
        if let Some(open) = &mut self.transaction
            && undone == Some(Undone::Aborted)
        {
            open.undone = None;
        }
        self.note_end_of_innermost();
        Ok(())
    }

    /// As [`Self::roll_back`], before the next statement. Says whether that is all that is to be done: a transaction that is
    /// gone must be rolled back by [`Self::roll_back`], and so must an outermost one whose end a statement may have set to begin another.
    pub(crate) fn roll_back_later(&mut self, level: usize) -> bool {
        let Some(open) = (self.level() + 1).checked_sub(level.max(1)) else { return true };
        if level <= 1 && self.conduct >= Conduct::Doubtful {
            return false;
        }
        let Ok((connection, watch)) = self.watched() else { return false };
        for _ in 0..open {
            DB::TransactionManager::start_rollback(connection);
        }
        *watch.conduct = watch.conduct().max(Conduct::Doubtful);
        if let Some(transaction) = watch.transaction {
            transaction.undone = None;
            transaction.levels.truncate(level.max(1) - 1);
        }
        true
    }

    /// Does at once what [`Self::roll_back_later`] has left for later.
    #[cfg(feature = "sea-orm")]
    pub(crate) async fn flush(&mut self) -> Result<(), sqlx::Error> {
        let (connection, watch) = self.watched()?;
        watch.whole::<DB, _>(Conduct::Clean, sqlx::Connection::ping(connection)).await?;
        self.note_end();
        Ok(())
    }

    fn note_end_of_innermost(&mut self) {
        if let Some(open) = &mut self.transaction {
            open.levels.pop();
        }
        self.note_end();
    }

    /// The outermost transaction has ended, if it has.
    fn note_end(&mut self) {
        if self.level() == 0 {
            self.transaction = None;
            self.writer = None;
            self.pool().sessions.used_for(self.key, Use::Session);
        }
    }
}

/// Has the driver end the transaction or savepoint of this level. Whoever was lent its connection may have begun one that was not
/// ended, or ended one that was not theirs, and the driver's COMMIT is then another one's, or none.
async fn commit<DB: Backend>(connection: &mut DB::Connection, level: usize) -> Result<(), sqlx::Error> {
    if DB::TransactionManager::get_transaction_depth(connection) < level {
        return Err(crate::Error::miscounted().into());
    }
    DB::TransactionManager::commit(connection).await?;
    // What was to be rolled back later counts until then.
    if DB::TransactionManager::get_transaction_depth(connection) >= level {
        return Err(crate::Error::miscounted().into());
    }
    Ok(())
}

impl<DB: Backend> Drop for Lease<DB> {
    fn drop(&mut self) {
        let (Some(live), Some(slot)) = (self.live.take(), self.slot.take()) else { return };
        #[cfg(feature = "test")]
        let live = Live { is_plain: live.is_plain && self.conduct == Conduct::Clean && !self.variables, ..live };
        let pool = slot.pool().clone();
        #[cfg(feature = "test")]
        if let Some(statement) = self.begun.take() {
            pool.sessions.note_left_open(self.key, statement);
        }
        pool.sessions.close(self.key);
        // A transaction that nobody has ended is rolled back, and others do not wait for it longer than that takes.
        let open = self.transaction.is_some();
        let conduct = if open { self.conduct.max(Conduct::Doubtful) } else { self.conduct };
        let returning = Returning { live, slot, writer: self.writer.take() };
        match conduct {
            Conduct::Clean if !pool.vigilance.is_alert() => returning.put_back(),
            Conduct::Clean | Conduct::Doubtful => pool.spawn(returning.prove(PROOF)),
            Conduct::Unknown => pool.spawn(returning.prove(PROOF_WHILE_UNKNOWN)),
            Conduct::Spoiled => pool.spawn(returning.cancel("it keeps what no other session can use")),
            Conduct::Cut => pool.spawn(returning.cancel("a statement was dropped half-way")),
            // Nothing is under way; the server rolls back when it finds the connection closed.
            Conduct::Confused => drop(returning),
            Conduct::Broken | Conduct::Garbled => {
                pool.vigilance.lost_one();
                drop(returning);
            }
            Conduct::ReadOnly => {
                pool.retire();
                pool.spawn(returning.close());
            }
        }
    }
}

/// A connection on its way back. Its slot is free when that is over, however it ends.
struct Returning<DB: Backend> {
    // Dropped in this order: the connection, then the right to have one.
    live: Live<DB>,
    writer: Option<OwnedSemaphorePermit>,
    slot: Slot<DB>,
}

impl<DB: Backend> Returning<DB> {
    fn put_back(self) {
        let Self { live, writer, slot } = self;
        slot.pool().clone().put_back(live, slot);
        drop(writer);
    }

    async fn prove(mut self, limit: Duration) {
        // What the driver began it must end itself, or it would take the next transaction for a savepoint.
        for _ in 0..DB::TransactionManager::get_transaction_depth(&self.live.connection) {
            DB::TransactionManager::start_rollback(&mut self.live.connection);
        }
        match within(limit, prove::<DB>(&mut self.live.connection)).await {
            // What has ended without the driver's knowledge it cannot end any more.
            Some(true) if DB::TransactionManager::get_transaction_depth(&self.live.connection) > 0 => {
                let id = self.live.id;
                tracing::debug!(id, "discarding a connection whose driver has lost count of transactions");
            }
            Some(true) => self.put_back(),
            Some(false) => {
                tracing::debug!(id = self.live.id, "discarding a connection that is not in order");
                self.slot.pool().vigilance.lost_one();
            }
            None => {
                // Nothing can be under way on it, so it is the network that says nothing, or the server.
                if limit == PROOF {
                    self.slot.pool().vigilance.lost_one();
                }
                self.cancel("it was still at work").await;
            }
        }
    }

    /// Closes the connection in order, and with it whatever transaction is open.
    async fn close(self) {
        let Self { live, writer, slot } = self;
        close(live).await;
        drop((writer, slot));
    }

    /// Ends the session on the server, with whatever it executes, and the connection.
    async fn cancel(self, reason: &str) {
        let Self { live, writer, slot } = self;
        let pool = slot.pool().clone();
        pool.counters.cancelled();
        tracing::debug!(id = live.id, reason, "ending a session on the server");
        if let Some(interrupt) = &live.interrupt {
            // Closing waits for the statement that was told to stop, and the next writer for that.
            interrupt.set();
            match within(CANCEL, DB::close(live.connection)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(%error, "a connection closed badly"),
                None => tracing::warn!(limit = ?CANCEL, "a statement that was told to stop goes on"),
            }
            drop((writer, slot));
        } else if let Some(id) = live.id {
            // Otherwise it is closed here.
            let open = DB::ENDS_WHILE_OPEN.then_some(live);
            let mut ending = std::pin::pin!(within(CANCEL_AT_ALL, pool.cancel(id)));
            let in_time = within(CANCEL, ending.as_mut()).await;
            // Who waits for the place waits no longer. The server is told all the same, for the sake of its locks.
            drop((open, writer, slot));
            let ended = match in_time {
                // The server may have a place for whoever tells it, now that the connection is closed.
                Some(Some(Err(error))) if DB::ENDS_WHILE_OPEN && DB::is_full(&error) => {
                    within(CANCEL_AT_ALL, pool.cancel(id)).await
                }
                Some(ended) => ended,
                None => ending.await,
            };
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(id, error = %words(&error), "a session could not be ended on the server");
                }
                None => tracing::warn!(id, limit = ?CANCEL_AT_ALL, "the server did not end a session in time"),
            }
        }
    }
}

/// Whether the connection answers what it was asked, and nothing else; any transaction is over then.
pub(crate) async fn prove<DB: Backend>(connection: &mut DB::Connection) -> bool {
    let nonce = i64::from(fastrand::u32(..));
    match DB::prove(connection, nonce).await {
        Ok(answer) if answer == Some(nonce) => true,
        Ok(answer) => {
            tracing::warn!(?answer, "a connection gave the answer to another question");
            false
        }
        Err(error) => {
            tracing::debug!(%error, "a connection did not prove itself");
            false
        }
    }
}

/// Work with a connection that nobody else has.
pub(crate) async fn bounded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within(limit, work).await.unwrap_or_else(|| Err(timed_out(limit)))
}

/// The error of work that took longer than this.
pub(crate) fn timed_out(limit: Duration) -> sqlx::Error {
    let message = format!("no answer within {}", crate::registry::time_limit(limit));
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
}

impl<DB: Backend> fmt::Debug for Lease<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Lease")
            .field("id", &self.id())
            .field("opened_at", &format_args!("{}", self.place))
            .field("conduct", &self.conduct)
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}
