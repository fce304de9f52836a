//! A session: a connection that is checked out.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use sqlx::SqlSafeStr;

use crate::dialect::Dialect;
use crate::engine::{Beginning, Engine};
use crate::error::Error;
use crate::executor::executes;
use crate::lease::Lease;
use crate::retry::{self, HasVerdict};
use crate::tx::Tx;

#[doc = include_str!("docs/session.md")]
pub struct Session<DB: Dialect> {
    lease: Lease<DB>,
}

impl<DB: Dialect> Session<DB> {
    pub(crate) fn of(lease: Lease<DB>) -> Self {
        Self { lease }
    }

    pub(crate) fn lease(&mut self) -> &mut Lease<DB> {
        &mut self.lease
    }

    /// Begins a transaction, which has the session from then on: its end gives it back. On SQLite it is one that may
    /// write, and waits in a fair queue for the one before it; [`Engine::begin`] waits without a connection, where one is free.
    ///
    /// # Errors
    ///
    /// If it cannot begin; the session is gone then.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped, there is no transaction. The connection is ended on the server.
    pub async fn begin(self) -> Result<Tx<DB>, Error> {
        let mut lease = self.lease;
        lease.begin_transaction(Beginning::Default).await?;
        Ok(Tx::of(lease))
    }

    /// As [`Self::begin`], with a statement of your own, such as `BEGIN ISOLATION LEVEL SERIALIZABLE`. It waits in no queue.
    ///
    /// # Errors
    ///
    /// As [`Self::begin`].
    ///
    /// # Cancellation
    ///
    /// As [`Self::begin`].
    pub async fn begin_with(self, statement: impl SqlSafeStr) -> Result<Tx<DB>, Error> {
        let mut lease = self.lease;
        lease.begin_transaction(Beginning::Statement(statement.into_sql_str())).await?;
        Ok(Tx::of(lease))
    }

    /// Runs `work`, which only reads, and runs it again on another session where the connection turns out dead.
    ///
    /// # Errors
    ///
    /// What `work` gives; or there was no other session to be had.
    ///
    /// # Cancellation
    ///
    /// As that of `work`.
    pub async fn run<T, E, Work>(self, work: impl FnMut(Self) -> Work) -> Result<T, E>
    where
        Work: Future<Output = Result<T, E>>,
        E: From<Error> + HasVerdict,
    {
        let (engine, place) = (self.engine(), self.lease.place());
        retry::run(self, || engine.session_at(place), |verdict| engine.met(verdict), work).await
    }

    /// How the server calls this connection: `CONNECTION_ID()`, `pg_backend_pid()`. An embedded database has no server.
    pub fn connection_id(&self) -> Option<u64> {
        self.lease.id()
    }

    /// Says what it is for: reports of sessions that are open say so too.
    pub fn label(&self, label: impl std::fmt::Display + Send + Sync + 'static) {
        self.lease.label(std::sync::Arc::new(label));
    }

    /// Where it was opened.
    pub fn place(&self) -> &'static Location<'static> {
        self.lease.place()
    }

    /// The engine that it comes from.
    pub fn engine(&self) -> Engine<DB> {
        Engine::of(self.lease.pool().clone())
    }
}

/// The driver's connection. What is executed on it by way of `&mut *session` is out of the session's sight: it is looked
/// into when the session ends.
impl<DB: Dialect> Deref for Session<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.lease.connection()
    }
}

impl<DB: Dialect> DerefMut for Session<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.lease.lend()
    }
}

executes!(Session<DB>);

impl<DB: Dialect> fmt::Debug for Session<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Session").field(&self.lease).finish()
    }
}
