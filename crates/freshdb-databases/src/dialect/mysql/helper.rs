//! A second connection for all slots of a template. TRUNCATE keeps one of the server's processors busy for milliseconds, and
//! two tables can be truncated at once. (Two ALTERs of MariaDB take as long at once as one after the other.)

use sqlx::MySqlConnection;
use tokio::sync::{Mutex, MutexGuard};

use super::super::REGISTRY;
use super::connection::{connect, execute};
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
}

impl Help<'_> {
    /// Executes statements, and says whether they all were. If not, some may have been.
    pub(super) async fn execute(mut self, sql: &str) -> bool {
        // What is dropped half-way is not used again.
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connect(self.server, REGISTRY).await,
        };
        let executed = match connection {
            Ok(mut connection) => execute(&mut connection, sql).await.map(|()| connection),
            Err(error) => Err(error),
        };
        match executed {
            Ok(connection) => {
                *self.connection = Some(connection);
                true
            }
            Err(error) => {
                tracing::debug!("the helping connection is of no help: {error}");
                false
            }
        }
    }
}
