//! PostgreSQL.

use std::str::FromStr;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::async_trait::async_trait;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::{Dialect, Opened, Pool, connect_within, log_statements, pool_options, unreachable_server};
use crate::database::error::OpenError;
use crate::database::open::{Options, Vigilance};
use crate::database::url::DatabaseUrl;

#[derive(Debug)]
pub(super) struct Postgres;

/// Compares the bytes, and UTF-8's bytes are ordered as its code points are.
pub(super) const COLLATION_BY_CODE_POINT: &str = "\"C\"";

#[async_trait]
impl Dialect for Postgres {
    async fn open(&self, url: &DatabaseUrl, options: &Options, vigilance: &Vigilance) -> Result<Opened, OpenError> {
        let milliseconds = options.statement_timeout.as_millis().max(1).to_string();
        let connect = PgConnectOptions::from_str(&url.reveal())
            .map_err(|error| cannot_open(url, &error))?
            .application_name("tags-api")
            .options([
                ("statement_timeout", milliseconds.as_str()),
                // A transaction of which this process has lost track does not hold its locks for ever.
                ("idle_in_transaction_session_timeout", milliseconds.as_str()),
            ]);
        let connect = log_statements(connect, options);
        let mut first =
            connect_within(PgConnection::connect_with(&connect)).await.map_err(|error| cannot_open(url, &error))?;
        let answer: (String, String) =
            sqlx::query_as("SELECT current_setting('server_version'), current_setting('server_encoding')")
                .fetch_one(&mut first)
                .await
                .map_err(|error| cannot_open(url, &error))?;
        first.close().await.map_err(|error| cannot_open(url, &error))?;
        let (version, encoding) = answer;
        if encoding != "UTF8" {
            return Err(OpenError {
                sentence: format!("cannot use {url}: its encoding is {encoding}, in which most tags cannot be stored"),
                hint: Some(format!(
                    "create it with CREATE DATABASE \"{}\" ENCODING 'UTF8' TEMPLATE template0",
                    url.database()
                )),
            });
        }
        let pool = pool_options(options, vigilance, restore).connect_lazy_with(connect);
        // Debian's builds add their package's version in parentheses.
        let number = version.split(' ').next().unwrap_or(&version);
        Ok(Opened { pool: Pool::Postgres(pool), server: format!("PostgreSQL {number}") })
    }

    /// Serialization failure and deadlock:
    /// <https://www.postgresql.org/docs/15/mvcc-serialization-failure-handling.html>.
    fn is_conflict(&self, error: &sqlx::Error) -> bool {
        sqlstate(error).is_some_and(|state| matches!(state.as_str(), "40001" | "40P01"))
    }

    /// Cancelled by `statement_timeout`, and a lock that was not to be had in time.
    fn is_overtime(&self, error: &sqlx::Error) -> bool {
        sqlstate(error).is_some_and(|state| matches!(state.as_str(), "57014" | "55P03"))
    }

    /// Class 57P: the server is going down or coming up. Class 08: the connection broke. 53300: too many connections.
    fn is_away(&self, error: &sqlx::Error) -> bool {
        sqlstate(error).is_some_and(|state| state.starts_with("57P") || state.starts_with("08") || state == "53300")
    }

    /// Held to the end of the transaction, in which all of the migration happens. The number is this service's own.
    async fn lock_migrations(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        let sql = "SELECT pg_advisory_xact_lock(8387794213964869)";
        transaction.execute_raw(Statement::from_string(DbBackend::Postgres, sql)).await.map(|_| ())
    }

    async fn unlock_migrations(&self, _transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        Ok(())
    }
}

fn restore(number: i64) -> String {
    format!("ROLLBACK; SELECT {number}::bigint")
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn cannot_open(url: &DatabaseUrl, error: &sqlx::Error) -> OpenError {
    let Some(state) = sqlstate(error) else { return unreachable_server(url, error) };
    let message = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    let hint = match state.as_str() {
        "28P01" | "28000" => Some("see that the user and the password in the URL are right".to_owned()),
        "3D000" => Some(format!("create it: CREATE DATABASE \"{}\"", url.database())),
        _ => None,
    };
    OpenError { sentence: format!("cannot open {url}: {message}"), hint }
}
