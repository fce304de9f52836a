//! MySQL and MariaDB, which speak one protocol.

use std::str::FromStr;
use std::time::Duration;

use freshdb::OrmSession;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::async_trait::async_trait;
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError};

use super::{
    Dialect, Driver, Opened, TlsParameters, driver_error, migrated_elsewhere, takes_writes, unreachable_server,
};
use crate::database::error::OpenError;
use crate::database::open::Options;
use crate::database::url::DatabaseUrl;

#[derive(Debug)]
pub(super) struct MySql;

#[async_trait]
impl Dialect for MySql {
    /// READ COMMITTED takes no locks on the gaps between rows, over which upserts of neighbouring tags would deadlock:
    /// <https://dev.mysql.com/doc/refman/9.7/en/innodb-transaction-isolation-levels.html>. Nothing here reads a row twice.
    async fn open(&self, url: &DatabaseUrl, options: &Options) -> Result<Opened, OpenError> {
        let driver = MySqlConnectOptions::from_str(&url.reveal()).map_err(|error| self.cannot_open(url, &error))?;
        let engine = options
            .engine()
            .on_connect("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .lazy_with::<sqlx::MySql>(driver.clone())
            .map_err(|error| OpenError::of(url, &error))?;
        Ok(Opened { engine: engine.into(), driver: Driver::MySql(driver) })
    }

    fn cannot_open(&self, url: &DatabaseUrl, error: &sqlx::Error) -> OpenError {
        let Some(number) = number(error) else { return unreachable_server(url, error, &TLS) };
        let message = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        let hint = match number {
            1045 | 1698 => Some("see that the user and the password in the URL are right".to_owned()),
            1044 => Some(format!("give the user its rights: GRANT ALL ON `{}`.* TO …", url.database())),
            1049 => Some(format!("create it: CREATE DATABASE `{}`", url.database())),
            // <https://dev.mysql.com/doc/refman/9.7/en/server-system-variables.html#sysvar_require_secure_transport>
            3159 => Some("the server wants TLS: write `?ssl-mode=required` in the URL".to_owned()),
            _ => None,
        };
        OpenError { sentence: format!("cannot open {url}: {message}"), hint }
    }

    /// `ER_TABLEACCESS_DENIED_ERROR`, which comes also where there is no such table yet, on which no right could be given:
    /// <https://dev.mysql.com/doc/refman/9.7/en/grant.html>.
    fn hint_at_history(&self, error: &sqlx::Error) -> Option<&'static str> {
        (number(error)? == 1142).then_some(
            "let the user see which migrations were applied: GRANT SELECT ON seaql_migrations TO …; before the first was, run \
             `tags-api migrate` as a user who may change the schema",
        )
    }

    /// The server's setting, with which `super_read_only` comes, and the session's, which is `tx_read_only` on MariaDB before 11.1: a
    /// name that the server does not know is an error in any other query.
    async fn ping(&self, session: &OrmSession) -> Result<(), DbErr> {
        let sql = "SHOW VARIABLES WHERE variable_name IN ('read_only', 'transaction_read_only', 'tx_read_only')";
        for row in session.query_all_raw(Statement::from_string(DbBackend::MySql, sql)).await? {
            let (name, value): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            // Newer servers of MariaDB's have other words than ON.
            match name.as_str() {
                _ if value == "OFF" => {}
                "read_only" => return takes_writes(session).await,
                // No rights get around the session's; so this fails, in the server's words, for whoever has those that the service needs.
                _ => return session.execute_unprepared("DELETE FROM tags WHERE FALSE").await.map(drop),
            }
        }
        Ok(())
    }

    /// DDL commits whatever transaction it meets, so the lock is the session's. The name is cut to the 64 characters that
    /// MySQL takes; two databases that share such a beginning wait for each other, which harms nobody.
    async fn lock_migrations(&self, transaction: &DatabaseTransaction, wait: Duration) -> Result<(), DbErr> {
        let sql = format!("SELECT GET_LOCK({MIGRATION_LOCK}, {})", wait.as_secs());
        let row = transaction.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
        match row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten() {
            Some(1) => Ok(()),
            _ => Err(migrated_elsewhere(wait)),
        }
    }

    async fn unlock_migrations(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        let sql = format!("SELECT RELEASE_LOCK({MIGRATION_LOCK})");
        transaction.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await.map(|_| ())
    }
}

const TLS: TlsParameters = TlsParameters { mode: "ssl-mode", any_name: "verify_ca", authority: "ssl-ca" };

const MIGRATION_LOCK: &str = "LEFT(CONCAT('tags-api migrate ', DATABASE()), 64)";

/// MySQL and MariaDB each have one collation that compares code points and does not pad with spaces, under names of their
/// own; `utf8mb4_bin`, which both have, pads.
pub(super) async fn collation_by_code_point(connection: &impl ConnectionTrait) -> Result<String, DbErr> {
    let sql = "SELECT CAST(collation_name AS CHAR) FROM information_schema.collations \
               WHERE collation_name IN ('utf8mb4_0900_bin', 'utf8mb4_nopad_bin') ORDER BY 1 LIMIT 1";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
    match row {
        Some(row) => row.try_get_by_index(0),
        None => Err(DbErr::Custom(
            "the server has neither of the collations `utf8mb4_0900_bin` and `utf8mb4_nopad_bin`, which tell tags apart".into(),
        )),
    }
}

/// `ER_NO_SUCH_TABLE` is for those who may read it.
pub(super) async fn has_history(connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
    match connection.execute_unprepared("SELECT version FROM seaql_migrations LIMIT 0").await {
        Err(error) if driver_error(&error).and_then(number) == Some(1146) => Ok(false),
        answer => answer.map(|_| true),
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}
