//! Running work again that may succeed then.

use std::time::Duration;

use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::runtime::sleep;
use crate::verdict::Verdict;

/// An error that tells whether the same work may succeed when it is run again.
pub trait HasVerdict {
    /// What it means for the work that met it.
    fn verdict(&self) -> Verdict;
}

impl HasVerdict for crate::Error {
    fn verdict(&self) -> Verdict {
        Self::verdict(self)
    }
}

impl HasVerdict for sqlx::Error {
    fn verdict(&self) -> Verdict {
        Verdict::of(self)
    }
}

/// How often a transaction is run that loses against others.
const MOST_ON_CONFLICT: u32 = 12;

/// How often work is run whose connection turns out dead. All after the first ask the connection before they use it.
const MOST_ON_LOSS: u32 = 3;

/// How often some work was run.
#[derive(Debug)]
pub(crate) struct Attempts(u32);

impl Attempts {
    pub(crate) fn new() -> Self {
        Self(1)
    }

    /// Whether work that met this may be run once more, which is counted.
    pub(crate) fn may_go_on(&mut self, verdict: Verdict) -> bool {
        let most = match verdict {
            Verdict::Conflict => MOST_ON_CONFLICT,
            Verdict::Lost => MOST_ON_LOSS,
            Verdict::Exhausted | Verdict::Overtime | Verdict::Refused => 0,
        };
        let may = self.0 < most;
        self.0 += 1;
        may
    }

    /// As [`Self::may_go_on`], and waits until it is time.
    pub(crate) async fn go_on<DB: Dialect>(&mut self, engine: &Engine<DB>, verdict: Verdict) -> bool {
        engine.met(verdict);
        if !self.may_go_on(verdict) {
            return false;
        }
        if verdict == Verdict::Conflict {
            sleep(self.pause()).await;
        }
        tracing::debug!(?verdict, attempt = self.0, "running work again");
        true
    }

    /// Random, so that those who met do not meet again, and longer each time.
    fn pause(&self) -> Duration {
        let most = 1 << self.0.min(7);
        Duration::from_micros(fastrand::u64(200..=1000 * most))
    }
}
