//! What happened since an engine was made.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    conflicts: AtomicU64,
    losses: AtomicU64,
    exhaustions: AtomicU64,
    cancellations: AtomicU64,
}

/// An engine at one moment, and what happened since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that wait for work.
    pub idle: usize,
    /// Connections that are checked out, being made, or on their way back.
    pub in_use: usize,
    /// Sessions that are open.
    pub sessions: usize,
    /// Connections there may be.
    pub limit: usize,
    /// Transactions that were run again because they lost against others.
    pub conflicts: u64,
    /// Connections that turned out dead, or could not be made.
    pub losses: u64,
    /// Requests for a session, or for the right to write, that waited in vain.
    pub exhaustions: u64,
    /// Sessions that were ended on the server, because their statement was dropped half-way.
    pub cancellations: u64,
}

impl Counters {
    pub(crate) fn conflicted(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn exhausted(&self) {
        self.exhaustions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.cancellations.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self, idle: usize, in_use: usize, sessions: usize, limit: usize) -> Stats {
        Stats {
            idle,
            in_use,
            sessions,
            limit,
            conflicts: self.conflicts.load(Ordering::Relaxed),
            losses: self.losses.load(Ordering::Relaxed),
            exhaustions: self.exhaustions.load(Ordering::Relaxed),
            cancellations: self.cancellations.load(Ordering::Relaxed),
        }
    }
}
