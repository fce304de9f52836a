//! A session for SeaORM.

use std::panic::Location;
use std::sync::Arc;

use sea_orm::DbBackend;

use super::engine::OrmEngine;
use super::erased::Shared;
use super::tx::OrmTx;
use crate::conduct::LevelId;
use crate::dialect::Begin;
use crate::error::Error;
use crate::retry::{self, HasVerdict};

/// A connection that is checked out, for SeaORM: everything that takes a `ConnectionTrait` takes it.
///
/// It comes back as a [`Session`](crate::Session) does. Statements that are executed on it at the same time are executed one
/// after another.
#[derive(Debug)]
pub struct OrmSession(Arc<Shared>);

impl OrmSession {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Begins a transaction on this session. Until that has ended, statements on the session are part of it.
    ///
    /// # Errors
    ///
    /// If it cannot begin.
    ///
    /// # Cancellation
    ///
    /// Dropped before its end, the session cannot be used any more.
    pub async fn begin(&self) -> Result<OrmTx, Error> {
        self.begin_inner(None).await
    }

    pub(crate) async fn begin_inner(&self, begin: Option<Begin>) -> Result<OrmTx, Error> {
        OrmTx::begin_on(&self.0, self.within(), begin).await
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
        let (engine, place) = (self.engine(), self.0.place);
        let met = self.0.engine.clone();
        retry::run(self, || engine.session_at(place), |verdict| met.met(verdict), work).await
    }

    /// The database for which SeaORM builds statements.
    pub fn backend(&self) -> DbBackend {
        self.0.engine.backend()
    }

    /// Says what it is for: reports of sessions that are open say so too.
    pub fn label(&self, label: impl std::fmt::Display + Send + Sync + 'static) {
        // Nobody else can be at work on it when it is new; later the label is not worth waiting for.
        if let Ok(lease) = self.0.lease.try_lock() {
            lease.label(Arc::new(label));
        }
    }

    /// Where it was opened.
    pub fn place(&self) -> &'static Location<'static> {
        self.0.place
    }

    /// How the server calls this connection; none on an embedded database.
    pub async fn connection_id(&self) -> Option<u64> {
        self.0.lock().await.connection_id()
    }

    /// The engine that it comes from.
    pub fn engine(&self) -> OrmEngine {
        OrmEngine::of(self.0.engine.clone())
    }

    /// Its statements are part of whatever is open.
    #[expect(clippy::unused_self, reason = "a transaction's are part of that one")]
    pub(crate) fn within(&self) -> Option<LevelId> {
        None
    }

    #[expect(clippy::unused_async, reason = "an engine's takes a session first")]
    pub(crate) async fn shared(&self) -> Result<&Shared, Error> {
        Ok(&self.0)
    }
}
