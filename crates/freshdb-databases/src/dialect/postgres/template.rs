//! What a template holds.

use std::time::{Duration, Instant};

use super::connection::{Connection, connect, execute, identifier, is, value};
use super::fault::failed;
use crate::{DatabaseUrl, Error};

/// For how long another process that reads the same template is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// `ALLOW_CONNECTIONS false`.
const NOT_ACCEPTING_CONNECTIONS: &str = "55000";

/// What all copies of a template must equal.
pub(crate) struct Template {
    pub(super) name: String,
    /// The clause of `CREATE DATABASE` that makes copies cheapest on this server; nothing where there is no choice.
    pub(super) strategy: &'static str,
}

/// Reads a template and seals it: a session on it, of a monitoring tool for one, would keep everybody from copying it.
pub(super) async fn read(server: &DatabaseUrl, name: &str) -> Result<Template, Error> {
    let fact = || format!("failed to read the template `{name}`");
    let mut admin = connect(server, super::super::REGISTRY).await.map_err(failed(fact()))?;
    let mut inside = open(&mut admin, server, name).await.map_err(failed(fact()))?;
    let read = read_open(&mut inside, name).await.map_err(failed(fact()));
    // Whatever became of the reading, nobody is left on the template.
    let closed = inside.close().await.map_err(failed(fact()));
    let sealed = execute(&mut admin, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", identifier(name))).await;
    let template = read?;
    closed?;
    sealed.map_err(failed(format!("failed to close the template `{name}` to others")))?;
    admin.close().await.map_err(failed(fact()))?;
    Ok(template)
}

/// Connects to a template, which another process may have sealed, and may be about to seal again.
async fn open(admin: &mut Connection, server: &DatabaseUrl, name: &str) -> Result<Connection, sqlx::Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connect(server, name).await {
            Err(error) if is(&error, &[NOT_ACCEPTING_CONNECTIONS]) && Instant::now() < deadline => {
                execute(admin, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(name))).await?;
            }
            answer => return answer,
        }
    }
}

async fn read_open(inside: &mut Connection, name: &str) -> Result<Template, sqlx::Error> {
    Ok(Template { name: name.to_owned(), strategy: strategy(inside).await? })
}

/// `FILE_COPY` takes half the time of `WAL_LOG`, but has the server write all that is not on disk yet, of every database: where
/// writing is waited for, that can cost more than the copy does.
async fn strategy(inside: &mut Connection) -> Result<&'static str, sqlx::Error> {
    // The two came with this setting's new meaning; a server without the choice copies files.
    let choice = value(inside, "SELECT to_regproc('pg_catalog.pg_stat_force_next_flush') IS NOT NULL").await?;
    if choice.as_deref() != Some("t") {
        return Ok("");
    }
    let sql = format!("SELECT current_setting('fsync') = 'off' OR pg_database_size(current_database()) > {}", 64 << 20);
    let files = value(inside, &sql).await?;
    Ok(if files.as_deref() == Some("t") { " STRATEGY FILE_COPY" } else { " STRATEGY WAL_LOG" })
}
