//! A session: a connection that is checked out.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use sqlx::{SqlSafeStr, SqlStr};

use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::error::Error;
use crate::executor::executes;
use crate::lease::Lease;
use crate::retry::{Attempts, HasVerdict};
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
    /// write, and waits in a fair queue for the one before it; [`Engine::begin`] waits without a connection.
    ///
    /// # Errors
    ///
    /// If it cannot begin; the session is gone then.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped, there is no transaction. The connection is ended on the server.
    pub async fn begin(self) -> Result<Tx<DB>, Error> {
        let writer = self.lease.pool().writer().await?;
        let mut lease = self.lease;
        lease.keep_writer(writer);
        begin(lease, None).await
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
        let statement = statement.into_sql_str();
        begin(self.lease, Some(statement)).await
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
    pub async fn run<T, E, Work>(self, mut work: impl FnMut(Self) -> Work) -> Result<T, E>
    where
        Work: Future<Output = Result<T, E>>,
        E: From<Error> + HasVerdict,
    {
        let (engine, place) = (self.engine(), self.lease.place());
        let mut attempts = Attempts::new();
        let mut next = Ok(self);
        loop {
            let error = match next {
                Ok(session) => match work(session).await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                },
                Err(error) => E::from(error),
            };
            if !attempts.go_on(&engine, error.verdict()).await {
                return Err(error);
            }
            next = engine.session_at(place).await;
        }
    }

    /// How the server calls this connection: `CONNECTION_ID()`, `pg_backend_pid()`. An embedded database has no server.
    pub fn connection_id(&self) -> Option<u64> {
        self.lease.id()
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

async fn begin<DB: Dialect>(mut lease: Lease<DB>, statement: Option<SqlStr>) -> Result<Tx<DB>, Error> {
    match lease.begin(statement).await {
        Ok(()) => Ok(Tx::of(lease)),
        Err(error) => Err(Error::statement("begin a transaction", error)),
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
