//! MySQL and MariaDB, which speak one protocol.

use std::str::FromStr;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::async_trait::async_trait;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::{Dialect, Opened, Pool, connect_within, log_statements, pool_options, unreachable_server};
use crate::database::error::OpenError;
use crate::database::open::{Options, Vigilance};
use crate::database::url::DatabaseUrl;

#[derive(Debug)]
pub(super) struct MySql;

#[async_trait]
impl Dialect for MySql {
    async fn open(&self, url: &DatabaseUrl, options: &Options, vigilance: &Vigilance) -> Result<Opened, OpenError> {
        let connect = MySqlConnectOptions::from_str(&url.reveal()).map_err(|error| cannot_open(url, &error))?;
        let connect = log_statements(connect, options);
        let mut first =
            connect_within(MySqlConnection::connect_with(&connect)).await.map_err(|error| cannot_open(url, &error))?;
        let version: (String,) =
            sqlx::query_as("SELECT VERSION()").fetch_one(&mut first).await.map_err(|error| cannot_open(url, &error))?;

        // READ COMMITTED takes no locks on the gaps between rows, over which upserts of neighbouring tags would deadlock:
        // <https://dev.mysql.com/doc/refman/9.7/en/innodb-transaction-isolation-levels.html>. Nothing here reads a row
        // twice. A statement's time is bounded by the time it may wait for a lock, in seconds: of a row, and of the table,
        // whose default is a year on MySQL and a day on MariaDB.
        let seconds = options.statement_timeout.as_secs().max(1);
        let settings = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}"
        );
        // Once here as well: the pool would try again and again, and say no more than that it had no time.
        let settled = first.execute(AssertSqlSafe(settings.clone())).await.map_err(|error| cannot_open(url, &error));
        first.close().await.map_err(|error| cannot_open(url, &error))?;
        settled?;
        let pool = pool_options(options, vigilance, restore)
            .after_connect(move |connection: &mut MySqlConnection, _| {
                let settings = AssertSqlSafe(settings.clone());
                Box::pin(async move { connection.execute(settings).await.map(|_| ()) })
            })
            .connect_lazy_with(connect);
        Ok(Opened { pool: Pool::MySql(pool), server: server_name(&version.0) })
    }

    /// 1213: a deadlock was found and this transaction was chosen to end it. 1020: MariaDB's snapshot isolation found a
    /// newer row.
    fn is_conflict(&self, error: &sqlx::Error) -> bool {
        matches!(number(error), Some(1213 | 1020))
    }

    /// 1205: it waited too long for a lock. 3024 and MariaDB's 1969: it ran too long.
    fn is_overtime(&self, error: &sqlx::Error) -> bool {
        matches!(number(error), Some(1205 | 3024 | 1969))
    }

    /// 1040: too many connections. 1053: shutdown in progress. 1927 (MariaDB) and 4031: the server has closed this
    /// connection.
    fn is_away(&self, error: &sqlx::Error) -> bool {
        matches!(number(error), Some(1040 | 1053 | 1927 | 4031))
    }

    /// DDL commits whatever transaction it meets, so the lock is the session's. The name is cut to the 64 characters that
    /// MySQL takes; two databases that share such a beginning wait for each other, which harms nobody.
    async fn lock_migrations(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        let sql = format!("SELECT GET_LOCK({MIGRATION_LOCK}, {MIGRATION_PATIENCE_SECONDS})");
        let row = transaction.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
        match row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten() {
            Some(1) => Ok(()),
            _ => Err(DbErr::Custom(format!(
                "another process has been migrating it for {MIGRATION_PATIENCE_SECONDS} seconds"
            ))),
        }
    }

    async fn unlock_migrations(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        let sql = format!("SELECT RELEASE_LOCK({MIGRATION_LOCK})");
        transaction.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await.map(|_| ())
    }
}

fn restore(number: i64) -> String {
    format!("ROLLBACK; SELECT CAST({number} AS SIGNED)")
}

const MIGRATION_LOCK: &str = "LEFT(CONCAT('tags-api migrate ', DATABASE()), 64)";
const MIGRATION_PATIENCE_SECONDS: u32 = 60;

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

/// MariaDB says `10.11.19-MariaDB-deb12`, MySQL `9.7.4`.
fn server_name(version: &str) -> String {
    let number = version.split('-').next().unwrap_or(version);
    if version.contains("MariaDB") { format!("MariaDB {number}") } else { format!("MySQL {number}") }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

fn cannot_open(url: &DatabaseUrl, error: &sqlx::Error) -> OpenError {
    let Some(number) = number(error) else { return unreachable_server(url, error) };
    let message = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    let hint = match number {
        1045 | 1698 => Some("see that the user and the password in the URL are right".to_owned()),
        1044 => Some(format!("give the user its rights: GRANT ALL ON `{}`.* TO …", url.database())),
        1049 => Some(format!("create it: CREATE DATABASE `{}`", url.database())),
        _ => None,
    };
    OpenError { sentence: format!("cannot open {url}: {message}"), hint }
}
