//! Which slots there are, how far each of them is, and who waits for one. No work is done here: `keeper/` does it.

use std::collections::{BTreeMap, VecDeque};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::lease::Lease;
use super::report::ResetReport;
use crate::dialect::ServerSession;
use crate::server::Server;
use crate::{DatabaseUrl, Error, ErrorKind};

/// What the holders of leases and the keeper share.
pub(crate) struct Shared {
    pub(crate) server: DatabaseUrl,
    /// The same for freshdb's own connections.
    pub(crate) administration: DatabaseUrl,
    /// A throwaway server lives for as long as somebody uses it.
    pub(crate) owner: Server,
    pub(crate) limit: usize,
    /// How many connections a lease may open.
    pub(crate) connections: u32,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    slots: Mutex<Slots>,
}

/// What is asked of the keeper.
pub(crate) enum Order {
    /// Somebody waits, or one less is ready.
    Supply,
    Returned {
        number: u64,
        fate: Fate,
        reply: oneshot::Sender<Result<ResetReport, Error>>,
    },
    Sessions {
        number: u64,
        known: Vec<u64>,
        reply: oneshot::Sender<Result<Vec<ServerSession>, Error>>,
    },
    /// Nobody else is to get the template.
    Retire {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Close {
        reply: Option<oneshot::Sender<Result<(), Error>>>,
    },
}

/// What is to become of a slot that is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is put back. Sessions of these numbers stay connected.
    Reset { staying: Vec<u64> },
    /// It is kept as it is, under this note.
    Keep(String),
}

pub(crate) struct Slots {
    all: BTreeMap<u64, Slot>,
    ready: Vec<u64>,
    waiting: VecDeque<Waiter>,
    phase: Phase,
    next_number: u64,
    /// How many leases were ever handed out.
    pub(crate) handed_out: u64,
}

struct Slot {
    name: Arc<str>,
    life: Life,
}

/// How far a slot is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    /// It is being copied, or was found and is being checked.
    Preparing,
    Ready,
    /// `held` until the connection that holds its lock is lost.
    Leased {
        place: &'static Location<'static>,
        since: Instant,
        held: bool,
    },
    /// Its lease has ended, and it is to be put back, which the keeper has yet to hear.
    Returned {
        held: bool,
    },
    Resetting,
    /// It is being dropped, or kept.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closed,
}

struct Waiter {
    place: &'static Location<'static>,
    since: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Result<Lease, Error>>,
}

impl Shared {
    pub(crate) fn new(owner: Server, limit: usize, connections: u32, orders: mpsc::UnboundedSender<Order>) -> Self {
        let slots = Slots {
            all: BTreeMap::new(),
            ready: Vec::new(),
            waiting: VecDeque::new(),
            phase: Phase::Open,
            next_number: 0,
            handed_out: 0,
        };
        let (server, administration) = (owner.url().clone(), owner.administration());
        Self { server, administration, owner, limit, connections, orders, slots: Mutex::new(slots) }
    }

    /// Nothing that is done under this lock can panic half-way.
    pub(crate) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the keeper. It is gone only after the pool was closed, and then there is nobody to tell.
    pub(crate) fn order(&self, order: Order) {
        drop(self.orders.send(order));
    }

    /// A lease of a slot that is ready, or a place in the line.
    pub(crate) fn take_or_wait(
        self: &Arc<Self>,
        place: &'static Location<'static>,
        limit: Duration,
    ) -> Result<Lease, oneshot::Receiver<Result<Lease, Error>>> {
        let mut slots = self.slots();
        let (reply, answer) = oneshot::channel();
        if slots.phase == Phase::Closed {
            drop(slots);
            drop(reply.send(Err(self.closed())));
            return Err(answer);
        }
        let lease = slots.ready.pop().and_then(|number| self.hand_out(&mut slots, number, place));
        let wanted = slots.ready.is_empty();
        if lease.is_none() {
            let since = Instant::now();
            slots.waiting.push_back(Waiter { place, since, deadline: since + limit, reply });
        }
        drop(slots);
        if wanted {
            self.order(Order::Supply);
        }
        lease.ok_or(answer)
    }

    fn hand_out(self: &Arc<Self>, slots: &mut Slots, number: u64, place: &'static Location<'static>) -> Option<Lease> {
        let slot = slots.all.get_mut(&number)?;
        slot.life = Life::Leased { place, since: Instant::now(), held: true };
        slots.handed_out += 1;
        Some(Lease::new(self.clone(), number, slot.name.clone()))
    }

    /// The lease of a slot has ended.
    pub(crate) fn take_back(&self, number: u64, fate: Fate, reply: oneshot::Sender<Result<ResetReport, Error>>) {
        // Not only when the keeper gets to it: for those who wait meanwhile another one would be made.
        if matches!(fate, Fate::Reset { .. }) {
            self.slots().set_returned(number);
        }
        self.order(Order::Returned { number, fate, reply });
    }

    /// A slot is ready: whoever has waited longest gets it.
    pub(crate) fn put(self: &Arc<Self>, number: u64) {
        let mut slots = self.slots();
        let Some(waiter) = slots.next_waiter() else {
            if let Some(slot) = slots.all.get_mut(&number) {
                slot.life = Life::Ready;
                slots.ready.push(number);
            }
            return;
        };
        let lease = self.hand_out(&mut slots, number, waiter.place);
        // Whoever does not wait any more drops the lease, which gives it back. Not under the lock, which that needs.
        drop(slots);
        if let Some(lease) = lease {
            drop(waiter.reply.send(Ok(lease)));
        }
    }

    /// Tells those whose time is over, and says whether others wait still.
    pub(crate) fn expire(&self, trouble: Option<&Error>) -> bool {
        let mut expired = Vec::new();
        let mut slots = self.slots();
        let now = Instant::now();
        slots.waiting.retain(|waiter| !waiter.reply.is_closed());
        while slots.waiting.front().is_some_and(|waiter| waiter.deadline <= now) {
            expired.extend(slots.waiting.pop_front());
        }
        let errors: Vec<Error> =
            expired.iter().map(|waiter| slots.exhausted(self, now - waiter.since, trouble)).collect();
        let waits = !slots.waiting.is_empty();
        drop(slots);
        for (waiter, error) in expired.into_iter().zip(errors) {
            drop(waiter.reply.send(Err(error)));
        }
        waits
    }

    /// Tells whoever has waited longest, and says whether there was anybody. Where nobody waits, it is logged.
    pub(crate) fn fail(&self, error: Error) -> bool {
        // Not under the lock, which whoever is told may need.
        let waiter = self.slots().next_waiter();
        let Some(waiter) = waiter else {
            tracing::warn!(server = %self.server, "no database could be made ready: {error:?}");
            return false;
        };
        drop(waiter.reply.send(Err(error)));
        true
    }

    /// From now on nobody gets a lease. Gives the slots that were ready, and those that are out still.
    pub(crate) fn close(&self) -> (Vec<u64>, Vec<String>) {
        let mut slots = self.slots();
        slots.phase = Phase::Closed;
        let ready = std::mem::take(&mut slots.ready);
        let waiting = std::mem::take(&mut slots.waiting);
        let out = slots.leases(Instant::now());
        drop(slots);
        for waiter in waiting {
            drop(waiter.reply.send(Err(self.closed())));
        }
        (ready, out)
    }

    pub(crate) fn closed(&self) -> Error {
        Error::new(ErrorKind::Config, format!("the pool of databases on `{}` is closed", self.server))
    }
}

impl Slots {
    pub(crate) fn add(&mut self, name: Arc<str>) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.all.insert(number, Slot { name, life: Life::Preparing });
        number
    }

    pub(crate) fn set(&mut self, number: u64, life: Life) {
        if let Some(slot) = self.all.get_mut(&number) {
            slot.life = life;
        }
    }

    fn set_returned(&mut self, number: u64) {
        if let Some(Slot { life, .. }) = self.all.get_mut(&number)
            && let Life::Leased { held, .. } = *life
        {
            *life = Life::Returned { held };
        }
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.all.remove(&number);
        self.ready.retain(|ready| *ready != number);
    }

    pub(crate) fn name(&self, number: u64) -> Option<Arc<str>> {
        self.all.get(&number).map(|slot| slot.name.clone())
    }

    pub(crate) fn life(&self, number: u64) -> Option<Life> {
        self.all.get(&number).map(|slot| slot.life)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.values().any(|slot| &*slot.name == name)
    }

    pub(crate) fn only_leases(&self) -> bool {
        self.all.values().all(|slot| matches!(slot.life, Life::Leased { .. }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many more slots to make ready: one for each who waits, and `spare` beyond that once the pool is in use, less those
    /// that are on their way.
    pub(crate) fn missing(&self, limit: usize, spare: usize) -> usize {
        if self.phase == Phase::Closed {
            return 0;
        }
        let is_coming =
            |slot: &&Slot| matches!(slot.life, Life::Preparing | Life::Returned { held: true } | Life::Resetting);
        let coming = self.all.values().filter(is_coming).count();
        // A process that takes one lease, and no second one, needs no other database.
        let spare = if self.handed_out >= 2 { spare } else { 0 };
        let wanted = self.waiting.iter().filter(|waiter| !waiter.reply.is_closed()).count() + spare;
        wanted.saturating_sub(coming + self.ready.len()).min(limit.saturating_sub(self.all.len()))
    }

    /// The connection that held the locks is lost: what was ready is not ours any more.
    pub(crate) fn lose_all(&mut self) -> Vec<u64> {
        for slot in self.all.values_mut() {
            if let Life::Leased { held, .. } | Life::Returned { held } = &mut slot.life {
                *held = false;
            }
        }
        let ready = std::mem::take(&mut self.ready);
        for number in &ready {
            self.all.remove(number);
        }
        ready
    }

    fn next_waiter(&mut self) -> Option<Waiter> {
        while let Some(waiter) = self.waiting.pop_front() {
            if !waiter.reply.is_closed() {
                return Some(waiter);
            }
        }
        None
    }

    /// The leases that are out, the oldest first, each in a line.
    pub(crate) fn leases(&self, now: Instant) -> Vec<String> {
        let mut out: Vec<_> = self
            .all
            .values()
            .filter_map(|slot| match slot.life {
                Life::Leased { place, since, .. } => Some((since, &slot.name, place)),
                _ => None,
            })
            .collect();
        out.sort_by_key(|(since, ..)| *since);
        out.into_iter()
            .map(|(since, name, place)| {
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                format!("`{name}`, leased for {seconds:.1} s at {}:{}", place.file(), place.line())
            })
            .collect()
    }

    fn exhausted(&self, shared: &Shared, waited: Duration, trouble: Option<&Error>) -> Error {
        let waited = waited.as_secs_f64();
        let mut fact = format!("no database on `{}` became ready within {waited:.1} s", shared.server);
        if let Some(trouble) = trouble {
            let error = Error::new(trouble.kind(), format!("{fact}: {trouble}"));
            let error = match trouble.driver_error() {
                Some(cause) => error.because(cause.to_string()),
                None => error,
            };
            return match trouble.advice() {
                Some(hint) => error.hint(hint),
                None => error,
            };
        }
        let leases = self.leases(Instant::now());
        if leases.len() >= shared.limit {
            fact = format!("{fact}: all {} are in use", shared.limit);
            for lease in leases {
                fact = format!("{fact}\n  {lease}");
            }
            return Error::new(ErrorKind::Exhausted, fact).hint(
                "a database is free again when its lease is dropped; if all of them are at work, raise `PoolBuilder::limit`",
            );
        }
        let count = |wanted: fn(Life) -> bool| self.all.values().filter(|slot| wanted(slot.life)).count();
        let being_made = count(|life| matches!(life, Life::Preparing));
        let being_put_back = count(|life| matches!(life, Life::Returned { .. } | Life::Resetting | Life::Leaving));
        Error::new(
            ErrorKind::Exhausted,
            format!("{fact}: {} are in use, {being_made} being made, {being_put_back} being put back", leases.len()),
        )
        .hint("the server is slower than that: wait longer, by `PoolBuilder::patience`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    fn shared() -> (Arc<Shared>, mpsc::UnboundedReceiver<Order>) {
        let (orders, ordered) = mpsc::unbounded_channel();
        let server = Server::existing(DatabaseUrl::file("/nowhere"));
        (Arc::new(Shared::new(server, 100, 1, orders)), ordered)
    }

    fn leased(shared: &Arc<Shared>) -> Lease {
        let number = shared.slots().add("a database".into());
        shared.put(number);
        shared.take_or_wait(Location::caller(), PATIENCE).expect("it is ready")
    }

    /// Whoever gives a database back and waits for another can have that one, however far behind the keeper is.
    #[test]
    fn no_other_is_made_for_whoever_gives_one_back_and_waits_for_one() {
        let (shared, _ordered) = shared();
        let leases = [leased(&shared), leased(&shared)];
        assert_eq!(shared.slots().missing(shared.limit, 2), 2, "the spare ones");
        drop(leases.map(Lease::give_back));
        let waiting = [(); 2].map(|()| shared.take_or_wait(Location::caller(), PATIENCE).expect_err("none is ready"));
        assert_eq!(shared.slots().missing(shared.limit, 2), 2, "the spare ones still");
        drop(waiting);
    }

    #[test]
    fn one_that_is_kept_does_not_come_back() {
        let (shared, _ordered) = shared();
        drop(leased(&shared).keep("a note"));
        let waiting = shared.take_or_wait(Location::caller(), PATIENCE).expect_err("none is ready");
        assert_eq!(shared.slots().missing(shared.limit, 0), 1);
        drop(waiting);
    }

    #[test]
    fn one_whose_lock_was_lost_does_not_come_back() {
        let (shared, _ordered) = shared();
        drop(leased(&shared).give_back());
        shared.slots().lose_all();
        let waiting = shared.take_or_wait(Location::caller(), PATIENCE).expect_err("none is ready");
        assert_eq!(shared.slots().missing(shared.limit, 0), 1);
        drop(waiting);
    }
}
