//! What differs from engine to engine: one trait, one module for each, and no engine's SQL anywhere else.

mod mysql;
mod postgres;
mod sqlite;

use std::fmt::Debug;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, TransactionOptions};
use sea_orm_migration::async_trait::async_trait;
use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, Row};

use super::error::OpenError;
use super::open::{Options, Vigilance};
use super::url::{DatabaseUrl, Kind};

/// One engine.
#[async_trait]
pub(crate) trait Dialect: Debug + Send + Sync {
    /// Connects once, so that what is wrong is said in the server's words; the pool opens its connections later.
    async fn open(&self, url: &DatabaseUrl, options: &Options, vigilance: &Vigilance) -> Result<Opened, OpenError>;

    /// How the transaction of a migration begins.
    fn transaction(&self) -> TransactionOptions {
        TransactionOptions::default()
    }

    /// How many transactions may write at once, where the engine has a limit of its own.
    fn writers(&self) -> Option<usize> {
        None
    }

    /// Whether the error says that this transaction lost against another, and may win when it is run again.
    fn is_conflict(&self, error: &sqlx::Error) -> bool;

    /// Whether the error says that the statement waited or ran for longer than it may.
    fn is_overtime(&self, error: &sqlx::Error) -> bool;

    /// Whether the error says that the server is going down, coming up, or full: it is away, and the statement is sound.
    fn is_away(&self, error: &sqlx::Error) -> bool;

    /// Whether pending migrations may be applied without being asked for: nobody else has the database open.
    fn migrates_unasked(&self) -> bool {
        false
    }

    /// Waits until no other process migrates this database, in a transaction that [`Self::unlock_migrations`] ends for.
    async fn lock_migrations(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr>;

    /// Lets the next process migrate.
    async fn unlock_migrations(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr>;
}

/// A database that has answered.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) pool: Pool,
    /// The server's name and version, such as `MariaDB 10.11.19`.
    pub(crate) server: String,
}

/// The pool of one of the engines.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(sqlx::SqlitePool),
    MySql(sqlx::MySqlPool),
    Postgres(sqlx::PgPool),
}

impl Pool {
    pub(crate) fn connection(&self) -> DatabaseConnection {
        match self.clone() {
            Self::Sqlite(pool) => pool.into(),
            Self::MySql(pool) => pool.into(),
            Self::Postgres(pool) => pool.into(),
        }
    }

    pub(crate) fn size(&self) -> u32 {
        match self {
            Self::Sqlite(pool) => pool.size(),
            Self::MySql(pool) => pool.size(),
            Self::Postgres(pool) => pool.size(),
        }
    }

    pub(crate) fn idle(&self) -> usize {
        match self {
            Self::Sqlite(pool) => pool.num_idle(),
            Self::MySql(pool) => pool.num_idle(),
            Self::Postgres(pool) => pool.num_idle(),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::MySql(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The dialect that a URL asks for.
pub(crate) fn of(url: &DatabaseUrl) -> &'static dyn Dialect {
    match url.kind() {
        Kind::Sqlite => &sqlite::Sqlite,
        Kind::MySql => &mysql::MySql,
        Kind::Postgres => &postgres::Postgres,
    }
}

/// The collation that tells texts apart by their code points and by nothing else, and orders them so.
pub(crate) async fn collation_by_code_point(connection: &impl ConnectionTrait) -> Result<String, DbErr> {
    match connection.get_database_backend() {
        DbBackend::MySql => mysql::collation_by_code_point(connection).await,
        DbBackend::Postgres => Ok(postgres::COLLATION_BY_CODE_POINT.into()),
        _ => Ok(sqlite::COLLATION_BY_CODE_POINT.into()),
    }
}

/// The settings that the servers' pools have in common.
///
/// `restore` is text that ends any transaction and gives one row with the number that it is given: a connection on which
/// that number comes back owes no other answer, and is in no transaction.
fn pool_options<DB>(options: &Options, vigilance: &Vigilance, restore: fn(i64) -> String) -> PoolOptions<DB>
where
    DB: sqlx::Database,
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    i64: sqlx::Type<DB> + for<'r> sqlx::Decode<'r, DB>,
    usize: sqlx::ColumnIndex<DB::Row>,
{
    let (acquiring, releasing) = (vigilance.clone(), vigilance.clone());
    PoolOptions::new()
        .max_connections(options.pool_size)
        .acquire_timeout(options.pool_wait)
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            let doubtful = acquiring.doubts(metadata.idle_for);
            Box::pin(async move {
                if doubtful {
                    sqlx::Connection::ping(connection).await?;
                }
                Ok(true)
            })
        })
        .after_release(move |connection, _| {
            let doubtful = releasing.is_alert();
            Box::pin(async move {
                if doubtful {
                    let number = i64::from(fastrand::u32(..));
                    let proof = sqlx::raw_sql(AssertSqlSafe(restore(number))).fetch_all(connection);
                    let rows = tokio::time::timeout(PROOF_TIMEOUT, proof).await.map_err(std::io::Error::from)??;
                    let proven = rows.last().and_then(|row| row.try_get::<i64, usize>(0).ok()) == Some(number);
                    if !proven {
                        return Err(sqlx::Error::Protocol(
                            "the connection gives the answer to another question".into(),
                        ));
                    }
                }
                Ok(true)
            })
        })
}

/// How long a connection may take to prove itself.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);

/// Logs statements if the user asked for it, and slow ones in any case.
fn log_statements<C: sqlx::ConnectOptions>(connect: C, options: &Options) -> C {
    let level = if options.echo { log::LevelFilter::Info } else { log::LevelFilter::Off };
    connect.log_statements(level).log_slow_statements(log::LevelFilter::Warn, SLOW_STATEMENT)
}

const SLOW_STATEMENT: Duration = Duration::from_secs(1);

/// How long a server may take to accept a first connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

async fn connect_within<C>(connect: impl Future<Output = Result<C, sqlx::Error>>) -> Result<C, sqlx::Error> {
    tokio::time::timeout(CONNECT_TIMEOUT, connect).await.unwrap_or_else(|_elapsed| {
        let message = format!("no answer within {}", humantime::format_duration(CONNECT_TIMEOUT));
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
    })
}

/// Why a server cannot be opened that has given no error of its own.
fn unreachable_server(url: &DatabaseUrl, error: &sqlx::Error) -> OpenError {
    let (fact, hint) = match error {
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => (
            "nothing listens there".to_owned(),
            Some("see that the server runs and that host and port are right".to_owned()),
        ),
        sqlx::Error::Io(error) => (error.to_string(), None),
        error => (error.to_string(), None),
    };
    OpenError { sentence: format!("cannot open {url}: {fact}"), hint }
}
