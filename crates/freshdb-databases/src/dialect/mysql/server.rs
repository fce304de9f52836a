//! Administering a server: its registry, locks, limits, and whole databases.

use std::time::{Duration, Instant};

use sqlx::MySqlConnection;

use super::super::{REGISTRY, say_goodbye};
use super::connection::{OWN, SETTINGS, connect, execute, identifier, literal, number, results, rows};
use super::fault::carry;
use super::sessions::{are_still_there, end_sessions, on_database};
use crate::{DatabaseUrl, Error, ErrorKind, Kind};

const CANNOT_CREATE_DATABASE_EXISTS: u16 = 1007;
/// Of MariaDB alone: MySQL leaves the directory.
const CANNOT_REMOVE_DIRECTORY: u16 = 1010;
const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// A schema that was altered to be read-only: <https://dev.mysql.com/doc/refman/9.7/en/alter-database.html>.
const READ_ONLY_SCHEMA: u16 = 3989;

/// For how long the sessions on a database that is to be dropped, and their locks, are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What decides how a statement of a schema turns out. A server that does not know one leaves it out.
const IDENTITY: &str = "SHOW GLOBAL VARIABLES WHERE variable_name IN ('version', 'version_comment', 'sql_mode', 'character_set_server', \
     'collation_server', 'lower_case_table_names', 'explicit_defaults_for_timestamp', 'default_storage_engine', \
     'innodb_default_row_format', 'innodb_file_per_table', 'innodb_strict_mode', 'time_zone', 'sql_generate_invisible_primary_key', \
     'character_set_collations', 'default_collation_for_utf8mb4', 'auto_increment_increment', 'auto_increment_offset', \
     'innodb_page_size', 'div_precision_increment', 'default_week_format', 'restrict_fk_on_non_standard_key', \
     'init_connect', 'old_mode')";

pub(super) async fn engine(server: &DatabaseUrl) -> Result<Kind, sqlx::Error> {
    let mut connection = connect(server, "").await?;
    let engine = engine_of(&mut connection).await?;
    say_goodbye(connection).await?;
    Ok(engine)
}

/// MariaDB says so in its version: <https://mariadb.com/kb/en/version/>.
pub(super) async fn engine_of(connection: &mut MySqlConnection) -> Result<Kind, sqlx::Error> {
    let answer = rows(connection, "SELECT VERSION()").await?;
    let version = answer.into_iter().flatten().flatten().next().unwrap_or_default();
    Ok(if version.to_ascii_lowercase().contains("mariadb") { Kind::Mariadb } else { Kind::Mysql })
}

pub(super) async fn create_registry(server: &DatabaseUrl) -> Result<(), sqlx::Error> {
    let mut connection = connect(server, "").await?;
    if !exists(&mut connection, REGISTRY).await? {
        match create(&mut connection, REGISTRY).await {
            // Another process was faster.
            Err(error) if number(&error) == Some(CANNOT_CREATE_DATABASE_EXISTS) => {}
            answer => answer?,
        }
    }
    say_goodbye(connection).await
}

pub(super) async fn try_lock(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
    let answer = rows(connection, &format!("SELECT GET_LOCK({}, 0)", literal(name))).await?;
    Ok(answer.first().and_then(|row| row.first()) == Some(&Some("1".to_owned())))
}

pub(super) async fn unlock(connection: &mut MySqlConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, &format!("SELECT RELEASE_LOCK({})", literal(name))).await
}

/// The user is part of it: what a schema makes is its definer's, and nobody else may say that of a copy.
pub(super) async fn identity(connection: &mut MySqlConnection) -> Result<String, sqlx::Error> {
    let answers = results(connection, &format!("SELECT 'user', CURRENT_USER(); {IDENTITY}")).await?;
    let lines: Vec<String> = answers
        .into_iter()
        .flatten()
        .map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("="))
        .collect();
    Ok(lines.join("\n"))
}

/// The server keeps one more for an administrator, which is not counted in `max_connections`.
pub(super) async fn connection_limit(connection: &mut MySqlConnection) -> Result<u32, sqlx::Error> {
    let answer = rows(connection, "SELECT @@GLOBAL.max_connections, @@SESSION.max_user_connections").await?;
    let limits = answer.into_iter().flatten().flatten().filter_map(|limit| limit.parse::<u32>().ok());
    // A `max_user_connections` of 0 is none.
    Ok(limits.filter(|limit| *limit > 0).min().unwrap_or(u32::MAX))
}

pub(super) async fn exists(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
    let sql = format!("{OWN}SELECT 1 FROM information_schema.schemata WHERE schema_name = {}", literal(name));
    Ok(!rows(connection, &sql).await?.is_empty())
}

pub(super) async fn create(connection: &mut MySqlConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, &format!("CREATE DATABASE {}", identifier(name))).await
}

/// A session with an open transaction holds a metadata lock: it is ended first. Until the server has let go, the statement is
/// tried again.
pub(super) async fn drop(connection: &mut MySqlConnection, name: &str) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + PATIENCE;
    execute(connection, "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1").await?;
    let dropped = loop {
        let attempt = match end_sessions(connection, &on_database(name), None).await {
            Ok(_) => execute(connection, &format!("DROP DATABASE IF EXISTS {}", identifier(name))).await,
            Err(error) => Err(error),
        };
        match attempt {
            Err(error) if number(&error) == Some(LOCK_WAIT_TIMEOUT) && Instant::now() < deadline => {}
            Err(error) if number(&error) == Some(READ_ONLY_SCHEMA) && Instant::now() < deadline => {
                execute(connection, &format!("ALTER DATABASE {} READ ONLY = DEFAULT", identifier(name))).await?;
            }
            // What is rolled back may be done by then.
            Err(error) if are_still_there(&error) && Instant::now() < deadline => {}
            Err(error) if number(&error) == Some(CANNOT_REMOVE_DIRECTORY) => break Err(holds_files(name, error)),
            answer => break answer,
        }
    };
    execute(connection, SETTINGS).await?;
    dropped
}

fn holds_files(name: &str, error: sqlx::Error) -> sqlx::Error {
    let fact = "its directory holds what is no table's";
    carry(Error::new(ErrorKind::Database, fact).because(error).hint(format!(
        "in the server's data directory, remove from `{name}` what is no table's: `SELECT … INTO OUTFILE` writes a file without a path there"
    )))
}
