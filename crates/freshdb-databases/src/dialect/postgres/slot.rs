//! A copy of a template, and what its resets need.

use super::connection::{Connection, connect, connect_unseen, execute, value};
use super::fault::{failed, fault};
use super::probe::{DATABASE, Seen};
use super::template::{Mark, Template};
use super::{super::Fault, super::REGISTRY, databases, unlogged};
use crate::{DatabaseUrl, Error, ErrorKind};

/// A copy of a template.
pub(crate) struct Slot {
    pub(super) name: String,
    server: DatabaseUrl,
    /// Whether triggers fire when somebody logs in.
    greets: bool,
    connection: Option<Maintenance>,
    /// What the probe said when the slot was pristine; nothing if that is not known.
    pub(super) baseline: Option<Seen>,
    /// What is said of the database itself when it is pristine.
    pub(super) database: String,
    /// By what it was seen last that this is said still.
    pub(super) said: Option<String>,
    /// Of each catalog, when it was last found to equal the template's.
    pub(super) signatures: Vec<String>,
    /// Of each relation: the file that its rows are in.
    pub(super) files: Vec<String>,
    /// Of each relation that has rows.
    pub(super) marks: Vec<Option<Mark>>,
    /// Whether all that was ever done to it was done here. Another process may have written rows anew, which then lie elsewhere than the
    /// marks say.
    pub(super) is_own: bool,
}

/// A connection to the database itself. `pg_terminate_backend` of everybody in a database is a habit of many tests: then it is
/// made anew.
pub(super) struct Maintenance {
    pub(super) connection: Connection,
    /// Whether what it does is left out of the counters. Otherwise they must be read again after it.
    pub(super) quiet: bool,
    /// What would have to be granted so that triggers and foreign keys leave it alone; nothing if they do.
    pub(super) lacking: Option<String>,
    /// Whether it has been told what it will be asked.
    pub(super) prepared: bool,
}

pub(super) async fn copy(server: &DatabaseUrl, template: &Template, name: &str) -> Result<Slot, Error> {
    let fact = || format!("failed to copy the template `{}` to `{name}`", template.name);
    let mut admin = connect(server, REGISTRY).await.map_err(failed(fact()))?;
    let clauses = format!("{}{}", template.settings.clauses, template.strategy);
    databases::copy(&mut admin, &template.name, &clauses, name).await.map_err(failed(fact()))?;
    databases::copy_settings(&mut admin, &template.settings, name).await.map_err(failed(fact()))?;
    let privileges = databases::privileges(&mut admin, name).await.map_err(failed(fact()))?;
    admin.close().await.map_err(failed(fact()))?;
    if privileges != template.settings.privileges {
        return Err(other_privileges(template, name, privileges.as_deref()));
    }
    // Nobody else knows the name yet.
    Ok(Slot { is_own: true, ..adopt(server, template, name).await? })
}

/// A grant by anybody but the owner cannot be repeated: what a superuser grants counts as the owner's.
fn other_privileges(template: &Template, name: &str, privileges: Option<&str>) -> Error {
    let words = |privileges: Option<&str>| {
        privileges.map_or_else(|| "those of any new database".to_owned(), |privileges| format!("`{privileges}`"))
    };
    let (has, should) = (words(privileges), words(template.settings.privileges.as_deref()));
    let fact =
        format!("the privileges of the copy `{name}` are {has}, and of its template `{}`, {should}", template.name);
    Error::new(ErrorKind::Database, fact)
        .hint("let the owner of the database grant what the schema grants on it, and nobody else")
}

/// What is seen now is what a pristine copy looks like, provided that no crash has emptied it.
pub(super) async fn adopt(server: &DatabaseUrl, template: &Template, name: &str) -> Result<Slot, Error> {
    let mut slot = open(server, template, name, "").await?;
    let failed = || failed(format!("failed to open the database `{name}`"));
    let maintenance = slot.maintenance().await.map_err(failed())?;
    if let Some(lost) = unlogged::lost_by_copy(&mut maintenance.connection, template).await.map_err(failed())? {
        return Err(unlogged::error(name, &lost));
    }
    let (seen, database) = template.probe.count_and_say(maintenance).await.map_err(failed())?;
    slot.database = database;
    slot.said = Some(seen.said.clone());
    slot.baseline = template.counters.then_some(seen);
    Ok(slot)
}

pub(super) async fn open(server: &DatabaseUrl, template: &Template, name: &str, memo: &str) -> Result<Slot, Error> {
    let mut slot = Slot {
        name: name.to_owned(),
        server: server.clone(),
        greets: template.greets,
        connection: None,
        baseline: (template.counters && !memo.is_empty()).then(|| Seen::unwritten(memo, template)),
        database: template.database.clone(),
        said: None,
        signatures: template.signatures.clone(),
        files: template.relations.iter().map(|relation| relation.file.clone()).collect(),
        marks: template.relations.iter().map(|relation| relation.seed.as_ref().map(|seed| seed.mark.clone())).collect(),
        is_own: false,
    };
    slot.maintenance().await.map_err(failed(format!("failed to open the database `{name}`")))?;
    Ok(slot)
}

impl Slot {
    /// The epoch of the server's counters, by which all that was ever written to a copy is known.
    pub(super) fn memo(&self) -> String {
        let unwritten = self.baseline.as_ref().filter(|baseline| baseline.is_unwritten());
        unwritten.map(|baseline| baseline.epoch.clone()).unwrap_or_default()
    }

    /// What is said of the database itself.
    pub(super) async fn says(&mut self) -> Result<String, sqlx::Error> {
        let connection = &mut self.maintenance().await?.connection;
        Ok(value(connection, &format!("SELECT {DATABASE}")).await?.unwrap_or_default())
    }

    /// The connection to the database itself.
    pub(super) async fn maintenance(&mut self) -> Result<&mut Maintenance, sqlx::Error> {
        let maintenance = if let Some(maintenance) = self.connection.take() {
            maintenance
        } else {
            let connecting = if self.greets {
                connect_unseen(&self.server, &self.name).await
            } else {
                connect(&self.server, &self.name).await
            };
            Maintenance::over(connecting?).await?
        };
        Ok(self.connection.insert(maintenance))
    }

    /// Forgets a connection that turned out to have ended.
    pub(super) fn disconnected(&mut self) {
        self.connection = None;
    }

    pub(super) async fn close(self) {
        let Some(maintenance) = self.connection else { return };
        if let Err(error) = maintenance.connection.close().await {
            tracing::debug!(database = self.name, %error, "the connection had ended before it was closed");
        }
    }
}

impl Maintenance {
    async fn over(mut connection: Connection) -> Result<Self, sqlx::Error> {
        let quiet = lacking(&mut connection, "SET track_counts = off").await?.is_none();
        let lacking = lacking(&mut connection, "SET session_replication_role = replica").await?;
        Ok(Self { connection, quiet, lacking, prepared: false })
    }
}

/// What would permit it; nothing if it is permitted. Both settings are a superuser's, unless granted. Without them a reset does less, or is slower.
async fn lacking(connection: &mut Connection, sql: &str) -> Result<Option<String>, sqlx::Error> {
    let Err(error) = execute(connection, sql).await else { return Ok(None) };
    match fault(&error) {
        Fault::Denied { grant, .. } => Ok(Some(grant)),
        _ => Err(error),
    }
}
