//! Who does a pool's work: holds the locks, has slots made, put back and dropped.
//!
//! A task of the process's, and the only one that has the connection which holds the locks. What takes longer than a
//! question to the server is done in tasks of its own, which report back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::report::ResetReport;
use super::shelf::{Fate, Life, Order, Shared};
use crate::dialect::{Dialect, Fault, Outcome, Reset, ServerSession, explain};
use crate::names::Names;
use crate::registry::{Registry, Role, State};
use crate::{Error, ErrorKind, runtime};

/// The pool's keeper.
pub(crate) struct Keeper<D: Dialect> {
    shared: Arc<Shared>,
    names: Names,
    template_name: String,
    template: Arc<D::Template>,
    /// The row and the lock that tell of this process.
    user: String,
    spare: usize,
    holder: Holder<D>,
    /// Counts the connections that held the locks. What was held by an earlier one is not held any more.
    generation: u64,
    slots: HashMap<u64, D::Slot>,
    /// Databases that could not be made use of, nor dropped.
    refused: HashSet<String>,
    /// Tasks that will report.
    at_work: usize,
    closing: Vec<(oneshot::Sender<Result<(), Error>>, Result<(), Error>)>,
    is_closed: bool,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::UnboundedReceiver<Event<D>>,
    reports: mpsc::UnboundedSender<Event<D>>,
}

/// The connection that holds the locks.
enum Holder<D: Dialect> {
    Up(D::Connection),
    Connecting { error: Error },
    Down { error: Error, again: Instant, pause: Duration },
}

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

/// A question to the server takes a millisecond; one that is not answered after this is taken for a dead connection.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
/// The longest piece of work: a copy of a large template on a busy machine.
const LONGEST_WORK: Duration = Duration::from_secs(300);
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
            spare,
            holder: Holder::Up(connection),
            generation: 0,
            slots: HashMap::new(),
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
        let mut pause = HEARTBEAT;
        while !(self.is_closed && self.at_work == 0 && self.shared.shelf().is_empty()) {
            tokio::select! {
                Some(order) = self.orders.recv() => self.follow(order).await,
                Some(event) = self.events.recv() => self.hear(event).await,
                () = tokio::time::sleep(pause) => self.look_around().await,
            }
            let trouble = match &self.holder {
                Holder::Up(_) => None,
                Holder::Connecting { error } | Holder::Down { error, .. } => Some(error),
            };
            let waits = self.shared.expire(trouble);
            pause = if waits || trouble.is_some() { TICK } else { HEARTBEAT };
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
            Order::Sessions { number, reply } => {
                let sessions = self.sessions_of(number).await;
                drop(reply.send(sessions));
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
        match event {
            Event::Copied { number, generation, result } if generation == self.generation => match result {
                Ok(slot) => {
                    if let Some(name) = self.name(number)
                        && let Holder::Up(connection) = &mut self.holder
                    {
                        let written = bounded(Registry::set_ready::<D>(connection, &name)).await;
                        self.judge("write down that a copy is ready", written);
                    }
                    self.put(number, slot).await;
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
            Event::Dropped { number, generation, result } if generation == self.generation => {
                self.forget(number, result).await;
                self.supply().await;
            }
            // Done for a connection that is lost: the database has no lock, and whoever finds it next sees to it.
            Event::Copied { number, .. } | Event::Checked { number, .. } | Event::Dropped { number, .. } => {
                self.shared.shelf().remove(number);
                self.supply().await;
            }
            Event::PutBack { number, reply, .. } => {
                let name = self.name(number);
                self.shared.shelf().remove(number);
                drop(reply.send(Err(lease_lost(name.as_deref()))));
                self.supply().await;
            }
            Event::Connected(Ok(connection)) => {
                tracing::info!(server = %self.shared.server, "connected again");
                self.holder = Holder::Up(connection);
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

    async fn judge_reset(&mut self, number: u64, slot: D::Slot, result: Result<Reset, Error>, reply: Reply) {
        let name = self.name(number);
        let name = name.as_deref().unwrap_or_default();
        match result {
            Ok(reset) => {
                let report = ResetReport::of(name, &reset);
                match reset.outcome {
                    Outcome::Pristine { .. } => self.put(number, slot).await,
                    Outcome::Changed(what) => {
                        tracing::debug!(database = name, "cannot be put back and is dropped: {what}");
                        self.throw_away(number, Some(slot));
                        self.supply().await;
                    }
                }
                drop(reply.send(Ok(report)));
            }
            Err(error) => {
                tracing::warn!(database = name, "could not be put back and is dropped: {error:?}");
                self.throw_away(number, Some(slot));
                self.supply().await;
                drop(reply.send(Err(error)));
            }
        }
    }

    /// Has slots made for those who wait.
    async fn supply(&mut self) {
        loop {
            if self.shared.shelf().missing(self.shared.limit, self.spare) == 0 {
                return;
            }
            match self.make_one().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let error = explain::<D>(format!("cannot make a database on `{}`", self.shared.server), error);
                    self.lose_if_lost(&error);
                    if error.kind() == ErrorKind::Unreachable {
                        return;
                    }
                    self.shared.fail(error);
                    return;
                }
            }
        }
    }

    /// Begins with one more slot, one that was left behind if there is any; `false` while the server is away.
    async fn make_one(&mut self) -> Result<bool, sqlx::Error> {
        if let Some(name) = self.find_left_behind().await? {
            let number = self.shared.shelf().add(name.as_str().into());
            let (server, template, generation) = (self.shared.server.clone(), self.template.clone(), self.generation);
            self.work(
                async move {
                    let mut slot = D::open(&server, &template, &name).await?;
                    match D::reset(&mut slot, &template).await?.outcome {
                        Outcome::Pristine { .. } => Ok(slot),
                        Outcome::Changed(what) => {
                            D::close(slot).await;
                            Err(Error::new(ErrorKind::Database, format!("`{name}` was changed: {what}")))
                        }
                    }
                },
                move |result| Event::Checked { number, generation, result },
            );
            return Ok(true);
        }
        let Holder::Up(connection) = &mut self.holder else { return Ok(false) };
        let name = self.names.new_slot();
        if bounded(D::exists(connection, &name)).await? || !bounded(D::try_lock(connection, &name)).await? {
            // Somebody's, by a chance of one in a million billions.
            return Ok(true);
        }
        let entry = self.names.entry(&name, Role::Slot, State::Making, &self.template_name);
        bounded(Registry::insert::<D>(connection, &entry)).await?;
        let number = self.shared.shelf().add(name.as_str().into());
        let (server, template, generation) = (self.shared.server.clone(), self.template.clone(), self.generation);
        self.work(async move { D::copy(&server, &template, &name).await }, move |result| Event::Copied {
            number,
            generation,
            result,
        });
        Ok(true)
    }

    /// A database of this template that nobody holds, and now this process.
    async fn find_left_behind(&mut self) -> Result<Option<String>, sqlx::Error> {
        let Holder::Up(connection) = &mut self.holder else { return Ok(None) };
        let mut entries = bounded(Registry::of_template::<D>(connection, &self.template_name)).await?;
        entries.retain(|entry| entry.role == Role::Slot && !self.refused.contains(&entry.name));
        // What a process has locked it could lock again.
        {
            let shelf = self.shared.shelf();
            entries.retain(|entry| !shelf.has(&entry.name));
        }
        // So that many processes do not all ask for the same one first.
        fastrand::shuffle(&mut entries);
        for entry in entries {
            let Holder::Up(connection) = &mut self.holder else { return Ok(None) };
            if !bounded(D::try_lock(connection, &entry.name)).await? {
                continue;
            }
            // It may have been dropped, or kept, before it was locked.
            match bounded(Registry::find::<D>(connection, &entry.name)).await? {
                Some(entry) if entry.role == Role::Slot && entry.state == State::Ready => return Ok(Some(entry.name)),
                Some(entry) if entry.role == Role::Slot => {
                    let number = self.shared.shelf().add(entry.name.as_str().into());
                    self.throw_away(number, None);
                }
                _ => bounded(D::unlock(connection, &entry.name)).await?,
            }
        }
        Ok(None)
    }

    async fn take_back(&mut self, number: u64, fate: Fate, reply: Reply) {
        let (life, name) = {
            let shelf = self.shared.shelf();
            (shelf.life(number), shelf.name(number))
        };
        let slot = self.slots.remove(&number);
        let (Some(Life::Leased { held: true, .. }), Some(slot), Some(name)) = (life, slot, &name) else {
            self.shared.shelf().remove(number);
            drop(reply.send(Err(lease_lost(name.as_deref()))));
            return self.supply().await;
        };
        match fate {
            Fate::Reset => {
                self.shared.shelf().set(number, Life::Resetting);
                self.put_back(number, slot, reply);
            }
            Fate::Keep(note) => {
                self.shared.shelf().set(number, Life::Leaving);
                D::close(slot).await;
                let kept = self.keep(name, &note).await;
                self.shared.shelf().remove(number);
                drop(reply.send(kept));
                self.supply().await;
            }
        }
    }

    fn put_back(&mut self, number: u64, mut slot: D::Slot, reply: Reply) {
        let (template, generation, reports) = (self.template.clone(), self.generation, self.reports.clone());
        self.at_work += 1;
        let work = runtime::spawn(async move {
            let result = D::reset(&mut slot, &template);
            let result = tokio::time::timeout(LONGEST_WORK, result).await.unwrap_or_else(|_| Err(took_too_long()));
            (slot, result)
        });
        let report = async move {
            let done = match work {
                Ok(task) => task.await.ok(),
                Err(_) => None,
            };
            drop(reports.send(Event::PutBack { number, generation, done, reply }));
        };
        // The runtime is there: this very task runs on it.
        drop(tokio::spawn(report));
    }

    /// The lease ends, and the database stays, with a note.
    async fn keep(&mut self, name: &str, note: &str) -> Result<ResetReport, Error> {
        let Holder::Up(connection) = &mut self.holder else { return Err(lease_lost(Some(name))) };
        let written = bounded(Registry::set_kept::<D>(connection, name, note)).await;
        let failed = |error| explain::<D>(format!("cannot write down that `{name}` is kept"), error);
        written.map_err(failed)?;
        bounded(D::unlock(connection, name)).await.map_err(failed)?;
        Ok(ResetReport::kept(name))
    }

    /// A slot is as its template: the next lease can have it.
    async fn put(&mut self, number: u64, slot: D::Slot) {
        self.slots.insert(number, slot);
        if self.is_closed {
            self.let_go(number).await;
        } else {
            self.shared.put(number);
        }
    }

    /// Leaves a slot, pristine as it is, to whoever wants it next.
    async fn let_go(&mut self, number: u64) {
        if let Some(slot) = self.slots.remove(&number) {
            D::close(slot).await;
        }
        let name = self.name(number);
        if let (Holder::Up(connection), Some(name)) = (&mut self.holder, name) {
            let unlocked = bounded(D::unlock(connection, &name)).await;
            self.judge("give back a lock", unlocked);
        }
        self.shared.shelf().remove(number);
    }

    /// Drops a database that is not as its template.
    fn throw_away(&mut self, number: u64, slot: Option<D::Slot>) {
        self.shared.shelf().set(number, Life::Leaving);
        let Some(name) = self.name(number) else { return };
        let (server, generation) = (self.shared.server.clone(), self.generation);
        self.work(
            async move {
                if let Some(slot) = slot {
                    D::close(slot).await;
                }
                let failed = |error| explain::<D>(format!("cannot drop `{name}`"), error);
                let mut connection = Registry::connect::<D>(&server).await?;
                D::drop(&mut connection, &name).await.map_err(failed)
            },
            move |result| Event::Dropped { number, generation, result },
        );
    }

    async fn forget(&mut self, number: u64, dropped: Result<(), Error>) {
        let name = self.name(number);
        self.shared.shelf().remove(number);
        let Some(name) = name else { return };
        let Holder::Up(connection) = &mut self.holder else { return };
        let removed = match dropped {
            Ok(()) => bounded(Registry::remove::<D>(connection, &name)).await,
            Err(error) => {
                tracing::warn!("{error:?}");
                self.refused.insert(name.to_string());
                Ok(())
            }
        };
        let unlocked = bounded(D::unlock(connection, &name)).await;
        self.judge("write down that a database was dropped", removed.and(unlocked));
    }

    async fn sessions_of(&mut self, number: u64) -> Result<Vec<ServerSession>, Error> {
        let name = self.name(number);
        let Holder::Up(connection) = &mut self.holder else { return Err(lease_lost(name.as_deref())) };
        let sessions = bounded(D::sessions(connection)).await;
        let mut sessions = match sessions {
            Ok(sessions) => sessions,
            Err(error) => {
                let error = explain::<D>(format!("cannot ask who is connected to `{}`", self.shared.server), error);
                self.lose_if_lost(&error);
                return Err(error);
            }
        };
        sessions.retain(|session| session.database.as_deref() == name.as_deref());
        Ok(sessions)
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

    /// Whether the locks are still held; and another try to get to a server that was away.
    async fn look_around(&mut self) {
        match &mut self.holder {
            Holder::Up(connection) => {
                let answer = bounded(D::execute(connection, "SELECT 1")).await;
                self.judge("reach the server", answer);
            }
            Holder::Connecting { .. } => {}
            Holder::Down { error, again, .. } if *again <= Instant::now() => {
                let error = std::mem::replace(error, Error::new(ErrorKind::Unreachable, "the server is away"));
                self.holder = Holder::Connecting { error };
                let (server, reports) = (self.shared.server.clone(), self.reports.clone());
                drop(tokio::spawn(async move {
                    let connected = tokio::time::timeout(LONGEST_ANSWER, Registry::connect::<D>(&server)).await;
                    drop(reports.send(Event::Connected(connected.unwrap_or_else(|_| Err(took_too_long())))));
                }));
            }
            Holder::Down { .. } => {}
        }
    }

    fn judge(&mut self, doing: &str, result: Result<(), sqlx::Error>) {
        if let Err(error) = result {
            let error = explain::<D>(format!("cannot {doing} on `{}`", self.shared.server), error);
            tracing::warn!("{error:?}");
            self.lose_if_lost(&error);
        }
    }

    /// With the connection went all locks. Databases that were ready are anybody's; those that are leased are told so when
    /// they come back.
    fn lose_if_lost(&mut self, error: &Error) {
        if !matches!(self.holder, Holder::Up(_))
            || !error.driver_error().is_some_and(|cause| D::fault(cause) == Fault::Lost)
        {
            return;
        }
        tracing::warn!(server = %self.shared.server, "lost the connection that holds the leases");
        self.generation += 1;
        let error = Error::new(ErrorKind::Unreachable, error.to_string());
        self.holder = Holder::Down { error, again: Instant::now(), pause: TICK };
        for number in self.shared.shelf().lose_all() {
            if let Some(slot) = self.slots.remove(&number) {
                drop(tokio::spawn(D::close(slot)));
            }
        }
    }

    async fn claim_template_again(&mut self) {
        let Holder::Up(connection) = &mut self.holder else { return };
        let locked = bounded(D::try_lock(connection, &self.user)).await.map(|_| ());
        self.judge("take its lock again", locked);
    }

    fn name(&self, number: u64) -> Option<Arc<str>> {
        self.shared.shelf().name(number)
    }

    /// Those who closed the pool while leases are out do not wait for these.
    fn report_closed(&mut self) {
        let shelf = self.shared.shelf();
        let waits_for_leases = !shelf.is_empty() && shelf.only_leases();
        drop(shelf);
        if self.at_work == 0 && waits_for_leases {
            for (reply, verdict) in self.closing.drain(..) {
                drop(reply.send(verdict));
            }
        }
    }
}

async fn bounded<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(LONGEST_ANSWER, answer).await.unwrap_or_else(|_| {
        let fact = format!("no answer after {} s", LONGEST_ANSWER.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, fact)))
    })
}

fn took_too_long() -> Error {
    Error::new(ErrorKind::Database, format!("freshdb's own work was not done after {} s", LONGEST_WORK.as_secs()))
}

fn lease_lost(name: Option<&str>) -> Error {
    let name = name.unwrap_or("unknown");
    Error::new(
        ErrorKind::Unreachable,
        format!("the lease of `{name}` ended before it was given back: the connection that held its lock was lost"),
    )
    .hint("the server was restarted, or ended the connection; what was done in that database may have been undone")
}

fn leases_out(out: &[String]) -> Error {
    let fact = format!("the pool was closed while {} of its databases were leased\n  {}", out.len(), out.join("\n  "));
    Error::new(ErrorKind::Config, fact).hint("give back the leases of a pool before it is closed")
}
