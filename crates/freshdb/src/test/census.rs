//! Every engine of this process, so that what is left of a test's own can be told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::SqlStr;

use super::guard;
use crate::dialect::Backend;
use crate::error::Leaks;
use crate::pool::Pool;
use crate::registry::{OpenSession, Place};

/// An engine on whatever database.
pub(crate) trait Member: Send + Sync {
    fn target(&self) -> &str;

    /// Where it was made.
    fn made_at(&self) -> Place;

    fn open_sessions(&self) -> Vec<OpenSession>;

    /// The sessions that came back inside a transaction of their own since this was asked last, and the statements that began
    /// these.
    fn take_left_open(&self) -> Vec<(OpenSession, SqlStr)>;

    /// How the server calls every connection that was ever the engine's.
    fn connections(&self) -> Vec<u64>;

    fn close(self: Arc<Self>, limit: Duration) -> BoxFuture<'static, Result<(), Leaks>>;
}

impl<DB: Backend> Member for Pool<DB> {
    fn target(&self) -> &str {
        &self.settings.target
    }

    fn made_at(&self) -> Place {
        self.settings.made_at
    }

    fn open_sessions(&self) -> Vec<OpenSession> {
        self.sessions.list().iter().map(OpenSession::of).collect()
    }

    fn take_left_open(&self) -> Vec<(OpenSession, SqlStr)> {
        self.sessions.take_left_open()
    }

    fn connections(&self) -> Vec<u64> {
        self.sessions.own()
    }

    fn close(self: Arc<Self>, limit: Duration) -> BoxFuture<'static, Result<(), Leaks>> {
        Box::pin(async move { Pool::close(&self, limit).await })
    }
}

static MEMBERS: Mutex<Vec<Weak<dyn Member>>> = Mutex::new(Vec::new());

/// An engine is made.
pub(crate) fn enter<DB: Backend>(pool: &Arc<Pool<DB>>) {
    let member: Weak<dyn Member> = Arc::downgrade(pool) as _;
    let mut members = members();
    members.retain(|member| member.strong_count() > 0);
    members.push(member);
}

/// The engines on this database that live.
pub(crate) fn on(database: &guard::Database) -> Vec<Arc<dyn Member>> {
    // Dropped outside of the lock: the last one to let go of an engine closes it.
    let living: Vec<Arc<dyn Member>> = members().iter().filter_map(Weak::upgrade).collect();
    living.into_iter().filter(|member| database.is(member.target())).collect()
}

/// Leaves the engines on this database to themselves: what is left of them has been told, and its next lease is another test's.
pub(crate) fn strike_off(database: &guard::Database) {
    let gone = on(database);
    members().retain(|member| !gone.iter().any(|gone| std::ptr::addr_eq(Weak::as_ptr(member), Arc::as_ptr(gone))));
}

fn members() -> MutexGuard<'static, Vec<Weak<dyn Member>>> {
    MEMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}
