//! What a test says of itself.

use std::panic::Location;
use std::time::Duration;

use freshdb_databases::Kind;

use crate::registry::Place;

/// A test, before it runs: its name, its engine, and what was said in `#[freshdb::test(…)]`.
///
/// The attribute makes one of these; so does whoever runs a test without it, by [`run`](super::run).
#[derive(Clone, Debug)]
#[must_use = "a case does nothing until it is run"]
pub struct Case {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) leaks: Leaking,
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) runtime: Runtime,
    pub(crate) start_paused: bool,
    /// What its panic says, if it is meant to panic.
    pub(crate) expected_panic: Option<String>,
    pub(crate) allowed: Vec<String>,
}

/// What becomes of a test that leaves something open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaking {
    /// It fails.
    #[default]
    Fails,
    /// It is warned of, and passes.
    Warns,
}

/// The tokio runtime on which a test runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Its own, of one thread, as that of `#[tokio::test]`.
    #[default]
    CurrentThread,
    /// Its own, of so many threads.
    MultiThread(usize),
    /// One of the process's that never ends, for code with global singletons that need theirs to go on. Tasks that such a test leaves
    /// behind are not told from another's.
    Shared,
}

impl Case {
    /// A test of this name, as in `tags::create`, on an engine. The place of the call is named in reports.
    #[track_caller]
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            place: Location::caller(),
            leaks: Leaking::default(),
            timeout: Duration::from_mins(1),
            grace: Duration::from_secs(2),
            runtime: Runtime::default(),
            start_paused: false,
            expected_panic: None,
            allowed: Vec::new(),
        }
    }

    /// What becomes of it if it leaves something open: it fails, if nothing else is said.
    pub fn leaks(mut self, leaks: Leaking) -> Self {
        self.leaks = leaks;
        self
    }

    /// How long it may take, its arguments included: a minute if nothing else is said. By the clock of the system, whatever the
    /// test does to its own.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// For how long what it leaves open is waited for: 2 s if nothing else is said. One that leaves nothing open waits for nothing.
    pub fn grace(mut self, limit: Duration) -> Self {
        self.grace = limit;
        self
    }

    /// For how long each of what is to be ended is waited for. What waits for as long as the grace itself, such as
    /// [`Guarded::end`](super::Guarded::end), has as much again to say for what.
    pub(crate) fn limit_of_endings(&self) -> Duration {
        self.grace.saturating_mul(2)
    }

    /// The runtime on which it runs.
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = runtime;
        self
    }

    /// Begins with tokio's clock paused. Only on a runtime of one thread.
    pub fn start_paused(mut self, paused: bool) -> Self {
        self.start_paused = paused;
        self
    }

    /// It is meant to panic, with a message that contains `expected`; with any, where that is empty. It passes only if its body does, and
    /// nothing else is amiss: it may neither leave anything open, nor fail or end in another way.
    pub fn should_panic(mut self, expected: impl Into<String>) -> Self {
        self.expected_panic = Some(expected.into());
        self
    }

    /// It may use this database too, which is not leased to it.
    pub fn allow(mut self, url: impl Into<String>) -> Self {
        self.allowed.push(url.into());
        self
    }
}
