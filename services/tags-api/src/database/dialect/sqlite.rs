//! SQLite, embedded: a file, many readers and one writer.

use std::time::Duration;

use freshdb::{HasVerdict, OrmSession, SqliteEngine, Verdict};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions};
use sea_orm_migration::async_trait::async_trait;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Dialect, Driver, Opened};
use crate::database::error::OpenError;
use crate::database::open::Options;
use crate::database::url::DatabaseUrl;

#[derive(Debug)]
pub(super) struct Sqlite;

/// Compares the bytes, and UTF-8's bytes are ordered as its code points are.
pub(super) const COLLATION_BY_CODE_POINT: &str = "BINARY";

#[async_trait]
impl Dialect for Sqlite {
    async fn open(&self, url: &DatabaseUrl, options: &Options) -> Result<Opened, OpenError> {
        let mode = url.parameter("mode");
        let in_memory = url.database() == ":memory:" || mode.as_deref() == Some("memory");
        // And not as sqlx parses it, by which each connection would have a database in memory for itself.
        let mut driver = SqliteEngine::driver_options(&url.reveal()).map_err(|error| OpenError::of(url, &error))?;
        if mode.is_none() && !in_memory {
            driver = driver.create_if_missing(true);
        }
        let mut driver = driver
            // Readers do not wait for the writer, nor the writer for them.
            .journal_mode(if in_memory { SqliteJournalMode::Memory } else { SqliteJournalMode::Wal })
            // A 201 means that the tag is on disk, through a power failure too.
            .synchronous(SqliteSynchronous::Full);
        if !in_memory {
            // Made once: where the file is deleted later, no new connection puts an empty one in its place.
            let first = driver.connect().await.map_err(|error| self.cannot_open(url, &error))?;
            first.close().await.map_err(|error| self.cannot_open(url, &error))?;
            driver = driver.create_if_missing(false);
        }
        let engine =
            options.engine().lazy_with::<sqlx::Sqlite>(driver.clone()).map_err(|error| OpenError::of(url, &error))?;
        Ok(Opened { engine: engine.into(), driver: Driver::Sqlite(driver) })
    }

    fn cannot_open(&self, url: &DatabaseUrl, error: &sqlx::Error) -> OpenError {
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

    /// Asked in one transaction that reads before it writes and does either in no time: where another writes, it is told so at
    /// once, and no writer of this process is kept waiting for it. <https://www.sqlite.org/lang_transaction.html>
    async fn ping(&self, session: &OrmSession) -> Result<(), DbErr> {
        let sql = "BEGIN; SELECT version FROM seaql_migrations; DELETE FROM seaql_migrations WHERE FALSE; COMMIT";
        match session.execute_unprepared(sql).await {
            // Whoever writes shows that the file takes writes.
            Err(error) if matches!(error.verdict(), Verdict::Overtime | Verdict::Conflict) => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn transaction(&self) -> TransactionOptions {
        TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() }
    }

    fn migrates_unasked(&self) -> bool {
        true
    }

    /// `BEGIN IMMEDIATE` has locked out every other writer.
    async fn lock_migrations(&self, _transaction: &DatabaseTransaction, _wait: Duration) -> Result<(), DbErr> {
        Ok(())
    }

    async fn unlock_migrations(&self, _transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        Ok(())
    }
}

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}
