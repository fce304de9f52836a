//! The connection that holds the locks: asked, lost, and made anew.

use std::time::{Duration, Instant};

use super::{Event, Keeper, TICK, took_too_long};
use crate::dialect::{Dialect, Fault, ServerSession, explain};
use crate::pool::slots::Life;
use crate::registry::{Registry, Role, State};
use crate::{Error, ErrorKind};

/// The connection that holds the locks.
pub(super) enum Holder<D: Dialect> {
    Up(D::Connection),
    Connecting { error: Error },
    Down { error: Error, again: Instant, pause: Duration },
}

/// A question to the server takes a millisecond; one that is not answered after this is taken for a dead connection.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

impl<D: Dialect> Keeper<D> {
    /// Whether the locks are still held; and another try to get to a server that was away.
    pub(super) async fn look_around(&mut self) {
        match &mut self.holder {
            Holder::Up(connection) => {
                let answer = bounded(D::execute(connection, "SELECT 1")).await;
                self.judge("reach the server", answer);
                if !self.is_user {
                    self.claim_template_again().await;
                }
            }
            Holder::Down { error, again, .. } if *again <= Instant::now() => {
                let error = std::mem::replace(error, Error::new(ErrorKind::Unreachable, "the server is away"));
                self.holder = Holder::Connecting { error };
                let (server, reports) = (self.shared.administration.clone(), self.reports.clone());
                drop(tokio::spawn(async move {
                    let connected = tokio::time::timeout(LONGEST_ANSWER, Registry::connect::<D>(&server)).await;
                    drop(reports.send(Event::Connected(connected.unwrap_or_else(|_| Err(took_too_long())))));
                }));
            }
            Holder::Connecting { .. } | Holder::Down { .. } => {}
        }
    }

    pub(super) fn judge(&mut self, doing: &str, result: Result<(), sqlx::Error>) {
        if let Err(error) = result {
            let error = explain::<D>(format!("cannot {doing} on `{}`", self.shared.server), error);
            // A server that ends with its last pool is no news.
            if self.is_closed {
                tracing::debug!("{error:?}");
            } else {
                tracing::warn!("{error:?}");
            }
            self.lose_if_lost(&error);
        }
    }

    /// With the connection went all locks. Databases that were ready are anybody's; those that are leased are told so when
    /// they come back.
    pub(super) fn lose_if_lost(&mut self, error: &Error) {
        if !matches!(self.holder, Holder::Up(_))
            || !error.driver_error().is_some_and(|cause| D::fault(cause) == Fault::Lost)
        {
            return;
        }
        if !self.is_closed {
            tracing::warn!(server = %self.shared.server, "lost the connection that holds the leases");
        }
        self.generation += 1;
        let error = Error::new(ErrorKind::Unreachable, error.to_string());
        self.holder = Holder::Down { error, again: Instant::now(), pause: TICK };
        for number in self.shared.slots().lose_all() {
            if let Some(slot) = self.slots.remove(&number) {
                drop(tokio::spawn(D::close(slot)));
            }
        }
    }

    pub(super) async fn claim_template_again(&mut self) {
        let Holder::Up(connection) = &mut self.holder else { return };
        let entry = self.names.entry(&self.user, Role::User, State::Ready, &self.template_name);
        let claimed = async {
            let is_user = D::try_lock(connection, &self.user).await?;
            // Whoever collected what is unused meanwhile took the row for a dead process's.
            if Registry::find::<D>(connection, &self.user).await?.is_none() {
                Registry::insert::<D>(connection, &entry).await?;
            }
            Ok(is_user)
        };
        let claimed = bounded(claimed).await;
        self.is_user = matches!(claimed, Ok(true));
        self.judge("claim the template again", claimed.map(drop));
    }

    pub(super) async fn retire_template(&mut self) -> Result<(), Error> {
        let fact = || format!("cannot retire the template `{}` on `{}`", self.template_name, self.shared.server);
        let Holder::Up(connection) = &mut self.holder else {
            return Err(Error::new(ErrorKind::Unreachable, fact()).hint("try again when the server is back"));
        };
        let retired = bounded(Registry::retire::<D>(connection, &self.template_name)).await;
        let retired = retired.map_err(|error| explain::<D>(fact(), error));
        if let Err(error) = &retired {
            self.lose_if_lost(error);
        }
        retired
    }

    pub(super) async fn sessions_of(&mut self, number: u64, known: &[u64]) -> Result<Vec<ServerSession>, Error> {
        let (life, name) = {
            let slots = self.shared.slots();
            (slots.life(number), slots.name(number))
        };
        // Somebody else may have it by now.
        let (Holder::Up(connection), Some(Life::Leased { held: true, .. }), Some(database)) =
            (&mut self.holder, life, &name)
        else {
            return Err(lease_lost(name.as_deref()));
        };
        let sessions = bounded(D::sessions(connection, database, known)).await;
        sessions.map_err(|error| {
            let error = explain::<D>(format!("cannot ask who is connected to `{database}`"), error);
            self.lose_if_lost(&error);
            error
        })
    }
}

pub(super) async fn bounded<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(LONGEST_ANSWER, answer).await.unwrap_or_else(|_| {
        let fact = format!("no answer after {} s", LONGEST_ANSWER.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, fact)))
    })
}

pub(super) fn lease_lost(name: Option<&str>) -> Error {
    let name = name.unwrap_or("unknown");
    Error::new(
        ErrorKind::Unreachable,
        format!("the lease of `{name}` ended before it was given back: the connection that held its lock was lost"),
    )
    .hint("the server was restarted, or ended the connection; what was done in that database may have been undone")
}
