//! An engine for SeaORM.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbBackend;

use super::erased::{ErasedEngine, OrmBackend, Shared};
use super::session::OrmSession;
use super::tx::OrmTx;
use crate::conduct::LevelId;
use crate::counters::Stats;
use crate::dialect::Begin;
use crate::engine::{Beginning, Engine};
use crate::error::{Error, Leaks};
use crate::lease::Lease;
use crate::options::EngineOptions;
use crate::registry::{OpenSession, Place};

#[doc = include_str!("../docs/orm.md")]
#[derive(Clone, Debug)]
pub struct OrmEngine(Arc<dyn ErasedEngine>);

impl OrmEngine {
    pub(crate) fn of(engine: Arc<dyn ErasedEngine>) -> Self {
        Self(engine)
    }

    /// An engine on the database that the URL names, which connects when it is first used. Needs no runtime.
    ///
    /// # Errors
    ///
    /// If the URL names no database that this build knows.
    #[track_caller]
    pub fn lazy(url: &str) -> Result<Self, Error> {
        EngineOptions::new().lazy_orm(url)
    }

    /// Checks a connection out: see [`Engine::session`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// Safe, as there.
    #[track_caller]
    pub fn session(&self) -> impl Future<Output = Result<OrmSession, Error>> + Send + 'static + use<> {
        let (engine, place) = (self.clone(), Location::caller());
        async move { engine.session_at(place).await }
    }

    /// Checks a connection out and begins a transaction on it: see [`Engine::begin`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// Safe, as there.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<OrmTx, Error>> + Send + 'static + use<> {
        let (engine, place) = (self.clone(), Location::caller());
        async move { engine.begin_at(place, Beginning::Default).await }
    }

    pub(crate) async fn session_at(&self, place: Place) -> Result<OrmSession, Error> {
        Ok(OrmSession::of(self.0.session(place).await?))
    }

    pub(crate) async fn begin_at(&self, place: Place, beginning: Beginning) -> Result<OrmTx, Error> {
        Ok(OrmTx::outermost(self.0.begin(place, beginning).await?))
    }

    /// A statement by itself is part of no transaction.
    #[expect(clippy::unused_self, reason = "a transaction's are part of that one")]
    pub(crate) fn within(&self) -> Option<LevelId> {
        None
    }

    /// For a statement by itself.
    pub(crate) async fn shared(&self) -> Result<Arc<Shared>, Error> {
        self.0.session(Location::caller()).await
    }

    pub(crate) async fn begin_inner(&self, begin: Option<Begin>) -> Result<OrmTx, Error> {
        self.begin_at(Location::caller(), begin.into()).await
    }

    /// The database for which SeaORM builds statements.
    pub fn backend(&self) -> DbBackend {
        self.0.backend()
    }

    /// The server's name and version: see [`Engine::server`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// Safe.
    #[track_caller]
    pub fn server(&self) -> impl Future<Output = Result<String, Error>> + Send + 'static + use<> {
        let (engine, place) = (self.0.clone(), Location::caller());
        async move { engine.server(place).await }
    }

    /// Closes every connection: see [`Engine::close`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub async fn close(&self, limit: Duration) -> Result<(), Leaks> {
        self.0.close(limit).await
    }

    /// The engine as it is now.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// The sessions that are open, the oldest first.
    pub fn open_sessions(&self) -> Vec<OpenSession> {
        self.0.open_sessions()
    }

    /// Where the database is: a URL without its password, and without parameters but for a socket.
    pub fn target(&self) -> &str {
        self.0.target()
    }
}

impl<DB> From<Engine<DB>> for OrmEngine
where
    DB: OrmBackend,
    Lease<DB>: super::erased::ErasedLease,
{
    fn from(engine: Engine<DB>) -> Self {
        Self(Arc::new(engine))
    }
}

impl EngineOptions {
    /// Makes an engine for SeaORM on the database that the URL names, which connects when it is first used.
    ///
    /// # Errors
    ///
    /// If the URL names no database that this build knows, or the options cannot be kept.
    #[track_caller]
    pub fn lazy_orm(self, url: &str) -> Result<OrmEngine, Error> {
        match url.split(':').next().unwrap_or_default() {
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => self.lazy::<sqlx::MySql>(url).map(OrmEngine::from),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => self.lazy::<sqlx::Postgres>(url).map(OrmEngine::from),
            #[cfg(feature = "sqlite")]
            "sqlite" => self.lazy::<sqlx::Sqlite>(url).map(OrmEngine::from),
            // The URL is not repeated: it may hold a password.
            _ => Err(Error::options("the database URL names no database that this build knows", None)),
        }
    }
}
