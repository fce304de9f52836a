//! Who does a pool's work: holds the locks, has slots made, put back and dropped.
//!
//! A task of the process's, and the only one that has the connection which holds the locks. What takes longer than a
//! question to the server is done in tasks of its own, which report back.

mod holder;
mod making;
mod returning;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use holder::{Holder, bounded, lease_lost};

use super::report::ResetReport;
use super::slots::{Order, Shared};
use crate::dialect::{Dialect, Reset};
use crate::names::Names;
use crate::registry::Registry;
use crate::{Error, ErrorKind, runtime};

/// The pool's keeper.
pub(crate) struct Keeper<D: Dialect> {
    shared: Arc<Shared>,
    names: Names,
    template_name: String,
    template: Arc<D::Template>,
    /// The row and the lock that tell of this process.
    user: String,
    /// Whether the lock is this process's. A connection that was lost may have it for as long as the server does not know of that.
    is_user: bool,
    spare: usize,
    holder: Holder<D>,
    /// Counts the connections that held the locks. What was held by an earlier one is not held any more.
    generation: u64,
    slots: HashMap<u64, D::Slot>,
    /// Those of the slots to which somebody stays connected who may write at any time.
    visited: HashSet<u64>,
    /// Databases that could not be made use of, nor dropped.
    refused: HashSet<String>,
    /// Tasks that will report.
    at_work: usize,
    closing: Vec<Closing>,
    is_closed: bool,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::UnboundedReceiver<Event<D>>,
    reports: mpsc::UnboundedSender<Event<D>>,
}

/// Who closed the pool, and what there is to tell.
type Closing = (oneshot::Sender<Result<(), Error>>, Result<(), Error>);
type Reply = oneshot::Sender<Result<ResetReport, Error>>;

/// What a task reports.
enum Event<D: Dialect> {
    Copied {
        number: u64,
        generation: u64,
        result: Result<D::Slot, Error>,
    },
    /// A slot that was left behind has been checked.
    Checked {
        number: u64,
        generation: u64,
        result: Result<D::Slot, Error>,
    },
    PutBack {
        number: u64,
        generation: u64,
        done: Option<(D::Slot, Result<Reset, Error>)>,
        reply: Reply,
    },
    Dropped {
        number: u64,
        generation: u64,
        result: Result<(), Error>,
    },
    Connected(Result<D::Connection, Error>),
}

/// The longest piece of work: a copy of a large template on a busy machine.
const LONGEST_WORK: Duration = Duration::from_mins(5);
/// How often an idle keeper makes sure that it still holds its locks.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How exact the limit on waiting is.
const TICK: Duration = Duration::from_millis(50);

impl<D: Dialect> Keeper<D> {
    #[expect(clippy::too_many_arguments, reason = "what it is made of, once")]
    pub(crate) fn new(
        shared: Arc<Shared>,
        orders: mpsc::UnboundedReceiver<Order>,
        connection: D::Connection,
        names: Names,
        template_name: String,
        template: D::Template,
        user: String,
        spare: usize,
    ) -> Self {
        let (reports, events) = mpsc::unbounded_channel();
        Self {
            shared,
            names,
            template_name,
            template: Arc::new(template),
            user,
            is_user: true,
            spare,
            holder: Holder::Up(connection),
            generation: 0,
            slots: HashMap::new(),
            visited: HashSet::new(),
            refused: HashSet::new(),
            at_work: 0,
            closing: Vec::new(),
            is_closed: false,
            orders,
            events,
            reports,
        }
    }

    /// Works until the pool is closed and the last lease is back.
    pub(crate) async fn run(mut self) {
        let mut next_look = Instant::now() + HEARTBEAT;
        while !(self.is_closed && self.at_work == 0 && self.shared.slots().is_empty()) {
            tokio::select! {
                Some(order) = self.orders.recv() => self.follow(order).await,
                Some(event) = self.events.recv() => self.hear(event).await,
                () = tokio::time::sleep_until(next_look.into()) => {
                    self.look_around().await;
                    next_look = Instant::now() + HEARTBEAT;
                }
            }
            let trouble = match &self.holder {
                Holder::Up(_) => None,
                Holder::Connecting { error } | Holder::Down { error, .. } => Some(error),
            };
            let waits = self.shared.expire(trouble);
            if waits || trouble.is_some() {
                next_look = next_look.min(Instant::now() + TICK);
            }
            self.report_closed();
        }
        if let Holder::Up(mut connection) = self.holder
            && let Err(error) = Registry::remove::<D>(&mut connection, &self.user).await
        {
            tracing::debug!("the row of this process stays until it is collected: {error}");
        }
        for (reply, verdict) in self.closing {
            drop(reply.send(verdict));
        }
    }

    async fn follow(&mut self, order: Order) {
        match order {
            Order::Supply => self.supply().await,
            Order::Returned { number, fate, reply } => self.take_back(number, fate, reply).await,
            Order::Sessions { number, known, reply } => {
                let sessions = self.sessions_of(number, &known).await;
                drop(reply.send(sessions));
            }
            Order::Retire { reply } => {
                let retired = self.retire_template().await;
                drop(reply.send(retired));
            }
            Order::Close { reply } => {
                self.is_closed = true;
                let (ready, out) = self.shared.close();
                for number in ready {
                    self.let_go(number).await;
                }
                let verdict = if out.is_empty() { Ok(()) } else { Err(leases_out(&out)) };
                self.closing.extend(reply.map(|reply| (reply, verdict)));
            }
        }
    }

    async fn hear(&mut self, event: Event<D>) {
        if !matches!(event, Event::Connected(_)) {
            self.at_work -= 1;
        }
        // A database that was put back was this process's only if the lock was held until then.
        if matches!(event, Event::PutBack { .. }) {
            self.look_around().await;
        }
        match event {
            Event::Copied { number, generation, result } if generation == self.generation => match result {
                Ok(slot) => {
                    if let Some(name) = self.name(number)
                        && let Holder::Up(connection) = &mut self.holder
                    {
                        let written = bounded(Registry::set_copied::<D>(connection, &name, &D::memo(&slot))).await;
                        self.judge("write down that a copy is ready", written);
                    }
                    if generation == self.generation {
                        self.put(number, slot).await;
                    } else {
                        D::close(slot).await;
                        self.shared.slots().remove(number);
                        self.supply().await;
                    }
                }
                Err(error) => {
                    self.shared.fail(error);
                    self.throw_away(number, None);
                }
            },
            Event::Checked { number, generation, result } if generation == self.generation => match result {
                Ok(slot) => self.put(number, slot).await,
                Err(error) => {
                    tracing::debug!("a database that was left behind is dropped: {error:?}");
                    self.throw_away(number, None);
                    self.supply().await;
                }
            },
            Event::PutBack { number, generation, done: Some((slot, result)), reply }
                if generation == self.generation =>
            {
                self.judge_reset(number, slot, result, reply).await;
            }
            Event::PutBack { number, generation, done: None, reply } if generation == self.generation => {
                let name = self.name(number).unwrap_or_default();
                let fact = format!("putting `{name}` back panicked, or found no thread to run on");
                self.throw_away(number, None);
                drop(reply.send(Err(Error::new(ErrorKind::Database, fact))));
                self.supply().await;
            }
            Event::Dropped { number, generation, result } if generation == self.generation => {
                self.forget(number, result).await;
                self.supply().await;
            }
            // Done for a connection that is lost: the database has no lock, and whoever finds it next sees to it.
            Event::Copied { number, .. } | Event::Checked { number, .. } | Event::Dropped { number, .. } => {
                self.shared.slots().remove(number);
                self.supply().await;
            }
            Event::PutBack { number, reply, .. } => {
                let name = self.name(number);
                self.shared.slots().remove(number);
                drop(reply.send(Err(lease_lost(name.as_deref()))));
                self.supply().await;
            }
            Event::Connected(Ok(connection)) => {
                tracing::info!(server = %self.shared.server, "connected again");
                self.holder = Holder::Up(connection);
                // What could not be dropped while the server was away can be now.
                self.refused.clear();
                self.claim_template_again().await;
                self.supply().await;
            }
            Event::Connected(Err(error)) => {
                let pause = match &self.holder {
                    Holder::Down { pause, .. } => (*pause * 2).min(Duration::from_secs(1)),
                    _ => TICK,
                };
                self.holder = Holder::Down { error, again: Instant::now() + pause, pause };
            }
        }
    }

    /// Does work in a task of its own, whose end is reported whether it returns, panics, or hangs.
    fn work<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
        event: impl FnOnce(Result<T, Error>) -> Event<D> + Send + 'static,
    ) {
        self.at_work += 1;
        let reports = self.reports.clone();
        let task = runtime::spawn(async move {
            tokio::time::timeout(LONGEST_WORK, work).await.unwrap_or_else(|_| Err(took_too_long()))
        });
        let report = async move {
            let result = match task {
                Ok(task) => task.await.unwrap_or_else(|panic| {
                    Err(Error::new(ErrorKind::Database, "freshdb's own work panicked").because(panic))
                }),
                Err(error) => Err(error),
            };
            drop(reports.send(event(result)));
        };
        drop(tokio::spawn(report));
    }

    fn name(&self, number: u64) -> Option<Arc<str>> {
        self.shared.slots().name(number)
    }

    /// Those who closed the pool while leases are out do not wait for these.
    fn report_closed(&mut self) {
        let slots = self.shared.slots();
        let waits_for_leases = !slots.is_empty() && slots.only_leases();
        drop(slots);
        if self.at_work == 0 && waits_for_leases {
            for (reply, verdict) in self.closing.drain(..) {
                drop(reply.send(verdict));
            }
        }
    }
}

fn took_too_long() -> Error {
    Error::new(ErrorKind::Database, format!("freshdb's own work was not done after {} s", LONGEST_WORK.as_secs()))
}

fn leases_out(out: &[String]) -> Error {
    let fact = format!("the pool was closed while {} of its databases were leased\n  {}", out.len(), out.join("\n  "));
    Error::new(ErrorKind::Config, fact).hint("give back the leases of a pool before it is closed")
}
