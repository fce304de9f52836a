//! A server, shared by all who use it in this process.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

#[cfg(any(feature = "mysql", feature = "postgres"))]
use super::check::check;
use super::launch::{self, Running};
use super::run::Run;
use super::sharing::{self, OfRun};
use crate::{Config, DatabaseUrl, Error, ErrorKind, Kind, runtime};

/// How long a throwaway server may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A database server: one that exists, or a private one that ends with this process; of SQLite, a directory.
///
/// A throwaway server listens on 127.0.0.1, with a random password, and on a socket in a directory that nobody else can enter. It
/// ends, and all its data go, when the last clone of its `Server` is dropped, when it is [stopped](Self::stop), or when this
/// process ends, in whatever way: within two seconds, of a SIGKILL too. What stays is its initialised data directory in the
/// [cache](Config::cache_dir), which makes the next start quick.
///
/// Where the configuration names a [run](crate::variables::RUN), the throwaway server belongs to that: the first of its processes
/// that needs a server starts it, the others use it, and it ends with the run's process alone, in the same way. Under
/// `cargo nextest run`, where every test is a process, that is the runner.
///
/// It is nobody's to rely on: durability is off.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Existing(DatabaseUrl),
    Throwaway(Running),
    /// A throwaway one that ends with the run.
    OfRun(OfRun),
}

impl Server {
    /// The server for an engine: the one that is configured, else a throwaway one. All who ask with the same configuration in this
    /// process, or in this run and checkout, share that.
    ///
    /// May be called from any runtime, or none.
    ///
    /// # Errors
    ///
    /// If no server is configured and none is installed, or it does not start ([`ErrorKind::NoServer`]); if there is no place for
    /// its data ([`ErrorKind::Files`]).
    ///
    /// # Cancellation
    ///
    /// The start goes on when this is dropped, for whoever waits for it too. If nobody does, the server is ended.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use freshdb_databases::{Config, Kind, Server};
    ///
    /// # async fn example() -> Result<(), freshdb_databases::Error> {
    /// let config = Config::from_env()?;
    /// let server = Server::of(Kind::Postgres, &config).await?;
    /// println!("{}", server.url());
    /// server.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn of(kind: Kind, config: &Config) -> impl Future<Output = Result<Self, Error>> + Send + use<> {
        let config = config.clone();
        runtime::run(async move {
            if let Some(url) = config.url(kind) {
                return Ok(Self::existing(url.clone()));
            }
            let shared = shared(kind, &config);
            let mut running = shared.lock().await;
            if let Some(inner) = running.upgrade().filter(|inner| !inner.has_ended()) {
                return Ok(Self(inner));
            }
            let inner = Arc::new(match Run::of(&config) {
                Some(run) => Inner::OfRun(sharing::server(kind, &config, &run).await?),
                None => Inner::Throwaway(launch::start(kind, config, None).await?),
            });
            *running = Arc::downgrade(&inner);
            Ok(Self(inner))
        })
    }

    /// A server that exists, and stays when this is dropped.
    pub fn existing(url: DatabaseUrl) -> Self {
        Self(Arc::new(Inner::Existing(url)))
    }

    /// Connects once to a server that exists, and asks it what it is. One that freshdb started has answered already.
    ///
    /// # Errors
    ///
    /// If it does not answer within ten seconds ([`ErrorKind::Unreachable`]), lets nobody in, or is of another engine than its URL says
    /// ([`ErrorKind::Config`]).
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn check(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let inner = Arc::clone(&self.0);
        runtime::run(async move {
            let Inner::Existing(url) = &*inner else { return Ok(()) };
            match url.kind() {
                #[cfg(feature = "mysql")]
                Kind::Mysql | Kind::Mariadb => check::<crate::dialect::mysql::Mysql>(url).await,
                #[cfg(feature = "postgres")]
                Kind::Postgres => check::<crate::dialect::postgres::Postgres>(url).await,
                // SQLite's is a directory, and of others this was built without the driver.
                _ => Ok(()),
            }
        })
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        self.url().kind()
    }

    /// The administrator's URL: as it was configured; of a throwaway server without a database, of PostgreSQL with `postgres`; of
    /// SQLite a directory.
    pub fn url(&self) -> &DatabaseUrl {
        match &*self.0 {
            Inner::Existing(url) | Inner::Throwaway(Running { url, .. }) | Inner::OfRun(OfRun { url, .. }) => url,
        }
    }

    /// Where a throwaway server is reached without TCP: a socket or, of PostgreSQL, the directory that it is in.
    pub fn socket(&self) -> Option<&Path> {
        match &*self.0 {
            Inner::Existing(_) => None,
            Inner::Throwaway(running) => running.socket.as_deref(),
            Inner::OfRun(server) => server.socket.as_deref(),
        }
    }

    /// Where freshdb itself reaches it: a throwaway server by its socket. Over TCP, PostgreSQL has a driver hash a password four thousand
    /// times for each connection, which takes longer than all else that a lease does.
    pub(crate) fn administration(&self) -> DatabaseUrl {
        self.socket().map_or_else(|| self.url().clone(), |socket| self.url().by_socket(socket))
    }

    /// Whether freshdb started it.
    pub fn is_throwaway(&self) -> bool {
        !matches!(&*self.0, Inner::Existing(_))
    }

    /// Whether a throwaway server is no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// The process of a throwaway server.
    pub fn process(&self) -> Option<u32> {
        match &*self.0 {
            Inner::Existing(_) => None,
            Inner::Throwaway(running) => running.keeper.process(),
            Inner::OfRun(server) => server.process.map(|(process, _)| process),
        }
    }

    /// Ends a throwaway server and removes its data, for all in this process who share it. One that exists is left alone, and so
    /// is one that belongs to a run: other processes use it.
    ///
    /// # Errors
    ///
    /// If it does not end, or its directory cannot be removed ([`ErrorKind::Files`]).
    ///
    /// # Cancellation
    ///
    /// The server is ended all the same.
    pub fn stop(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let inner = Arc::clone(&self.0);
        runtime::run(async move {
            let Inner::Throwaway(running) = &*inner else { return Ok(()) };
            let stopped = tokio::time::timeout(STOP_LIMIT, running.keeper.stop()).await;
            stopped.unwrap_or_else(|_| {
                let fact = format!("{} did not end within {} s", running.url, STOP_LIMIT.as_secs());
                Err(Error::new(ErrorKind::Files, fact))
            })
        })
    }
}

impl Inner {
    fn has_ended(&self) -> bool {
        match self {
            Self::Existing(_) => false,
            Self::Throwaway(running) => running.keeper.has_ended(),
            Self::OfRun(server) => server.has_ended(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Server").field(self.url()).finish()
    }
}

/// A running server, or none. Whoever starts it has the lock, for which the others wait.
type Shared = Arc<tokio::sync::Mutex<Weak<Inner>>>;

/// Where the server is that this process runs with this configuration.
fn shared(kind: Kind, config: &Config) -> Shared {
    static RUNNING: Mutex<Vec<(Kind, Config, Shared)>> = Mutex::new(Vec::new());

    let mut running = RUNNING.lock().expect("nobody panics with it");
    if let Some((.., shared)) = running.iter().find(|(other, set, _)| *other == kind && set == config) {
        return Arc::clone(shared);
    }
    let shared = Shared::default();
    running.push((kind, config.clone(), Arc::clone(&shared)));
    shared
}
