//! Signals that ask the benchmark to stop, which it does without leaving anything behind.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, OrFail};

/// Ctrl-C, SIGTERM and SIGHUP, listened for from the moment of its creation.
pub(crate) struct Interrupt {
    ctrl_c: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).or_fail(|| "cannot listen for signals".into());
        Ok(Self {
            ctrl_c: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Does `work`, and drops it where it stands when a signal comes, or has come since the last work.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            _ = self.ctrl_c.recv() => Err(Failure::interrupted("SIGINT", 2)),
            _ = self.terminate.recv() => Err(Failure::interrupted("SIGTERM", 15)),
            _ = self.hang_up.recv() => Err(Failure::interrupted("SIGHUP", 1)),
            outcome = work => outcome,
        }
    }
}
