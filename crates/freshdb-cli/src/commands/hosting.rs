//! A broker at work: its servers, its sockets, its task.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use freshdb_databases::Kind;
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;

use super::child::Ends;
use crate::broker::{Broker, Listener, Start, TOKEN, Token};
use crate::cli::Databases;
use crate::failure::Failure;
use crate::report::Recorder;
use crate::say::say;
use crate::servers::{Servers, schema};

pub(super) struct Hosted {
    broker: Arc<Broker>,
    serving: JoinHandle<()>,
    pub(super) socket: PathBuf,
    pub(super) url: String,
}

impl Hosted {
    /// Starts the servers that were asked for, makes their templates, and listens.
    pub(super) async fn begin(
        servers: &Arc<Servers>,
        databases: &Databases,
        address: SocketAddr,
        token: Token,
        quiet: bool,
        recorder: Option<Arc<Recorder>>,
    ) -> Result<Self, Failure> {
        let engines = databases.engines();
        let directory = servers.directory().await?;
        let listener = Listener::bind(address, &directory).await?;
        let (socket, url) = (listener.socket().to_owned(), listener.url()?);

        let has_schema = !databases.schema.is_empty() || databases.schema_command.is_some();
        let start = Start {
            schema: schema(databases)?,
            rebuild: databases.rebuild || servers.config().rebuild(),
            connections: databases.connections,
        };
        let broker = Arc::new(Broker::new(servers.clone(), start, recorder));
        let ready = engines.iter().map(async |kind| {
            let started = Instant::now();
            let server = servers.get(*kind).await?;
            if has_schema {
                broker.warm(*kind).await?;
            }
            if !quiet {
                let what = if *kind == Kind::Sqlite { "files in" } else { "at" };
                say(format!("{kind} {what} {}, ready in {:.1} s", server.url(), started.elapsed().as_secs_f64()));
            }
            Ok::<(), Failure>(())
        });
        try_join_all(ready).await?;
        write_private(&directory.join(TOKEN), token.reveal())?;
        let serving = tokio::spawn(listener.serve(broker.clone(), token));
        Ok(Self { broker, serving, socket, url })
    }

    /// Takes no more requests, and closes the pools, unless it takes somebody too long. The servers are still there.
    pub(super) async fn end(self, ends: &mut Ends) {
        self.serving.abort();
        // Its connections end with it, and what they had goes back.
        drop(self.serving.await);
        if ends.unless_told_again(self.broker.close()).await.is_none() {
            say("told to end before every database was put back: the rest is put back when it is next wanted");
        }
    }
}

/// Nobody else can enter the directory; that the file itself is closed as well is for those who copy it.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).because(error))
}
