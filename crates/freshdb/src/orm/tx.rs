//! A transaction for SeaORM.

use std::panic::Location;
use std::sync::Arc;

use sea_orm::{DbBackend, DbErr};

use super::engine::OrmEngine;
use super::erased::Shared;
use crate::conduct::LevelId;
use crate::dialect::Begin;
use crate::error::Error;
use crate::retry::{self, HasVerdict};
use crate::runtime;

/// A transaction, for SeaORM: everything that takes a `ConnectionTrait` or a `TransactionTrait` takes it. A transaction
/// inside of it is a savepoint, and ends with it at the latest: what is executed on it then is refused.
///
/// It commits only by [`OrmTx::commit`]. Dropped, wherever and however, it is rolled back at once.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct OrmTx {
    shared: Arc<Shared>,
    level: LevelId,
    open: bool,
}

impl OrmTx {
    pub(crate) fn outermost(shared: Arc<Shared>) -> Self {
        Self { shared, level: LevelId::FIRST, open: true }
    }

    /// A transaction on a session, or a savepoint in one that is open on it.
    pub(crate) async fn begin_on(
        shared: &Arc<Shared>,
        within: Option<LevelId>,
        begin: Option<Begin>,
    ) -> Result<Self, Error> {
        let level = shared.lock_within(within).await?.begin(begin).await?;
        Ok(Self { shared: shared.clone(), level, open: true })
    }

    pub(crate) async fn begin_inner(&self, begin: Option<Begin>) -> Result<Self, Error> {
        Self::begin_on(&self.shared, self.within(), begin).await
    }

    /// Commits. What was begun inside of it and has not been committed is undone.
    ///
    /// # Errors
    ///
    /// As [`Tx::commit`](crate::Tx::commit).
    ///
    /// # Cancellation
    ///
    /// Dropped before its end, the transaction is either committed or rolled back.
    pub async fn commit(mut self) -> Result<(), DbErr> {
        self.shared.lock().await.commit(self.level).await?;
        self.open = false;
        Ok(())
    }

    /// Rolls back.
    ///
    /// # Errors
    ///
    /// As [`Tx::rollback`](crate::Tx::rollback).
    ///
    /// # Cancellation
    ///
    /// Safe: dropped before its end, the transaction is rolled back all the same.
    pub async fn rollback(mut self) -> Result<(), DbErr> {
        self.shared.lock().await.roll_back(self.level).await?;
        self.open = false;
        Ok(())
    }

    /// Runs `work`, which commits the transaction that it is given, and runs it again from the start where that may
    /// succeed: see [`Tx::run`](crate::Tx::run). Inside of another transaction it is run once: what it lost is all of that one's.
    ///
    /// # Errors
    ///
    /// What `work` gave the last time; or no transaction could begin.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped before the COMMIT is sent, nothing is stored.
    pub async fn run<T, E, Work>(self, mut work: impl FnMut(Self) -> Work) -> Result<T, E>
    where
        Work: Future<Output = Result<T, E>>,
        E: From<Error> + HasVerdict,
    {
        let Some(beginning) = self.shared.lock().await.beginning_of(self.level) else { return work(self).await };
        let (engine, place) = (self.engine(), self.shared.place);
        let met = self.shared.engine.clone();
        retry::run(self, || engine.begin_at(place, beginning.clone()), |verdict| met.met(verdict), work).await
    }

    /// The database for which SeaORM builds statements.
    pub fn backend(&self) -> DbBackend {
        self.shared.engine.backend()
    }

    /// Says what it is for: reports of sessions that are open say so too.
    pub fn label(&self, label: impl std::fmt::Display + Send + Sync + 'static) {
        // Nobody else can be at work on it when it is new; later the label is not worth waiting for.
        if let Ok(lease) = self.shared.lease.try_lock() {
            lease.label(Arc::new(label));
        }
    }

    /// Where its session was opened.
    pub fn place(&self) -> &'static Location<'static> {
        self.shared.place
    }

    /// How the server calls this connection; none on an embedded database.
    pub async fn connection_id(&self) -> Option<u64> {
        self.shared.lock().await.connection_id()
    }

    /// The engine that it comes from.
    pub fn engine(&self) -> OrmEngine {
        OrmEngine::of(self.shared.engine.clone())
    }

    /// The transaction of which its statements are to be a part.
    #[expect(clippy::unnecessary_wraps, reason = "a session's and an engine's are part of none")]
    pub(crate) fn within(&self) -> Option<LevelId> {
        Some(self.level)
    }

    #[expect(clippy::unused_async, reason = "an engine's takes a session first")]
    pub(crate) async fn shared(&self) -> Result<&Shared, Error> {
        Ok(&self.shared)
    }
}

impl Drop for OrmTx {
    fn drop(&mut self) {
        // The last of those that have the session takes it back to the engine, which rolls back.
        if !self.open || Arc::strong_count(&self.shared) == 1 {
            return;
        }
        // Before the next statement on the session; and at once, for whoever waits for its locks.
        self.shared.note_dropped([self.level]);
        let mut begun = false;
        if let Ok(mut lease) = self.shared.lease.try_lock() {
            let dropped = self.shared.take_dropped();
            begun = dropped.iter().all(|level| lease.roll_back_later(*level));
            if !begun {
                self.shared.note_dropped(dropped);
            }
        }
        let shared = self.shared.clone();
        let ended = async move {
            let mut lease = shared.lock().await;
            if begun && let Err(error) = lease.flush().await {
                tracing::debug!(%error, "a dropped transaction was not rolled back in order");
            }
        };
        if let Err(error) = runtime::spawn(ended) {
            tracing::warn!(%error, "a dropped transaction is open until its session ends");
        }
    }
}
