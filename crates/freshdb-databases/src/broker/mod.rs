//! Databases of the broker that `freshdb run` has: its pools are warm before this process begins, and are there when it has ended.

mod connection;
mod outcome;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::schema::{self, Fingerprint};
use crate::{Config, DatabaseUrl, Error, ErrorKind, Kind, Schema, ServerSession, Target, runtime};
use connection::Connection;
pub use outcome::Outcome;

/// The broker of the environment. Cheap to clone.
///
/// May be used from any runtime, or from none: its own work is done on threads of freshdb's.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

struct Shared {
    socket: PathBuf,
    token: String,
    /// By which the broker knows what this process has left connected.
    process: String,
    engines: OnceCell<Vec<String>>,
    /// A lease has a connection of its own for as long as it lasts. These are nobody's now.
    idle: Mutex<Vec<Connection>>,
}

/// Databases of one schema.
#[derive(Clone, Debug)]
pub struct Template {
    broker: Broker,
    kind: Kind,
    hash: String,
}

/// A pristine database of the broker's, for as long as this lives.
///
/// It belongs to a connection to the broker, and ends with it: with this process, however that ends. Dropped, it is given back.
#[must_use = "a lease that is dropped gives its database back"]
pub struct Lease {
    broker: Broker,
    /// There until it is given back.
    connection: Option<Connection>,
    id: String,
    name: Arc<str>,
    url: DatabaseUrl,
    connections: u32,
    is_private: bool,
}

#[derive(Deserialize)]
struct Status {
    engines: Vec<Engine>,
}

#[derive(Deserialize)]
struct Engine {
    engine: String,
}

#[derive(Deserialize)]
struct Leased {
    id: String,
    url: String,
    connections: u32,
    private: bool,
}

#[derive(Deserialize)]
struct Asked {
    state: String,
    url: Option<String>,
}

#[derive(Deserialize)]
struct PutBack {
    changed: Option<String>,
}

#[derive(Deserialize)]
struct Heard {
    changes: Option<String>,
}

impl Broker {
    /// The broker that the environment names, if it names one. Nothing is asked of it yet.
    pub fn of(config: &Config) -> Option<Self> {
        let address = config.broker()?;
        let process = format!("{}-{:016x}", std::process::id(), fastrand::u64(..));
        let shared = Shared {
            socket: address.socket.clone(),
            token: address.token.clone(),
            process,
            engines: OnceCell::new(),
            idle: Mutex::default(),
        };
        Some(Self { shared: Arc::new(shared) })
    }

    /// Whether it has databases of this engine.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn has(&self, kind: Kind) -> impl Future<Output = Result<bool, Error>> + Send + use<> {
        let broker = self.clone();
        runtime::run(async move {
            let ask = async || -> Result<Vec<String>, Error> {
                let mut connection = broker.connection().await?;
                let status: Status = connection.ask(Method::GET, "/v1/status", None).await?;
                broker.put(connection);
                Ok(status.engines.into_iter().map(|engine| engine.engine).collect())
            };
            let engines = broker.shared.engines.get_or_try_init(ask).await?;
            Ok(engines.iter().any(|engine| engine == kind.name()))
        })
    }

    /// Sees to it that the broker has a template of this schema, which is made by whoever asks first. Others wait.
    ///
    /// # Errors
    ///
    /// If the schema could not be applied, or the broker does not answer.
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn template(
        &self,
        kind: Kind,
        schema: Arc<dyn Schema>,
    ) -> impl Future<Output = Result<Template, Error>> + Send + use<> {
        let broker = self.clone();
        runtime::run(async move {
            let mut fingerprint = Fingerprint::new();
            schema.fingerprint(&mut fingerprint).map_err(Error::of_fingerprint)?;
            let hash = fingerprint.digest();
            let mut connection = broker.connection().await?;
            let wanted = json!({"engine": kind.name(), "hash": hash});
            let asked: Asked = connection.ask(Method::POST, "/v1/templates", Some(&wanted)).await?;
            if let Some(url) = asked.url.filter(|_| asked.state == "empty") {
                let target = Target::new(parse(kind, &url)?);
                let path = format!("/v1/templates/{}/{hash}", kind.name());
                match schema::apply(&*schema, &target).await {
                    Ok(()) => connection.tell(Method::PUT, &path, None).await?,
                    Err(cause) => {
                        // That the template was not made says enough.
                        drop(connection.tell(Method::DELETE, &path, None).await);
                        let fact = format!("the schema could not be applied to `{}`", target.url());
                        return Err(Error::new(ErrorKind::Schema, fact).because(cause));
                    }
                }
            }
            broker.put(connection);
            Ok(Template { broker, kind, hash })
        })
    }

    async fn connection(&self) -> Result<Connection, Error> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(connection) if connection.is_open() => return Ok(connection),
                Some(_) => {}
                None => return Connection::open(&self.shared.socket, &self.shared.token).await,
            }
        }
    }

    fn put(&self, connection: Connection) {
        self.idle().push(connection);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Template {
    /// A pristine database. The note is shown with it, such as a test's name.
    ///
    /// # Errors
    ///
    /// If none became free in a minute: the error says who has them.
    ///
    /// # Cancellation
    ///
    /// The work goes on, and the database is given back.
    pub fn lease(&self, note: &str) -> impl Future<Output = Result<Lease, Error>> + Send + use<> {
        let Self { broker, kind, hash } = self.clone();
        // The broker takes a thousand bytes.
        let note: String = note.chars().take(250).collect();
        runtime::run(async move {
            let mut connection = broker.connection().await?;
            let wanted =
                json!({"engine": kind.name(), "template": hash, "note": note, "process": broker.shared.process});
            let leased: Leased = connection.ask(Method::POST, "/v1/leases", Some(&wanted)).await?;
            let url = parse(kind, &leased.url)?;
            let name = match url.path() {
                Some(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                None => url.database().unwrap_or_default(),
            };
            Ok(Lease {
                broker,
                connection: Some(connection),
                id: leased.id,
                name: name.into(),
                url,
                connections: leased.connections,
                is_private: leased.private,
            })
        })
    }
}

impl Lease {
    /// The database's name on its server; of SQLite, its file's name without `.db`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the database is, for any driver.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// How many connections to the server this lease may open.
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Whether its server ends with the broker.
    pub fn is_private(&self) -> bool {
        self.is_private
    }

    /// Who is connected to the database now, as the server says.
    ///
    /// # Errors
    ///
    /// If the server cannot be asked.
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn sessions(&self) -> impl Future<Output = Result<Vec<ServerSession>, Error>> + Send + use<> {
        let (broker, path) = (self.broker.clone(), format!("/v1/leases/{}/sessions", self.id));
        runtime::run(async move {
            let mut connection = broker.connection().await?;
            let sessions = connection.ask(Method::GET, &path, None).await?;
            broker.put(connection);
            Ok(sessions)
        })
    }

    /// Tells that the test has failed, why, and what it left open, before the database is given back. The broker writes down what it did to the
    /// database, for `freshdb diff` to show, and says so: `tags: 2 inserted`. Of a long text its beginning is told, and of many leaks how many
    /// more there are.
    ///
    /// # Errors
    ///
    /// If the broker does not answer, or could not compare the database.
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn tell_failure(
        &self,
        failure: &str,
        leaks: &[String],
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send + use<> {
        let (broker, path) = (self.broker.clone(), format!("/v1/leases/{}/outcome", self.id));
        let body = outcome::failed(failure, leaks);
        runtime::run(async move {
            let mut connection = broker.connection().await?;
            let heard: Result<Heard, Error> = connection.ask(Method::PUT, &path, Some(&body)).await;
            let heard = match heard {
                // It was not taken as it was told. That the test has failed is what matters.
                Err(error) if error.kind() == ErrorKind::Config => {
                    tracing::warn!("why a test failed, and what it left open, is not in the report: {error}");
                    connection.ask(Method::PUT, &path, Some(&outcome::bare())).await?
                }
                heard => heard?,
            };
            broker.put(connection);
            Ok(heard.changes)
        })
    }

    /// Gives the database back, and says how the test ended. It is put back meanwhile; what this returns says that the broker knows. Need not
    /// be awaited, unless this process is about to end.
    ///
    /// # Errors
    ///
    /// Awaited, if the broker does not answer. The database goes back all the same, with the connection.
    pub fn give_back(self, outcome: Outcome) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let answer = self.end(&format!("outcome={}", outcome.name()));
        async move { answer.await.map(drop) }
    }

    /// As [`give_back`](Self::give_back), but sessions with these numbers stay connected, for whoever has the database next in this process;
    /// another process is never given a database to which they are. See [`give_back_with`](crate::Lease::give_back_with). Awaited, it says
    /// what could not be put back, so that the database was dropped.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn give_back_with(
        self,
        outcome: Outcome,
        staying: &[u64],
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send + use<> {
        let staying: Vec<String> = staying.iter().map(u64::to_string).collect();
        let answer = self.end(&format!("wait=true&outcome={}&staying={}", outcome.name(), staying.join(",")));
        async move { Ok(answer.await?.and_then(|put_back| put_back.changed)) }
    }

    /// Keeps the database as it is, for somebody to look at, and says how the test ended.
    ///
    /// # Errors
    ///
    /// If the broker does not answer, or it cannot be kept.
    pub fn keep(self, outcome: Outcome) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let answer = self.end(&format!("wait=true&keep=true&outcome={}", outcome.name()));
        async move { answer.await.map(drop) }
    }

    /// Begins at once.
    fn end(mut self, how: &str) -> impl Future<Output = Result<Option<PutBack>, Error>> + Send + use<> {
        let (broker, connection) = (self.broker.clone(), self.connection.take());
        let path = format!("/v1/leases/{}?{how}", self.id);
        let work = runtime::spawn(async move {
            let mut connection = connection.expect("it is there until now");
            let put_back = connection.ask_for_any(Method::DELETE, &path).await?;
            broker.put(connection);
            Ok(put_back)
        });
        async move {
            match work?.await {
                Ok(answer) => answer,
                Err(error) => Err(Error::new(ErrorKind::Unreachable, "a database was not given back").because(error)),
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // It ends with its connection.
        drop(self.connection.take());
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Broker({})", self.shared.socket.display())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lease({} of the broker)", self.url)
    }
}

/// Drivers know MariaDB by MySQL's name only, and so does the broker.
fn parse(kind: Kind, url: &str) -> Result<DatabaseUrl, Error> {
    match url.strip_prefix("mysql:") {
        Some(rest) if kind == Kind::Mariadb => DatabaseUrl::parse(&format!("mariadb:{rest}")),
        _ => DatabaseUrl::parse(url),
    }
}
