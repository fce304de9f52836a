//! A test's thread, watched from another: whatever it does to itself, there is a verdict in time.

use std::any::Any;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use freshdb_databases::{Error, ServerSession};

use super::census;
use super::guard::Database;
use super::leased::Leased;
use super::leftovers::Left;
use super::runner::Departure;
use crate::registry::OpenSession;
use crate::runtime::sleep;

/// How a test's thread ended.
pub(super) enum Supervised {
    Returned(Box<Departure>),
    /// Not the body, whose panics are caught: what ran after it, such as a destructor.
    Panicked(Box<dyn Any + Send>),
    /// It has not. It is left behind.
    Blocked {
        waited: Duration,
        body_has_ended: bool,
    },
}

/// How far a test has come: whether its body has ended, and how much there was to end after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<OnceLock<usize>>);

impl Progress {
    pub(super) fn body_has_ended(&self, endings: usize) {
        self.0.get_or_init(|| endings);
    }
}

/// Runs a test on a thread of this name, which inherits that its output is captured. It may take as long as `limit` says for so much to end.
pub(super) fn supervise(
    name: &str,
    limit: impl Fn(usize) -> Duration,
    test: impl FnOnce(Progress) -> Departure + Send + 'static,
) -> Supervised {
    let started = Instant::now();
    let progress = Progress::default();
    let (sender, receiver) = mpsc::channel();
    let of_thread = progress.clone();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody waits any more for one that was too late.
        drop(sender.send(test(of_thread)));
    });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return Supervised::Panicked(Box::new(format!("the system has no thread to give: {error}"))),
    };
    let ended = || progress.0.get().copied();
    match receive(&receiver, || limit(ended().unwrap_or_default()).saturating_sub(started.elapsed())) {
        Ok(departure) => Supervised::Returned(Box::new(departure)),
        Err(RecvTimeoutError::Timeout) => {
            Supervised::Blocked { waited: started.elapsed(), body_has_ended: ended().is_some() }
        }
        // The thread has dropped its end, and said nothing: it is unwinding, or has.
        Err(RecvTimeoutError::Disconnected) => {
            Supervised::Panicked(thread.join().err().unwrap_or_else(|| Box::new("the test's thread said nothing")))
        }
    }
}

/// Waits until there is no `rest` of the time, which may have become more meanwhile.
fn receive<T>(receiver: &Receiver<T>, rest: impl Fn() -> Duration) -> Result<T, RecvTimeoutError> {
    loop {
        match receiver.recv_timeout(rest()) {
            Err(RecvTimeoutError::Timeout) if !rest().is_zero() => {}
            answer => return answer,
        }
    }
}

/// What the engines of a test that does not answer have open.
pub(super) fn open_sessions(database: &Database) -> Vec<OpenSession> {
    census::on(database).iter().flat_map(|engine| engine.open_sessions()).collect()
}

/// Sessions on the server that nobody here knows of, or why it did not tell.
pub(super) type Strangers = Result<Vec<ServerSession>, Error>;

/// Who is connected to the database still, beyond those that are known to have leaked. A server takes a moment to let go of a
/// connection that was closed: it is given as long as the test had.
pub(super) async fn strangers(lease: &Leased, left: &Left, grace: Duration) -> Strangers {
    let limit = grace.saturating_sub(left.waited);
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        let mut sessions = lease.other_sessions(left.known()).await?;
        sessions.retain(|session| session.database.as_deref() == Some(lease.name()));
        if sessions.is_empty() || started.elapsed() >= limit {
            return Ok(sessions);
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
