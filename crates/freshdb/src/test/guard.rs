//! Which databases a test may use: its own, and no other by mistake.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use freshdb_databases::DatabaseUrl;
use tokio::runtime::{Handle, Id};

use crate::error::Error;
use crate::registry::Place;

/// What can be done about a refusal.
pub(crate) const HINT: &str = "make the engine from the test's arguments; if the test is meant to use that database, say \
     `allow = [\"the URL\"]` in its `#[freshdb::test(…)]`";

/// A database that was leased to a test.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// Its URL, as people are told.
    shown: String,
    /// Its name alone.
    short: String,
    /// Drawn at random: no other has it. Of SQLite, the path of its file.
    name: String,
    is_file: bool,
}

impl Database {
    pub(crate) fn of(name: &str, url: &DatabaseUrl) -> Self {
        let path = url.path().map(|path| path.to_string_lossy().into_owned());
        let is_file = path.is_some();
        let (shown, short) = (url.to_string(), name.to_owned());
        Self { shown, name: path.unwrap_or_else(|| short.clone()), short, is_file }
    }

    /// Its name on its server.
    pub(crate) fn short(&self) -> &str {
        &self.short
    }

    /// Whether this is where an engine is.
    pub(crate) fn is(&self, target: &str) -> bool {
        if self.is_file {
            target.strip_prefix("sqlite://") == Some(&self.name)
        } else {
            // Behind the name there may be a socket.
            let url = target.split_once('?').map_or(target, |(url, _)| url);
            url.rsplit_once('/').is_some_and(|(_, name)| name == self.name)
        }
    }
}

/// What a test may use, and what it was refused.
#[derive(Debug)]
pub(crate) struct Permit {
    test: String,
    database: Database,
    /// Further databases, by the targets of engines on them.
    allowed: Vec<String>,
    refused: Mutex<Vec<Refusal>>,
}

impl Permit {
    pub(crate) fn new(test: String, database: Database, allowed: Vec<String>) -> Arc<Self> {
        Arc::new(Self { test, database, allowed, refused: Mutex::default() })
    }

    /// In force for all that runs on a runtime, until it is dropped.
    pub(crate) fn enforce(self: &Arc<Self>, runtime: Id) -> InForce {
        let in_force = InForce { runtime, permit: self.clone() };
        RUNNING.write().unwrap_or_else(PoisonError::into_inner).push((runtime, self.clone()));
        COUNT.fetch_add(1, Ordering::Release);
        in_force
    }

    /// What the test was refused, each place once.
    pub(crate) fn refused(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permits(&self, target: &str) -> bool {
        // One in memory is nobody else's.
        self.database.is(target) || target == "sqlite::memory:" || self.allowed.iter().any(|allowed| allowed == target)
    }
}

/// A permit in force.
#[must_use = "dropped, it ends"]
pub(crate) struct InForce {
    runtime: Id,
    permit: Arc<Permit>,
}

impl Drop for InForce {
    fn drop(&mut self) {
        let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
        let same =
            |(runtime, permit): &(Id, Arc<Permit>)| *runtime == self.runtime && Arc::ptr_eq(permit, &self.permit);
        if let Some(at) = running.iter().position(same) {
            running.swap_remove(at);
            COUNT.fetch_sub(1, Ordering::Release);
        }
    }
}

static RUNNING: RwLock<Vec<(Id, Arc<Permit>)>> = RwLock::new(Vec::new());
/// How many there are, so that where no test runs nothing is looked up.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether whoever asks an engine on `target` for a session may have one. Who runs on no test's runtime may.
pub(crate) fn admit(target: &str, place: Place) -> Result<(), Error> {
    if COUNT.load(Ordering::Acquire) == 0 {
        return Ok(());
    }
    let Ok(runtime) = Handle::try_current() else { return Ok(()) };
    let runtime = runtime.id();
    let running = RUNNING.read().unwrap_or_else(PoisonError::into_inner);
    // On a shared runtime there are several, and which of them asks is not known.
    let mut permits = running.iter().filter(|(other, _)| *other == runtime).map(|(_, permit)| permit).peekable();
    let Some(first) = permits.peek().copied().cloned() else { return Ok(()) };
    if permits.any(|permit| permit.permits(target)) {
        return Ok(());
    }
    drop(running);
    let refusal = Refusal {
        test: first.test.clone(),
        target: target.to_owned(),
        leased: first.database.shown.clone(),
        place: super::trace::Source::of(place),
    };
    let mut refused = first.refused();
    if !refused.contains(&refusal) {
        refused.push(refusal.clone());
    }
    Err(Error::not_leased(refusal))
}

/// A test reached for a database that is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    test: String,
    target: String,
    leased: String,
    place: super::trace::Source,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { test, target, leased, place } = self;
        write!(
            formatter,
            "test `{test}` reached for `{target}`, which was not leased to it\n  at {place}\n  its own database is `{leased}`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_known_by_its_name_and_not_by_its_servers_socket() {
        let url = DatabaseUrl::parse("mysql://root@localhost/freshdb_1?socket=/run/mysqld.sock").expect("a URL");
        let database = Database::of("freshdb_1", &url);
        for target in
            ["mysql://root@localhost:3306/freshdb_1", "mysql://root@db:3306/freshdb_1?socket=/run/mysqld.sock"]
        {
            assert!(database.is(target), "{target}");
        }
        for target in
            ["mysql://root@localhost:3306/freshdb_12", "mysql://root@localhost:3306/dev?socket=/run/freshdb_1"]
        {
            assert!(!database.is(target), "{target}");
        }
    }
}
