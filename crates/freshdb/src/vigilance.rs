//! Which connections must prove that they live before they are used or kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Asking costs a round trip, as much as a small query. A connection that was in use a moment ago is taken at its word,
/// until one such turned out dead: a server that was restarted has closed them all.
#[derive(Debug)]
pub(crate) struct Vigilance {
    opened: Instant,
    /// When a connection was last found dead, in milliseconds since `opened`, plus one; 0 if none was.
    last_lost: AtomicU64,
}

/// A connection that has been idle for so long is asked first.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// After a connection was lost, all are asked for so many milliseconds.
const ALERT_MILLIS: u64 = 10_000;

impl Vigilance {
    pub(crate) fn new() -> Self {
        Self { opened: Instant::now(), last_lost: AtomicU64::new(0) }
    }

    /// A connection was found dead.
    pub(crate) fn lost_one(&self) {
        self.last_lost.store(self.now() + 1, Ordering::Relaxed);
    }

    /// Whether a connection was found dead a moment ago.
    pub(crate) fn is_alert(&self) -> bool {
        let last_lost = self.last_lost.load(Ordering::Relaxed);
        last_lost > 0 && (self.now() + 1).saturating_sub(last_lost) < ALERT_MILLIS
    }

    /// Whether a connection that has been idle for so long must be asked.
    pub(crate) fn doubts(&self, idle_for: Duration) -> bool {
        idle_for >= TRUSTED_FOR || self.is_alert()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}
