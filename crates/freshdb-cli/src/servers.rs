//! The servers, and what their databases start from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use freshdb_databases::{Config, Kind, Schema, Server, schema};
use tokio::sync::OnceCell;

use crate::cli::Databases;
use crate::failure::Failure;

/// Those that were asked for, or any: a server is started when somebody first needs it.
#[derive(Debug)]
pub(crate) struct Servers {
    config: Config,
    /// Which may be used; all, if none was asked for.
    engines: Vec<Kind>,
    started: Mutex<HashMap<Kind, Arc<OnceCell<Server>>>>,
    /// The one of SQLite that ends with this process, of a run or not.
    own: OnceCell<Server>,
}

impl Servers {
    pub(crate) fn new(config: Config, asked: &[Kind]) -> Self {
        let engines = if asked.is_empty() { Kind::ALL.to_vec() } else { asked.to_vec() };
        Self { config, engines, started: Mutex::default(), own: OnceCell::new() }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn engines(&self) -> &[Kind] {
        &self.engines
    }

    /// The server of an engine, which is started if it is not there yet. One of the user's has answered, and is of that engine.
    pub(crate) async fn get(&self, kind: Kind) -> Result<Server, freshdb_databases::Error> {
        let cell = self.started().entry(kind).or_default().clone();
        let find = async || {
            let server = Server::of(kind, &self.config).await?;
            server.check().await?;
            Ok(server)
        };
        cell.get_or_try_init(find).await.cloned()
    }

    /// A directory that nobody else can enter, and that is gone when this process is: SQLite's server is one, unless it
    /// is a run's, where another broker may lie already.
    pub(crate) async fn directory(&self) -> Result<PathBuf, Failure> {
        let config = self.config.clone().without_run();
        let server = self.own.get_or_try_init(|| Server::of(Kind::Sqlite, &config)).await?;
        server.url().path().map(Path::to_owned).ok_or_else(|| Failure::new("SQLite's server has no directory"))
    }

    /// The server of an engine, if it was started.
    pub(crate) fn started_one(&self, kind: Kind) -> Option<Server> {
        self.started().get(&kind)?.get().cloned()
    }

    /// Ends the private ones.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        let mut servers: Vec<Server> = self.started().values().filter_map(|cell| cell.get().cloned()).collect();
        servers.extend(self.own.get().cloned());
        let stopped = futures_util::future::join_all(servers.iter().map(Server::stop)).await;
        stopped.into_iter().collect::<Result<(), _>>().map_err(Failure::from)
    }

    fn started(&self) -> std::sync::MutexGuard<'_, HashMap<Kind, Arc<OnceCell<Server>>>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the command line says that databases start from.
pub(crate) fn schema(databases: &Databases) -> Result<Arc<dyn Schema>, Failure> {
    let mut whole: Arc<dyn Schema> = Arc::new(schema::sql(""));
    for path in &databases.schema {
        let next: Arc<dyn Schema> = if path.is_dir() {
            Arc::new(schema::SqlDirectory::new(absolute(path)?))
        } else {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            Arc::new(schema::sql(text).named(format!("`{}`", absolute(path)?.display())))
        };
        whole = Arc::new(whole.then(next));
    }
    if let Some(command) = &databases.schema_command {
        let mut program = schema::command("/bin/sh").args(["-c", command]);
        for path in &databases.watch {
            program = program.watch(absolute(path)?);
        }
        whole = Arc::new(whole.then(program));
    }
    Ok(whole)
}

fn unreadable(schema: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(format!("cannot read the schema `{}`", schema.display())).because(error);
    if error.kind() == std::io::ErrorKind::InvalidData {
        return failure
            .hint("write it as UTF-8; of what `BINARY` and `BLOB` hold, `mysqldump` writes text with `--hex-blob`");
    }
    failure
}

/// As it is named when it cannot be read: where a relative one begins is told to programmers in Rust otherwise.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::new("there is no working directory").because(error))
}
