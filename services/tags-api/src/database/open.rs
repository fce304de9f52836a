//! How a database is opened.

use std::sync::Arc;
use std::time::Duration;

use freshdb::{EngineOptions, Leaks, OrmEngine, OrmSession, OrmTx, Stats};
use sea_orm::DbErr;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::dialect::{self, Dialect, Driver, Opened};
use super::error::{Error, OpenError};
use super::file::OpenFile;
use super::url::DatabaseUrl;

/// How a database is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections at the most.
    pub pool_size: u32,
    /// How long a request waits for a connection before it is told to come back later.
    pub pool_wait: Duration,
    /// How long one statement may take, where the engine can hold to that.
    pub statement_timeout: Duration,
    /// How long a migration waits for another process's, where the engine can hold to that.
    pub migration_wait: Duration,
    /// Whether statements are logged.
    pub echo: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pool_size: 10,
            pool_wait: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(30),
            migration_wait: Duration::from_mins(1),
            echo: false,
        }
    }
}

impl Options {
    /// Call it inside a runtime: the service's lives as long as the database is open, and what sessions read then wakes
    /// the thread that waits for it without a detour.
    pub(super) fn engine(&self) -> EngineOptions {
        let options = EngineOptions::new()
            .max_connections(self.pool_size)
            .acquire_timeout(self.pool_wait)
            .statement_timeout(self.statement_timeout)
            .echo(self.echo);
        match Handle::try_current() {
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => options.runtime(runtime),
            _ => options,
        }
    }
}

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: DatabaseUrl,
    server: String,
    engine: OrmEngine,
    driver: Driver,
    /// Of an embedded one.
    file: Option<OpenFile>,
    dialect: &'static dyn Dialect,
    migration_wait: Duration,
}

impl Database {
    /// Opens a database and asks it for its version.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, refuses the user or does not exist, in one sentence.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn open(url: DatabaseUrl, options: &Options) -> Result<Self, OpenError> {
        let dialect = dialect::of(&url);
        let opened = dialect.open(&url, options).await?;
        let server = opened.engine.server().await.map_err(|error| OpenError::of(&url, &error))?;
        let Opened { engine, driver } = opened;
        let file = driver.file().and_then(OpenFile::at);
        let migration_wait = options.migration_wait;
        Ok(Self(Arc::new(Inner { url, server, engine, driver, file, dialect, migration_wait })))
    }

    /// Where it is; shown, its password is `***`.
    pub fn url(&self) -> &DatabaseUrl {
        &self.0.url
    }

    /// The server's name and version, such as `MariaDB 10.11.19`.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// Where the sessions come from.
    pub fn engine(&self) -> &OrmEngine {
        &self.0.engine
    }

    /// A session, to read.
    ///
    /// # Errors
    ///
    /// If none becomes free in time, or none can be made.
    ///
    /// # Cancellation
    ///
    /// Safe.
    #[track_caller]
    pub fn session(&self) -> impl Future<Output = Result<OrmSession, Error>> + Send + use<> {
        let session = self.0.engine.session();
        async move { Ok(session.await?) }
    }

    /// A transaction, to write: dropped, it is rolled back.
    ///
    /// # Errors
    ///
    /// If no session becomes free in time, or none can be made.
    ///
    /// # Cancellation
    ///
    /// Safe.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<OrmTx, Error>> + Send + use<> {
        let begun = self.0.engine.begin();
        async move { Ok(begun.await?) }
    }

    /// Makes sure that what is stored would be found again: that the file of an embedded database is where it was opened.
    ///
    /// # Errors
    ///
    /// If it was deleted or replaced.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn check_file(&self) -> Result<(), Error> {
        match &self.0.file {
            Some(file) => Ok(file.check().await?),
            None => Ok(()),
        }
    }

    /// Whether the database answers, and takes writes. If it does not, sessions to come have connections that are new.
    ///
    /// # Errors
    ///
    /// If it does not.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn ping(&self) -> Result<(), Error> {
        self.check_file().await?;
        let session = self.session().await?;
        let dialect = self.0.dialect;
        let answered: Result<(), DbErr> = session.run(async |session| dialect.ping(&session).await).await;
        Ok(answered?)
    }

    /// The sessions at this moment, and what happened so far.
    pub fn stats(&self) -> Stats {
        self.0.engine.stats()
    }

    /// Closes every connection; waits for the sessions that are open.
    ///
    /// # Errors
    ///
    /// If sessions are open still after `limit`: who opened them.
    pub async fn close(&self, limit: Duration) -> Result<(), Leaks> {
        self.0.engine.close(limit).await
    }

    pub(super) fn dialect(&self) -> &'static dyn Dialect {
        self.0.dialect
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.0.driver
    }

    pub(super) fn migration_wait(&self) -> Duration {
        self.0.migration_wait
    }
}
