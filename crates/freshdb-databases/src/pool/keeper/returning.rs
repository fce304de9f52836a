//! What becomes of a slot whose lease has ended.

use super::holder::{Holder, bounded, lease_lost};
use super::{Event, Keeper, LONGEST_WORK, Reply, took_too_long};
use crate::dialect::{Dialect, Outcome, REGISTRY, Reset, explain};
use crate::pool::report::ResetReport;
use crate::pool::slots::{Fate, Life};
use crate::registry::Registry;
use crate::{Error, gc, runtime};

impl<D: Dialect> Keeper<D> {
    pub(super) async fn take_back(&mut self, number: u64, fate: Fate, reply: Reply) {
        let (life, name) = {
            let slots = self.shared.slots();
            (slots.life(number), slots.name(number))
        };
        let slot = self.slots.remove(&number);
        let (Some(Life::Leased { held: true, .. } | Life::Returned { held: true }), Some(slot), Some(name)) =
            (life, slot, &name)
        else {
            self.shared.slots().remove(number);
            drop(reply.send(Err(lease_lost(name.as_deref()))));
            return self.supply().await;
        };
        match fate {
            Fate::Reset { staying } => {
                self.shared.slots().set(number, Life::Resetting);
                self.put_back(number, slot, staying, reply);
            }
            Fate::Keep(note) => {
                self.shared.slots().set(number, Life::Leaving);
                D::close(slot).await;
                let kept = self.keep(name, &note).await;
                self.shared.slots().remove(number);
                drop(reply.send(kept));
                self.supply().await;
            }
        }
    }

    pub(super) fn put_back(&mut self, number: u64, mut slot: D::Slot, staying: Vec<u64>, reply: Reply) {
        let (template, generation, reports) = (self.template.clone(), self.generation, self.reports.clone());
        self.at_work += 1;
        if staying.is_empty() {
            self.visited.remove(&number)
        } else {
            self.visited.insert(number)
        };
        let work = runtime::spawn(async move {
            let result = D::reset(&mut slot, &template, &staying);
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

    pub(super) async fn judge_reset(&mut self, number: u64, slot: D::Slot, result: Result<Reset, Error>, reply: Reply) {
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

    /// The lease ends, and the database stays, with a note.
    pub(super) async fn keep(&mut self, name: &str, note: &str) -> Result<ResetReport, Error> {
        let Holder::Up(connection) = &mut self.holder else { return Err(lease_lost(Some(name))) };
        let written = bounded(Registry::set_kept::<D>(connection, name, note)).await;
        let failed = |error| explain::<D>(format!("cannot write down that `{name}` is kept"), error);
        written.map_err(failed)?;
        bounded(D::unlock(connection, name)).await.map_err(failed)?;
        // Of those only the newest stay, however many tests fail. A private server is gone soon, and all of them with it.
        if !self.shared.owner.is_throwaway() {
            gc::collect_in_background::<D>(&self.shared.administration, self.names.checkout());
        }
        Ok(ResetReport::kept(name))
    }

    /// A slot is as its template: the next lease can have it.
    pub(super) async fn put(&mut self, number: u64, slot: D::Slot) {
        self.slots.insert(number, slot);
        if self.is_closed {
            self.let_go(number).await;
        } else {
            self.shared.put(number);
        }
    }

    /// Leaves a slot, pristine as it is, to whoever wants it next. Where somebody stays connected it is not said that it is: whoever finds it
    /// ends that session, and looks.
    pub(super) async fn let_go(&mut self, number: u64) {
        if let Some(slot) = self.slots.remove(&number) {
            D::close(slot).await;
        }
        let name = self.name(number);
        if let (Holder::Up(connection), Some(name)) = (&mut self.holder, name) {
            let written = if self.visited.remove(&number) {
                Ok(())
            } else {
                bounded(Registry::set_pristine::<D>(connection, &name)).await
            };
            let unlocked = bounded(D::unlock(connection, &name)).await;
            self.judge("let go of a database", written.and(unlocked));
        }
        self.shared.slots().remove(number);
    }

    /// Drops a database that is not as its template.
    pub(super) fn throw_away(&mut self, number: u64, slot: Option<D::Slot>) {
        self.visited.remove(&number);
        self.shared.slots().set(number, Life::Leaving);
        let Some(name) = self.name(number) else { return };
        let (server, generation) = (self.shared.administration.clone(), self.generation);
        self.work(
            async move {
                if let Some(slot) = slot {
                    D::close(slot).await;
                }
                let failed = |error| explain::<D>(format!("cannot drop `{name}`"), error);
                // Not the registry's own way: where there are no books any more, as in a directory that went with its run, that
                // would open new ones, which stay.
                let mut connection = D::connect(&server, REGISTRY).await.map_err(failed)?;
                D::drop(&mut connection, &name).await.map_err(failed)
            },
            move |result| Event::Dropped { number, generation, result },
        );
    }

    pub(super) async fn forget(&mut self, number: u64, dropped: Result<(), Error>) {
        let name = self.name(number);
        self.shared.slots().remove(number);
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
}
