//! The end of an engine, and of its connections.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, SqlSafeStr as _};
use tokio::sync::oneshot;

use super::connections::Pool;
use crate::conduct::LastStatement;
use crate::dialect::{Activity, Backend, Interrupt};
use crate::error::Leaks;
use crate::lease::{Live, bounded};
use crate::registry::OpenSession;
use crate::runtime::within;
use crate::words::words;

/// How long a connection may take to close in order.
pub(super) const CLOSE: Duration = Duration::from_secs(1);

/// What is left for a report, and for ending the sessions that leaked, when the time to close is over.
pub(super) const REPORT: Duration = Duration::from_millis(100);

/// So long before the time to close is over, the connection is made over which the server is told to end sessions.
const PREPARATION: Duration = Duration::from_millis(900);

/// How long the server may take to end the sessions that leaked. Nobody waits for it; and a server that is dropping the
/// database lets nobody in for as long as that takes, which on PostgreSQL is five seconds.
const END: Duration = Duration::from_secs(30);

impl<DB: Backend> Pool<DB> {
    /// Takes no new sessions, waits until those that are open have come back, and closes every connection.
    pub(crate) async fn close(self: &Arc<Self>, limit: Duration) -> Result<(), Leaks> {
        let started = Instant::now();
        let idle = {
            let mut idle = self.idle();
            idle.closed = true;
            std::mem::take(&mut idle.connections)
        };
        self.slots.close();
        self.returned.notify_waiters();
        self.ended.notify_one();
        if let Some(writers) = &self.writers {
            writers.close();
        }
        let (all_closed, closed) = oneshot::channel::<()>();
        #[cfg(feature = "test")]
        let reuse = self.settings.reuse.clone();
        self.spawn(async move {
            #[cfg(feature = "test")]
            let idle = match reuse {
                Some(reuse) => reuse.keep(idle).await,
                None => idle,
            };
            join_all(idle.into_iter().map(close)).await;
            drop(all_closed);
        });

        let mut all_back = within(limit.saturating_sub(PREPARATION), self.all_slots_free()).await;
        let (ready, prepared) = oneshot::channel::<()>();
        if all_back.is_some() {
            drop(ready);
        } else {
            self.prepare_control(ready);
            all_back = within(limit.saturating_sub(started.elapsed()), self.all_slots_free()).await;
        }
        let leaks = if all_back.is_none() { self.end_sessions().await } else { Vec::new() };
        // The channel ends when the task does, or its runtime.
        let rest = limit.saturating_sub(started.elapsed()).max(REPORT / 2);
        let pool = self.clone();
        let (all_let_go, let_go) = oneshot::channel::<()>();
        self.spawn(async move {
            drop(prepared.await);
            let (control, anchor) = (pool.control.lock().await.take(), pool.anchor.lock().await.take());
            let rest = control.map(|(connection, _)| connection).into_iter().chain(anchor);
            join_all(rest.map(close_connection::<DB>)).await;
            drop(all_let_go);
        });
        within(rest, async { (closed.await, let_go.await) }).await;
        if leaks.is_empty() {
            return Ok(());
        }
        Err(Leaks { target: self.settings.target.clone(), waited: limit, sessions: leaks })
    }

    async fn all_slots_free(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.slots.available_permits() >= self.settings.max_connections as usize {
                return;
            }
            freed.await;
        }
    }

    /// What is still open, with what the server knows of it, which is told to end it.
    async fn end_sessions(self: &Arc<Self>) -> Vec<OpenSession> {
        let open = self.sessions.list();
        open.iter().filter_map(|session| session.interrupt.as_ref()).for_each(Interrupt::set);
        let mut sessions: Vec<OpenSession> = open.iter().map(OpenSession::of).collect();
        let ids: Vec<u64> = open.iter().filter(|session| !session.ended).filter_map(|session| session.id).collect();
        if ids.is_empty() {
            return sessions;
        }
        let (answer, answered) = oneshot::channel();
        let (all_told, told) = oneshot::channel::<()>();
        let pool = self.clone();
        self.spawn(async move {
            let asking = pool.with_control(async |connection| DB::activity(connection, &ids).await);
            match bounded(REPORT, asking).await {
                // Nobody waits any more for an answer that came late.
                Ok(activity) => drop(answer.send(activity)),
                Err(error) => tracing::debug!(%error, "the server did not say what the open sessions do"),
            }
            let ending = pool.with_control(async |connection| {
                for id in &ids {
                    DB::cancel(connection, *id).await?;
                }
                Ok(())
            });
            match bounded(END, ending).await {
                Ok(()) => pool.sessions.note_ended(&ids),
                Err(error) => {
                    tracing::warn!(?ids, error = %words(&error), "the open sessions could not be ended on the server");
                }
            }
            drop(all_told);
            // The one who closes may have looked for it before.
            pool.close_control().await;
        });
        let mut activities = Vec::new();
        // What comes after the report, such as a DROP DATABASE, must not find them open if that can be helped.
        within(REPORT, async {
            activities = answered.await.unwrap_or_default();
            told.await
        })
        .await;
        for session in &mut sessions {
            complete(session, &activities);
        }
        sessions
    }
}

fn complete(session: &mut OpenSession, activities: &[Activity]) {
    let Some(activity) = activities.iter().find(|activity| Some(activity.id) == session.connection_id) else { return };
    session.state.clone_from(&activity.state);
    // What the session saw itself is what the user wrote, and not what the engine asked.
    if matches!(session.last_statement, LastStatement::Unseen)
        && let Some(statement) = &activity.statement
    {
        session.last_statement = LastStatement::Seen(AssertSqlSafe(statement.as_str()).into_sql_str());
    }
}

/// Closes a connection in order, so that the server writes no complaint into its log.
pub(crate) async fn close<DB: Backend>(live: Live<DB>) {
    close_connection::<DB>(live.connection).await;
}

/// As [`close`], for one that was never handed out.
pub(super) async fn close_connection<DB: Backend>(connection: DB::Connection) {
    match within(CLOSE, DB::close(connection)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "a connection closed badly"),
        None => tracing::debug!(limit = ?CLOSE, "a connection did not close in time"),
    }
}

impl<DB: Backend> Drop for Pool<DB> {
    fn drop(&mut self) {
        self.ended.notify_one();
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        let connections = std::mem::take(&mut idle.connections);
        let control = self.control.get_mut().take().map(|(connection, _)| connection);
        let anchor = self.anchor.get_mut().take();
        let all = connections.into_iter().map(|live| live.connection).chain(control).chain(anchor);
        let closing: Vec<_> = all.map(close_connection::<DB>).collect();
        if !closing.is_empty() {
            self.spawn(async move { drop(join_all(closing).await) });
        }
    }
}
