//! Who has which database.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use freshdb_databases::Lease;

use crate::report::Number;

/// A connection of a client's, to which leases belong. Its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(pub(super) u64);

/// Whether a client leaves its connection open behind a request, as far as that says. A lease would end before its client had read of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaysOpen(pub(super) bool);

/// Of how many leases that ended with their connections the broker knows so.
const MOST_LOST: usize = 1000;

/// What is out.
#[derive(Default)]
pub(super) struct Leases {
    held: Mutex<(u64, BTreeMap<u64, Held>)>,
    /// The newest that ended with their connections, for those who ask for them.
    lost: Mutex<VecDeque<u64>>,
    /// Databases to which sessions stay connected, and the process that has them.
    staying: Mutex<HashMap<String, String>>,
}

/// What is to become of a database.
pub(super) enum Fate {
    Reset { staying: Vec<u64> },
    Keep,
}

impl Fate {
    /// It is put back, and nobody stays.
    pub(super) const RESET: Self = Self::Reset { staying: Vec::new() };
}

pub(super) struct Held {
    pub(super) lease: Lease,
    /// With whom it ends, if with anybody.
    pub(super) owner: Option<Owner>,
    pub(super) note: String,
    pub(super) since: Instant,
    /// Whose sessions may stay connected to it.
    pub(super) process: Option<String>,
    /// Its line in the report, if there is to be one.
    pub(super) number: Option<Number>,
}

impl Held {
    pub(super) fn new(lease: Lease, owner: Option<Owner>, note: String, number: Option<Number>) -> Self {
        Self { lease, owner, note, since: Instant::now(), process: None, number }
    }

    pub(super) fn told(&self, number: Option<u64>, note: String) -> Told {
        let Self { lease, since, .. } = self;
        let (engine, database) = (lease.kind().name(), lease.name().to_owned());
        Told { number, engine, database, note, held: since.elapsed() }
    }
}

/// What is told of a lease.
pub(super) struct Told {
    /// By which it is given back, unless it was taken over another interface.
    pub(super) number: Option<u64>,
    pub(super) engine: &'static str,
    pub(super) database: String,
    pub(super) note: String,
    pub(super) held: Duration,
}

impl Leases {
    pub(super) fn add(&self, lease: Held) -> u64 {
        let mut held = self.held();
        held.0 += 1;
        let number = held.0;
        held.1.insert(number, lease);
        number
    }

    /// Sessions of this process stay connected to a database that is given back.
    pub(super) fn stay(&self, database: &str, process: String) {
        self.staying.lock().unwrap_or_else(PoisonError::into_inner).insert(database.to_owned(), process);
    }

    /// Whether sessions of another process are connected to a database that nobody has had since. It is to be given back once more, which
    /// ends them.
    pub(super) fn is_anothers(&self, database: &str, process: Option<&str>) -> bool {
        let staying = self.staying.lock().unwrap_or_else(PoisonError::into_inner).remove(database);
        staying.is_some_and(|other| Some(other.as_str()) != process)
    }

    /// A look at one.
    pub(super) fn with<T>(&self, number: u64, look: impl FnOnce(&Held) -> T) -> Option<T> {
        self.held().1.get(&number).map(look)
    }

    pub(super) fn take(&self, number: u64) -> Option<Held> {
        self.held().1.remove(&number)
    }

    /// What a client had whose connection is closed.
    pub(super) fn take_all_of(&self, owner: Owner) -> Vec<Held> {
        let (numbers, taken): (Vec<u64>, Vec<Held>) =
            self.held().1.extract_if(.., |_, held| held.owner == Some(owner)).unzip();
        let mut lost = self.lost();
        lost.extend(numbers);
        let superfluous = lost.len().saturating_sub(MOST_LOST);
        lost.drain(..superfluous);
        taken
    }

    /// Whether it has ended with its connection, and not because somebody gave it back.
    pub(super) fn is_lost(&self, number: u64) -> bool {
        self.lost().contains(&number)
    }

    pub(super) fn take_all(&self) -> Vec<Held> {
        std::mem::take(&mut self.held().1).into_values().collect()
    }

    pub(super) fn list(&self) -> Vec<Told> {
        self.held().1.iter().map(|(number, held)| held.told(Some(*number), held.note.clone())).collect()
    }

    fn lost(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Held>)> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
