//! SQLite, embedded: a file or memory, many readers and one writer.

use std::sync::atomic::{AtomicU32, Ordering};
#[cfg(feature = "test")]
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr, SqlStr, Sqlite};
use sqlx_core::transaction::begin_ansi_transaction_sql;

use super::{Activity, Backend, Birth, Interrupt, Lifetime, pass_on};
use crate::conduct::{Signs, Undone};
use crate::sql::Syntax;
use crate::verdict::Verdict;

/// How many of the virtual machine's operations pass between two looks at whether to stop: a fraction of a millisecond.
const OPERATIONS_BETWEEN_LOOKS: i32 = 4096;

impl Backend for Sqlite {
    const TITLE: &str = "SQLite's";
    const SCHEMES: &[&str] = &["sqlite"];
    const TAKES_PATHS: bool = true;

    const SYNTAX: Syntax = Syntax::Sqlite;

    /// The queue for this one place is fair and wakes the next writer at once; SQLite's own is a poll in which the unlucky
    /// starve.
    const WRITERS: Option<usize> = Some(1);

    fn target(options: &SqliteConnectOptions) -> String {
        if lives_in_memory(options) {
            "sqlite::memory:".into()
        } else {
            format!("sqlite://{}", options.get_filename().display())
        }
    }

    /// As the engine connects: who else connects by them finds the same database in memory.
    fn options(url: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
        Ok(Self::adapt(url.parse()?).0)
    }

    /// A database in memory must be one that a second connection can open: it takes over when the first is lost. That it can
    /// by a URI alone, and by a shared cache: <https://www.sqlite.org/inmemorydb.html>.
    fn adapt(options: SqliteConnectOptions) -> (SqliteConnectOptions, Lifetime) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        if !lives_in_memory(&options) {
            return (options, Lifetime::Own);
        }
        let is_uri = options.get_filename().to_string_lossy().starts_with("file:");
        let options = if is_uri {
            options
        } else {
            options.filename(format!("file:freshdb-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
        };
        (options.in_memory(true).shared_cache(true), Lifetime::OfItsConnections)
    }

    /// SQLite bounds just how long a statement waits for a writer of another process. The file's readers never wait.
    fn bound_statements(limit: Duration) -> String {
        format!("PRAGMA busy_timeout = {}", limit.as_millis().clamp(1, i32::MAX as u128))
    }

    fn settle<'c>(
        connection: &'c mut SqliteConnection,
        settings: &'c str,
    ) -> BoxFuture<'c, Result<Birth, sqlx::Error>> {
        Box::pin(async move {
            if !settings.is_empty() {
                sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *connection).await?;
            }
            let interrupt = Interrupt::default();
            let asked = interrupt.clone();
            let signs = Signs::default();
            let told = signs.clone();
            let mut handle = connection.lock_handle().await?;
            handle.set_progress_handler(OPERATIONS_BETWEEN_LOOKS, move || !asked.is_set());
            handle.set_rollback_hook(move || told.note_rollback());
            Ok(Birth { id: None, interrupt: Some(interrupt), signs })
        })
    }

    fn server(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<String, sqlx::Error>> {
        Box::pin(async move {
            let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await?;
            Ok(format!("SQLite {version}"))
        })
    }

    /// Outside of a transaction ROLLBACK is an error, and SAVEPOINT begins one; inside of one, ROLLBACK ends it whole,
    /// savepoints and all: <https://www.sqlite.org/lang_savepoint.html>.
    fn prove(connection: &mut SqliteConnection, nonce: i64) -> BoxFuture<'_, Result<Option<i64>, sqlx::Error>> {
        Box::pin(async move {
            let sql = format!("SAVEPOINT freshdb; ROLLBACK; SELECT {nonce}");
            let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await?;
            rows.last().map(|row| row.try_get(0)).transpose()
        })
    }

    /// A transaction that begins as a reader and then writes fails at once if another has written in between, and no
    /// waiting helps: <https://www.sqlite.org/lang_transaction.html>.
    fn begin_statement() -> Option<SqlStr> {
        Some("BEGIN IMMEDIATE".into_sql_str())
    }

    /// Every transaction is serializable. One that only reads waits for nobody.
    #[cfg(feature = "sea-orm")]
    fn begin_with(begin: &super::Begin) -> (Option<SqlStr>, bool) {
        match (begin.mode, begin.read_only) {
            (Some("DEFERRED"), _) | (None, Some(true)) => (Some("BEGIN DEFERRED".into_sql_str()), false),
            (Some("EXCLUSIVE"), _) => (Some("BEGIN EXCLUSIVE".into_sql_str()), true),
            _ => (Self::begin_statement(), true),
        }
    }

    /// No server, no sessions: [`Interrupt`] stops a statement.
    fn cancel(_connection: &mut SqliteConnection, _id: u64) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async { Ok(()) })
    }

    fn activity<'c>(
        _connection: &'c mut SqliteConnection,
        _ids: &'c [u64],
    ) -> BoxFuture<'c, Result<Vec<Activity>, sqlx::Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// `SQLITE_BUSY_SNAPSHOT`, and `SQLITE_LOCKED` with its extended codes, whose last byte is the same, may win when run
    /// again. `SQLITE_BUSY`: a writer of another process held the file for all of the time that there was. `SQLITE_READONLY`: the file could
    /// not be opened to write, and stays so on this connection.
    fn judge(error: &dyn sqlx::error::DatabaseError) -> Verdict {
        match error.code().and_then(|code| code.parse::<i32>().ok()) {
            Some(517) => Verdict::Conflict,
            Some(code) if code & 0xff == 6 => Verdict::Conflict,
            Some(code) if code & 0xff == 5 => Verdict::Overtime,
            Some(code) if code & 0xff == 8 => Verdict::ReadOnly,
            _ => Verdict::Refused,
        }
    }

    /// SQLite waits for its `busy_timeout`, but not on the way to another journal mode while somebody writes, or is on that way
    /// himself: <https://www.sqlite.org/c3ref/busy_handler.html>. So it is with connections that are made at once, of which
    /// each is told to have a log.
    fn is_busy(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| Self::judge(error) == Verdict::Overtime)
    }

    /// `SQLITE_NOMEM`, `SQLITE_IOERR` and `SQLITE_FULL` may undo the whole transaction, and any error does that a statement says
    /// ROLLBACK for: <https://www.sqlite.org/lang_transaction.html>, <https://www.sqlite.org/lang_conflict.html>.
    fn undoes(_error: &dyn sqlx::error::DatabaseError, signs: &Signs) -> Undone {
        if signs.has_rolled_back() { Undone::Gone } else { Undone::No }
    }

    /// A savepoint outside of a transaction begins one, and inside of one it is harmless.
    fn replace_transaction(
        connection: &mut SqliteConnection,
        savepoints: usize,
    ) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let begin = std::iter::once("SAVEPOINT freshdb".to_owned());
            let set = (1..=savepoints).map(|depth| begin_ansi_transaction_sql(depth).as_str().to_owned());
            let sql = begin.chain(set).collect::<Vec<_>>().join("; ");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
        })
    }

    /// The place of the library's own structure in memory.
    #[cfg(feature = "test")]
    fn identity(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            let handle = connection.lock_handle().await?.as_raw_handle();
            Ok(handle.addr().get() as u64)
        })
    }

    /// A collation that nobody uses: what it compares by is dropped when the connection is closed, and not when a hook is replaced.
    #[cfg(feature = "test")]
    fn life(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<Option<Weak<()>>, sqlx::Error>> {
        Box::pin(async move {
            let alive = Arc::new(());
            let life = Arc::downgrade(&alive);
            let compare = move |one: &str, other: &str| {
                let _ = &alive;
                one.cmp(other)
            };
            connection.lock_handle().await?.create_collation("freshdb_life", compare)?;
            Ok(Some(life))
        })
    }

    /// `SQLITE_BUSY`, and `SQLITE_CONSTRAINT` of a foreign key that is looked at in the end, with their extended codes:
    /// <https://www.sqlite.org/lang_transaction.html>, <https://www.sqlite.org/foreignkeys.html#fk_deferred>.
    #[cfg(feature = "test")]
    fn refuses_commit(error: &dyn sqlx::error::DatabaseError) -> bool {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        code.is_some_and(|code| matches!(code & 0xff, 5 | 19))
    }

    /// Inside of a transaction none can begin.
    #[cfg(feature = "test")]
    fn is_in_transaction(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            match sqlx::raw_sql("BEGIN; ROLLBACK").execute(connection).await {
                Ok(_) => Ok(false),
                Err(error) if error.as_database_error().is_some() => Ok(true),
                Err(error) => Err(error),
            }
        })
    }

    /// Whoever has the database next has another file.
    #[cfg(feature = "test")]
    fn renew(_connection: &mut SqliteConnection, _again: bool) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async { Ok(false) })
    }

    pass_on!();
}

/// The driver's options do not tell by a method whether they name a database in memory, but print it.
fn lives_in_memory(options: &SqliteConnectOptions) -> bool {
    let name = options.get_filename().to_string_lossy();
    name == ":memory:" || name.is_empty() || format!("{options:?}").contains("in_memory: true")
}
