//! What a test has left behind: waited for, and then named.

use std::sync::Weak;
use std::time::{Duration, Instant};

use freshdb_databases::ServerSession;

use super::arguments::{Held, Ledger, Unreturned};
use super::census;
use super::context::Context;
use super::guard::Database;
use super::reuse::Reuse;
use super::trace::{Source, Trace};
use crate::registry::{OpenSession, Place};
use crate::runtime::{sleep, within};

/// What a test left behind.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Sessions of engines.
    pub(super) sessions: Vec<OpenSession>,
    /// Connections of sqlx's pools.
    pub(super) connections: Vec<Held>,
    /// Those that did not come back to their pool. Which of them were closed or killed meanwhile, only the server knows.
    pub(super) unreturned: Vec<Held>,
    /// How many of these the pools know to be out.
    pub(super) out: usize,
    /// Sessions that came back inside a transaction of their own: it was rolled back.
    pub(super) transactions: Vec<OpenTransaction>,
    /// Engines and pools that somebody still has.
    pub(super) pools: Vec<KeptPool>,
    /// What the server knows of beyond these.
    pub(super) strangers: Vec<ServerSession>,
    /// How the server calls all that the test's engines and pools ever connected, and what is kept for the next test. What of it the
    /// server has not let go yet is closed.
    pub(super) own: Vec<u64>,
    /// For how long all of that was waited for.
    pub(super) waited: Duration,
}

/// A transaction that nobody ended.
#[derive(Debug)]
pub(super) struct OpenTransaction {
    pub(super) opened: Opened,
    /// What began it, where that was seen.
    pub(super) statement: Option<String>,
}

/// What a transaction was left open on.
#[derive(Debug)]
pub(super) enum Opened {
    Session(OpenSession),
    /// A connection of a pool of sqlx's.
    Connection(Trace),
}

/// An engine, or a pool of sqlx's, that outlives its test.
#[derive(Debug)]
pub(super) enum KeptPool {
    /// It was made by the test's own code.
    Engine { made_at: Place },
    /// It was an argument.
    Argument { what: &'static str },
}

/// How long closing what is left may take, where nobody waits for it to come back any more.
const CLOSING: Duration = Duration::from_millis(300);

/// Waits until nothing is left, but not longer than `grace`, and says what is. Closes all engines and pools of the test, so that
/// nothing goes on with the database.
pub(super) async fn collect(
    database: &Database,
    mut context: Context,
    grace: Duration,
    tasks: impl Fn() -> usize,
) -> Left {
    let started = Instant::now();
    let rest = || grace.saturating_sub(started.elapsed());
    let ledgers = std::mem::take(&mut context.ledgers);
    let sessions = || census::on(database).iter().map(|engine| engine.open_sessions().len()).sum::<usize>();
    let connections = || ledgers.iter().map(Ledger::count).sum::<usize>();
    until(rest(), || sessions() == 0 && connections() == 0 && tasks() == 0).await;

    let mut left = Left::default();
    for engine in census::on(database) {
        let limit = if engine.open_sessions().is_empty() { rest().max(CLOSING) } else { CLOSING };
        if let Err(leaks) = engine.clone().close(limit).await {
            left.sessions.extend(leaks.sessions);
        }
        left.own.extend(engine.connections());
        left.transactions.extend(engine.take_left_open().into_iter().map(|(session, statement)| OpenTransaction {
            opened: Opened::Session(session),
            statement: Some(statement.as_str().to_owned()),
        }));
    }
    let mut lives: Vec<Weak<()>> = Vec::new();
    for ledger in ledgers {
        match ledger.held() {
            Unreturned::Living(held) => left.connections.extend(held),
            Unreturned::Unknown(held) => {
                left.out += ledger.count();
                left.unreturned.extend(held);
            }
        }
        left.own.extend(ledger.connections());
        let limit = if ledger.count() == 0 { rest().max(CLOSING) } else { CLOSING };
        let closed = within(limit, ledger.close()).await.is_some();
        let transactions = ledger.take_left_open().into_iter();
        left.transactions
            .extend(transactions.map(|trace| OpenTransaction { opened: Opened::Connection(trace), statement: None }));
        let life = ledger.let_go();
        // A connection that is out keeps its pool alive, and is named itself.
        if closed {
            lives.push(life);
        }
    }
    context.forget_made();
    left.own.extend(context.reuse.iter().flat_map(Reuse::connections));
    drop(context);
    // Likewise a session its engine.
    if left.sessions.is_empty() {
        until(rest(), || census::on(database).is_empty()).await;
        left.pools.extend(census::on(database).iter().map(|engine| KeptPool::of(engine.made_at())));
    }
    until(rest(), || lives.iter().all(|life| life.strong_count() == 0)).await;
    let kept = lives.iter().filter(|life| life.strong_count() > 0);
    left.pools.extend(kept.map(|_| KeptPool::Argument { what: "pool of sqlx's" }));
    left.waited = started.elapsed();
    left
}

impl Opened {
    /// Where.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Session(session) => session.source(),
            Self::Connection(trace) => trace.source(),
        }
    }
}

impl Left {
    /// The sessions of which the server has nothing new to say: those that are closed already, or known to have leaked.
    pub(super) fn known(&self) -> Vec<u64> {
        let is_out = |id: u64| self.unreturned.iter().any(|held| held.id == Some(id));
        self.own.iter().copied().filter(|id| !is_out(*id)).collect()
    }

    /// Takes up what only the server knew. Of what did not come back to its pool, it is known who had it.
    pub(super) fn take_up(&mut self, sessions: Vec<ServerSession>) {
        for session in sessions {
            match self.unreturned.iter().position(|held| held.id == Some(session.id)) {
                Some(at) => self.connections.push(self.unreturned.remove(at)),
                None => self.strangers.push(session),
            }
        }
        self.take_up_unseen();
    }

    /// Of those that are out and of which the server does not know, those that have been out for longest are as likely as any.
    pub(super) fn take_up_unseen(&mut self) {
        let unseen = self.out.saturating_sub(self.connections.len()).min(self.unreturned.len());
        self.connections.extend(self.unreturned.drain(..unseen));
    }
}

impl KeptPool {
    fn of(made_at: Place) -> Self {
        if super::trace::is_ours(made_at) {
            Self::Argument { what: "pool of an engine" }
        } else {
            Self::Engine { made_at }
        }
    }
}

/// Whether that came true within `limit`, by the clock of the process.
pub(super) async fn until(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        if is_so() {
            return true;
        }
        if started.elapsed() >= limit {
            return false;
        }
        sleep(pause).await;
        // Nothing tells when a task has ended, or somebody has dropped a pool.
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}
