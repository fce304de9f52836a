//! Who has a connection of a plain pool of sqlx's, and since when.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::test::trace::Trace;

/// The connections of one pool, by what the server calls them.
#[derive(Clone)]
pub(crate) struct Ledger {
    page: Arc<Page>,
    pool: Arc<dyn Watched>,
}

/// What the pool's own hooks write to.
#[derive(Debug, Default)]
pub(super) struct Page {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    held: HashMap<u64, (Trace, Instant)>,
    /// Every connection that the pool has made.
    own: HashSet<u64>,
    /// How long each lives, where no server tells.
    lives: HashMap<u64, Weak<()>>,
    left_open: Vec<Trace>,
}

/// A pool of sqlx's, of whatever database.
pub(super) trait Watched: Send + Sync {
    /// How many of its connections somebody has.
    fn held(&self) -> usize;

    fn close(&self) -> BoxFuture<'static, ()>;

    /// Lives as long as anybody has the pool.
    fn life(&self) -> Weak<()>;
}

/// A connection that somebody has.
#[derive(Debug)]
pub(crate) struct Held {
    /// How the server calls it; SQLite has no server.
    pub(crate) id: Option<u64>,
    /// Who took it. Not looked up yet: that may take longer than the test's thread has left.
    pub(crate) trace: Trace,
    /// For how long.
    pub(crate) since: Duration,
}

/// The connections that did not come back to their pool, those that have been out for longest first.
pub(crate) enum Unreturned {
    /// None of them was closed.
    Living(Vec<Held>),
    /// One that was closed while it was out is among them still, and so is one that was killed.
    Unknown(Vec<Held>),
}

impl Page {
    /// A number of SQLite's may be that of one that was closed.
    pub(super) fn connected(&self, id: u64, life: Option<Weak<()>>) {
        if let Some(life) = life {
            self.entries().lives.insert(id, life);
        }
    }

    pub(super) fn acquired(&self, id: u64, trace: Trace) {
        let mut entries = self.entries();
        entries.own.insert(id);
        entries.held.insert(id, (trace, Instant::now()));
    }

    pub(super) fn returned(&self, id: u64, in_transaction: bool) {
        let mut entries = self.entries();
        let held = entries.held.remove(&id);
        if let (Some((trace, _)), true) = (held, in_transaction) {
            entries.left_open.push(trace);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    pub(super) fn new(page: Arc<Page>, pool: Arc<dyn Watched>) -> Self {
        Self { page, pool }
    }

    /// How many connections are out. One that was detached is not the pool's any more, and counts where its life is known.
    pub(crate) fn count(&self) -> usize {
        let entries = self.page.entries();
        let living = entries.held.keys().filter(|id| entries.lives.get(id).is_some_and(|life| life.strong_count() > 0));
        self.pool.held().max(living.count())
    }

    /// The connections that did not come back.
    pub(crate) fn held(&self) -> Unreturned {
        let entries = self.page.entries();
        let has_server = entries.lives.is_empty();
        let mut held: Vec<Held> = entries
            .held
            .iter()
            .filter(|(id, _)| entries.lives.get(id).is_none_or(|life| life.strong_count() > 0))
            .map(|(id, (trace, since))| Held {
                id: has_server.then_some(*id),
                trace: trace.clone(),
                since: since.elapsed(),
            })
            .collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.since));
        if has_server { Unreturned::Unknown(held) } else { Unreturned::Living(held) }
    }

    /// How the server calls every connection that was ever the pool's.
    pub(crate) fn connections(&self) -> Vec<u64> {
        self.page.entries().own.iter().copied().collect()
    }

    /// Who gave connections back inside a transaction.
    pub(crate) fn take_left_open(&self) -> Vec<Trace> {
        std::mem::take(&mut self.page.entries().left_open)
    }

    pub(crate) fn close(&self) -> BoxFuture<'static, ()> {
        self.pool.close()
    }

    /// Lets go of the pool. What is given then tells whether somebody else has it.
    pub(crate) fn let_go(self) -> Weak<()> {
        self.pool.life()
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ledger").field("page", &self.page).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    struct Pool(Arc<()>);

    impl Watched for Pool {
        fn held(&self) -> usize {
            1
        }

        fn close(&self) -> BoxFuture<'static, ()> {
            std::future::pending().boxed()
        }

        fn life(&self) -> Weak<()> {
            Arc::downgrade(&self.0)
        }
    }

    /// That takes seconds where a program has much debug information, and the test's own thread has to answer in time.
    #[test]
    fn who_has_what_is_told_without_looking_traces_up() {
        let (held, left) = (Trace::capture(), Trace::capture());
        let page = Arc::new(Page::default());
        page.acquired(1, held.clone());
        page.acquired(2, left.clone());
        page.returned(2, true);
        let ledger = Ledger::new(page, Arc::new(Pool(Arc::default())));
        assert!(matches!(ledger.held(), Unreturned::Unknown(held) if held.len() == 1));
        assert_eq!(ledger.take_left_open().len(), 1);
        assert!(!held.is_resolved() && !left.is_resolved());
    }
}
