//! Having slots made, or those looked after that others left behind.

use super::holder::{Holder, bounded};
use super::{Event, Keeper};
use crate::dialect::{Dialect, Outcome, explain};
use crate::registry::{Entry, Registry, Role, State};
use crate::{Error, ErrorKind};

impl<D: Dialect> Keeper<D> {
    /// Has slots made for those who wait.
    pub(super) async fn supply(&mut self) {
        loop {
            if self.shared.slots().missing(self.shared.limit, self.spare) == 0 {
                return;
            }
            match self.make_one().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let error = explain::<D>(format!("cannot make a database on `{}`", self.shared.server), error);
                    self.lose_if_lost(&error);
                    if error.kind() == ErrorKind::Unreachable || !self.shared.fail(error) {
                        return;
                    }
                    // Whoever else waits may have as little to hope for, and is told so now.
                }
            }
        }
    }

    /// Begins with one more slot, one that was left behind if there is any; `false` while the server is away.
    pub(super) async fn make_one(&mut self) -> Result<bool, sqlx::Error> {
        if let Some(Entry { name, state, note: memo, .. }) = self.find_left_behind().await? {
            let number = self.shared.slots().add(name.as_str().into());
            let server = self.shared.administration.clone();
            let (template, generation) = (self.template.clone(), self.generation);
            self.work(
                async move {
                    if state == State::Pristine {
                        return D::adopt(&server, &template, &name).await;
                    }
                    let mut slot = D::open(&server, &template, &name, &memo).await?;
                    match D::reset(&mut slot, &template, &[]).await?.outcome {
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
        let number = self.shared.slots().add(name.as_str().into());
        let server = self.shared.administration.clone();
        let (template, generation) = (self.template.clone(), self.generation);
        self.work(async move { D::copy(&server, &template, &name).await }, move |result| Event::Copied {
            number,
            generation,
            result,
        });
        Ok(true)
    }

    /// A database of this template that nobody held, and now this process does: its row, as it was until now.
    pub(super) async fn find_left_behind(&mut self) -> Result<Option<Entry>, sqlx::Error> {
        let Holder::Up(connection) = &mut self.holder else { return Ok(None) };
        let mut entries = bounded(Registry::of_template::<D>(connection, &self.template_name)).await?;
        entries.retain(|entry| entry.role == Role::Slot && !self.refused.contains(&entry.name));
        // What a process has locked it could lock again.
        {
            let slots = self.shared.slots();
            entries.retain(|entry| !slots.has(&entry.name));
        }
        // So that many processes do not all ask for the same one first.
        fastrand::shuffle(&mut entries);
        entries.sort_by_key(|entry| entry.state != State::Pristine);
        for entry in entries {
            let Holder::Up(connection) = &mut self.holder else { return Ok(None) };
            if !bounded(D::try_lock(connection, &entry.name)).await? {
                continue;
            }
            // It may have been dropped, or kept, before it was locked.
            match bounded(Registry::find::<D>(connection, &entry.name)).await? {
                Some(entry) if entry.role == Role::Slot && matches!(entry.state, State::Pristine | State::Ready) => {
                    if entry.state == State::Pristine {
                        // From here on it may be written to, and this process killed.
                        bounded(Registry::set_ready::<D>(connection, &entry.name)).await?;
                    }
                    return Ok(Some(entry));
                }
                Some(entry) if entry.role == Role::Slot => {
                    let number = self.shared.slots().add(entry.name.as_str().into());
                    self.throw_away(number, None);
                }
                _ => bounded(D::unlock(connection, &entry.name)).await?,
            }
        }
        Ok(None)
    }
}
