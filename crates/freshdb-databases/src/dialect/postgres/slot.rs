//! A copy of a template, and what its resets need.

use super::connection::{Connection, connect};
use super::fault::failed;
use super::template::Template;
use super::{super::REGISTRY, databases};
use crate::{DatabaseUrl, Error};

/// A copy of a template.
pub(crate) struct Slot {
    pub(super) name: String,
    pub(super) server: DatabaseUrl,
    /// A connection to the database itself. `pg_terminate_backend` of everybody in a database is a habit of many tests: then it is
    /// made anew.
    pub(super) connection: Option<Connection>,
}

pub(super) async fn copy(server: &DatabaseUrl, template: &Template, name: &str) -> Result<Slot, Error> {
    let fact = || format!("failed to copy the template `{}` to `{name}`", template.name);
    let mut admin = connect(server, REGISTRY).await.map_err(failed(fact()))?;
    databases::copy(&mut admin, &template.name, template.strategy, name).await.map_err(failed(fact()))?;
    admin.close().await.map_err(failed(fact()))?;
    open(server, template, name).await
}

pub(super) async fn open(server: &DatabaseUrl, _template: &Template, name: &str) -> Result<Slot, Error> {
    let connection = connect(server, name).await.map_err(failed(format!("failed to open the database `{name}`")))?;
    Ok(Slot { name: name.to_owned(), server: server.clone(), connection: Some(connection) })
}

impl Slot {
    pub(super) async fn close(self) {
        let Some(connection) = self.connection else { return };
        if let Err(error) = connection.close().await {
            tracing::debug!(database = self.name, %error, "the connection had ended before it was closed");
        }
    }
}
