//! A second connection for all slots of a template, for what keeps a processor of the server's busy and need not be done by the first: on
//! MySQL every second TRUNCATE, which takes milliseconds, and on MariaDB the counting of statements while tables are looked into. (Two
//! ALTERs of MariaDB take as long at once as one after the other, and its TRUNCATEs can wait for each other.)

use sqlx::MySqlConnection;
use tokio::sync::{Mutex, MutexGuard};

use super::super::REGISTRY;
use super::connection::{TextRow, connect, execute, rows};
use crate::DatabaseUrl;

/// Helps whoever asks first. A template that was stored has none until it is told which server it is on.
#[derive(Default)]
pub(super) struct Helper {
    server: Option<DatabaseUrl>,
    connection: Mutex<Option<MySqlConnection>>,
}

/// The help that one reset has.
pub(super) struct Help<'a> {
    server: &'a DatabaseUrl,
    connection: MutexGuard<'a, Option<MySqlConnection>>,
}

impl Helper {
    pub(super) fn on(server: &DatabaseUrl) -> Self {
        Self { server: Some(server.clone()), connection: Mutex::default() }
    }

    /// Nothing, while it helps another reset.
    pub(super) fn try_get(&self) -> Option<Help<'_>> {
        Some(Help { server: self.server.as_ref()?, connection: self.connection.try_lock().ok()? })
    }

    /// The same, without having to connect.
    pub(super) fn try_connected(&self) -> Option<Help<'_>> {
        self.try_get().filter(|help| help.connection.is_some())
    }

    /// Connects, where it is not connected.
    pub(super) async fn connect(&self) {
        if let Some(help) = self.try_get().filter(|help| help.connection.is_none()) {
            help.work(async |_| Ok(())).await;
        }
    }
}

impl Help<'_> {
    /// Executes statements, and says whether they all were. If not, some may have been.
    pub(super) async fn execute(self, sql: &str) -> bool {
        self.work(async |connection| execute(connection, sql).await).await.is_some()
    }

    /// The rows of one query, if it is answered.
    pub(super) async fn rows(self, sql: &str) -> Option<Vec<TextRow>> {
        self.work(async |connection| rows(connection, sql).await).await
    }

    async fn work<T>(mut self, work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, sqlx::Error>) -> Option<T> {
        // What is dropped half-way is not used again.
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connect(self.server, REGISTRY).await,
        };
        let done = match connection {
            Ok(mut connection) => work(&mut connection).await.map(|done| (connection, done)),
            Err(error) => Err(error),
        };
        match done {
            Ok((connection, done)) => {
                *self.connection = Some(connection);
                Some(done)
            }
            Err(error) => {
                tracing::debug!("the helping connection is of no help: {error}");
                None
            }
        }
    }
}
