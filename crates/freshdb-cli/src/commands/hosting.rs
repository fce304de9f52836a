//! A broker at work: its servers, its sockets, its task.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use freshdb_databases::Kind;
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;

use crate::broker::{Broker, Listener, Token};
use crate::cli::Databases;
use crate::failure::Failure;
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
    ) -> Result<Self, Failure> {
        let engines = databases.engines();
        // SQLite's server is a directory that nobody else can enter, and that is gone when this process is.
        let directory = servers.directory().await?;
        let listener = Listener::bind(address, &directory).await?;
        let (socket, url) = (listener.socket().to_owned(), listener.url()?);

        let has_schema = !databases.schema.is_empty() || databases.schema_command.is_some();
        let broker = Arc::new(Broker::new(servers.clone(), schema(databases)?, databases.rebuild));
        let ready = engines.iter().map(async |kind| {
            let started = Instant::now();
            let server = servers.get(*kind).await?;
            if has_schema {
                broker.warm(*kind).await?;
            }
            if !quiet {
                let what = if *kind == Kind::Sqlite { "files in" } else { "at" };
                eprintln!("freshdb: {kind} {what} {}, ready in {:.1} s", server.url(), started.elapsed().as_secs_f64());
            }
            Ok::<(), Failure>(())
        });
        try_join_all(ready).await?;
        let serving = tokio::spawn(listener.serve(broker.clone(), token));
        Ok(Self { broker, serving, socket, url })
    }

    /// Takes no more requests, and closes the pools. The servers are still there.
    pub(super) async fn end(self) {
        self.serving.abort();
        // Its connections end with it, and what they had goes back.
        drop(self.serving.await);
        self.broker.close().await;
    }
}
