//! Who has which database.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use freshdb_databases::Lease;

/// A connection of a client's, to which leases belong. Its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(pub(super) u64);

/// What is out.
#[derive(Default)]
pub(super) struct Leases {
    held: Mutex<(u64, BTreeMap<u64, Held>)>,
}

pub(super) struct Held {
    pub(super) lease: Lease,
    /// With whom it ends, if with anybody.
    owner: Option<Owner>,
    pub(super) note: String,
    since: Instant,
}

/// What is told of a lease.
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) engine: &'static str,
    pub(super) database: String,
    pub(super) note: String,
    pub(super) held: Duration,
}

impl Leases {
    pub(super) fn add(&self, lease: Lease, owner: Option<Owner>, note: String) -> u64 {
        let mut held = self.held();
        held.0 += 1;
        let number = held.0;
        held.1.insert(number, Held { lease, owner, note, since: Instant::now() });
        number
    }

    pub(super) fn take(&self, number: u64) -> Option<Held> {
        self.held().1.remove(&number)
    }

    /// A client's connection is closed. What it had goes back.
    pub(super) fn end(&self, owner: Owner) {
        let ended: Vec<Held> =
            self.held().1.extract_if(.., |_, held| held.owner == Some(owner)).map(|(_, held)| held).collect();
        drop(ended);
    }

    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut self.held().1);
        drop(all);
    }

    pub(super) fn list(&self) -> Vec<Told> {
        let told = |(number, held): (&u64, &Held)| Told {
            number: *number,
            engine: held.lease.kind().name(),
            database: held.lease.name().to_owned(),
            note: held.note.clone(),
            held: held.since.elapsed(),
        };
        self.held().1.iter().map(told).collect()
    }

    fn held(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Held>)> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
