//! SQLite, embedded: a file, many readers and one writer.

use std::str::FromStr;
use std::time::Duration;

use sea_orm::{DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions};
use sea_orm_migration::async_trait::async_trait;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Dialect, Opened, Pool, log_statements};
use crate::database::error::OpenError;
use crate::database::open::{Options, Vigilance};
use crate::database::url::DatabaseUrl;

#[derive(Debug)]
pub(super) struct Sqlite;

/// Compares the bytes, and UTF-8's bytes are ordered as its code points are.
pub(super) const COLLATION_BY_CODE_POINT: &str = "BINARY";

/// How long a writer waits for one of another process. Those of this process queue up before.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[async_trait]
impl Dialect for Sqlite {
    async fn open(&self, url: &DatabaseUrl, options: &Options, _vigilance: &Vigilance) -> Result<Opened, OpenError> {
        let in_memory = url.database().starts_with(":memory:") || url.database().contains("mode=memory");
        let mut connect = SqliteConnectOptions::from_str(&url.reveal()).map_err(|error| cannot_open(url, &error))?;
        if !url.database().contains("mode=") && !in_memory {
            connect = connect.create_if_missing(true);
        }
        let connect = log_statements(connect, options)
            .busy_timeout(BUSY_TIMEOUT)
            // Readers do not wait for the writer, nor the writer for them.
            .journal_mode(if in_memory { SqliteJournalMode::Memory } else { SqliteJournalMode::Wal })
            // A 201 means that the tag is on disk, through a power failure too.
            .synchronous(SqliteSynchronous::Full);

        let mut first = SqliteConnection::connect_with(&connect).await.map_err(|error| cannot_open(url, &error))?;
        let version: (String,) = sqlx::query_as("SELECT sqlite_version()")
            .fetch_one(&mut first)
            .await
            .map_err(|error| cannot_open(url, &error))?;
        let mut pool = SqlitePoolOptions::new()
            .max_connections(options.pool_size)
            .acquire_timeout(options.pool_wait)
            // A file has no connections that a server could have closed.
            .test_before_acquire(false);
        if in_memory {
            // The database lives as long as a connection to it, and this is the one.
            pool = pool.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        }
        let pool = pool.connect_with(connect).await.map_err(|error| cannot_open(url, &error))?;
        first.close().await.map_err(|error| cannot_open(url, &error))?;
        Ok(Opened { pool: Pool::Sqlite(pool), server: format!("SQLite {}", version.0) })
    }

    fn transaction(&self) -> TransactionOptions {
        TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() }
    }

    fn writers(&self) -> Option<usize> {
        Some(1)
    }

    /// `SQLITE_BUSY_SNAPSHOT`, and `SQLITE_LOCKED` with its extended codes, whose last byte is the same.
    fn is_conflict(&self, error: &sqlx::Error) -> bool {
        code(error).is_some_and(|code| code == 517 || code & 0xff == 6)
    }

    /// `SQLITE_BUSY`: a writer of another process held the file for all of [`BUSY_TIMEOUT`].
    fn is_overtime(&self, error: &sqlx::Error) -> bool {
        code(error).is_some_and(|code| code != 517 && code & 0xff == 5)
    }

    fn is_away(&self, _error: &sqlx::Error) -> bool {
        false
    }

    fn migrates_unasked(&self) -> bool {
        true
    }

    /// `BEGIN IMMEDIATE` has locked out every other writer.
    async fn lock_migrations(&self, _transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        Ok(())
    }

    async fn unlock_migrations(&self, _transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        Ok(())
    }
}

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn cannot_open(url: &DatabaseUrl, error: &sqlx::Error) -> OpenError {
    let (fact, hint) = match (code(error).map(|code| code & 0xff), error) {
        // SQLITE_CANTOPEN says no more than that.
        (Some(14), _) => (
            "the file cannot be opened".to_owned(),
            Some("see that its directory exists and that you may write there".to_owned()),
        ),
        (Some(26), _) => ("the file is not an SQLite database".to_owned(), None),
        (Some(8), _) => ("the file cannot be written to".to_owned(), None),
        (_, sqlx::Error::Database(error)) => (error.message().to_owned(), None),
        (_, error) => (error.to_string(), None),
    };
    OpenError { sentence: format!("cannot open {url}: {fact}"), hint }
}
