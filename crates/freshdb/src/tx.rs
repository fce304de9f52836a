//! A transaction, and savepoints inside of one.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use crate::dialect::Dialect;
use crate::engine::{Beginning, Engine};
use crate::error::Error;
use crate::executor::executes;
use crate::lease::Lease;
use crate::retry::{self, HasVerdict};
use crate::session::Session;

#[doc = include_str!("docs/tx.md")]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Tx<DB: Dialect> {
    lease: Lease<DB>,
}

/// The level of a transaction that is in no other.
const OUTERMOST: usize = 1;

impl<DB: Dialect> Tx<DB> {
    pub(crate) fn of(lease: Lease<DB>) -> Self {
        Self { lease }
    }

    pub(crate) fn lease(&mut self) -> &mut Lease<DB> {
        &mut self.lease
    }

    /// Commits, and gives the session back.
    ///
    /// # Errors
    ///
    /// If a statement had failed before in such a way that the database has rolled the transaction back: PostgreSQL does
    /// that at any error, MySQL and MariaDB at a deadlock, and answer COMMIT as if nothing had happened. If a statement had ended it
    /// without an error, as DDL does on MySQL and MariaDB. If the database refuses. If the connection is lost, the transaction may have
    /// been committed or not, and [`Error::is_in_doubt`].
    ///
    /// # Cancellation
    ///
    /// Dropped before its end, the transaction is either committed or rolled back.
    pub async fn commit(mut self) -> Result<Session<DB>, Error> {
        match self.lease.commit(OUTERMOST).await {
            Ok(()) => Ok(Session::of(self.lease)),
            Err(error) => Err(Error::statement("commit a transaction", error)),
        }
    }

    /// Rolls back, and gives the session back.
    ///
    /// # Errors
    ///
    /// If the connection is lost. The transaction is rolled back in any case, unless a statement had ended it, as DDL does on MySQL and
    /// MariaDB: that is an error too.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped before its end, the transaction is rolled back all the same.
    pub async fn rollback(mut self) -> Result<Session<DB>, Error> {
        match self.lease.roll_back(OUTERMOST).await {
            Ok(()) => Ok(Session::of(self.lease)),
            Err(error) => Err(Error::statement("roll a transaction back", error)),
        }
    }

    /// Sets a savepoint.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    ///
    /// # Cancellation
    ///
    /// Dropped before its end, the transaction is good for nothing but to be dropped.
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_, DB>, Error> {
        Savepoint::set(&mut self.lease).await
    }

    /// Runs `work`, which commits the transaction that it is given, and runs it again from the start in a new transaction
    /// where it lost against another one or the connection turned out dead. The new one begins as this one did, by the same statement.
    ///
    /// `work` must be such that twice is as good as once: a connection may be lost while the COMMIT is under way. It is
    /// run twelve times at the most, with random pauses that grow from a millisecond to a tenth of a second.
    ///
    /// # Errors
    ///
    /// What `work` gave the last time; or no transaction could begin.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped before the COMMIT is sent, nothing is stored.
    pub async fn run<T, E, Work>(self, work: impl FnMut(Self) -> Work) -> Result<T, E>
    where
        Work: Future<Output = Result<T, E>>,
        E: From<Error> + HasVerdict,
    {
        let (engine, place, beginning) = (self.engine(), self.lease.place(), self.lease.beginning().clone());
        let another = || async { Ok(Self::of(engine.begin_as(place, beginning.clone()).await?)) };
        retry::run(self, another, |verdict| engine.met(verdict), work).await
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

/// The driver's connection, with what that means for sessions: see [`Session`]'s.
impl<DB: Dialect> Deref for Tx<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.lease.connection()
    }
}

impl<DB: Dialect> DerefMut for Tx<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.lease.lend()
    }
}

executes!(Tx<DB>);

impl<DB: Dialect> fmt::Debug for Tx<DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tx").field(&self.lease).finish()
    }
}

/// A part of a transaction that can be undone by itself. Dropped, it is: before the next statement.
#[must_use = "a savepoint that is dropped is rolled back"]
pub struct Savepoint<'t, DB: Dialect> {
    lease: &'t mut Lease<DB>,
    level: usize,
    open: bool,
}

impl<'t, DB: Dialect> Savepoint<'t, DB> {
    async fn set(lease: &'t mut Lease<DB>) -> Result<Self, Error> {
        match lease.begin(Beginning::Default).await {
            Ok(level) => Ok(Self { lease, level, open: true }),
            Err(error) => Err(Error::statement("set a savepoint", error)),
        }
    }

    pub(crate) fn lease(&mut self) -> &mut Lease<DB> {
        self.lease
    }

    /// Keeps what was done since, as part of the transaction.
    ///
    /// # Errors
    ///
    /// As [`Tx::commit`].
    ///
    /// # Cancellation
    ///
    /// Dropped before its end, the transaction is good for nothing but to be dropped.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.lease.commit(self.level).await.map_err(|error| Error::statement("release a savepoint", error))?;
        self.open = false;
        Ok(())
    }

    /// Undoes what was done since. A transaction that an error has aborted can go on afterwards.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    ///
    /// # Cancellation
    ///
    /// Dropped before its end, the transaction is good for nothing but to be dropped.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.lease.roll_back(self.level).await.map_err(|error| Error::statement("roll back to a savepoint", error))?;
        self.open = false;
        Ok(())
    }

    /// Sets a savepoint inside of this one.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    ///
    /// # Cancellation
    ///
    /// Dropped before its end, the transaction is good for nothing but to be dropped.
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_, DB>, Error> {
        Savepoint::set(self.lease).await
    }
}

impl<DB: Dialect> Drop for Savepoint<'_, DB> {
    fn drop(&mut self) {
        if self.open {
            // What is left of a transaction that is gone, its end sees to.
            self.lease.roll_back_later(self.level);
        }
    }
}

executes!(Savepoint<'_, DB>);

impl<DB: Dialect> fmt::Debug for Savepoint<'_, DB> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Savepoint").field(&self.lease).finish()
    }
}
