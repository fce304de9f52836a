//! The connection that a schema is applied through: a plain one, of no pool, closed before the schema is done.

use futures_util::TryStreamExt;
#[cfg(feature = "mysql")]
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
#[cfg(feature = "postgres")]
use sqlx::postgres::PgConnection;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _};

use super::Target;
use crate::{Error, ErrorKind, Kind};

pub(super) enum Connection {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteConnection),
    #[cfg(feature = "mysql")]
    Mysql(MySqlConnection),
    #[cfg(feature = "postgres")]
    Postgres(PgConnection),
}

/// A statement that failed, out of several that went off at once.
#[derive(Debug)]
pub(super) struct Failed {
    /// How many before it had succeeded.
    pub(super) succeeded: usize,
    pub(super) error: sqlx::Error,
}

impl Connection {
    /// Connects with the session that the server's own client would have.
    pub(super) async fn open(target: &Target) -> Result<Self, Error> {
        let connected = match target.kind() {
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => sqlite(target).await.map(Self::Sqlite),
            #[cfg(feature = "mysql")]
            Kind::Mysql | Kind::Mariadb => mysql(target).await.map(Self::Mysql),
            #[cfg(feature = "postgres")]
            Kind::Postgres => PgConnection::connect(&target.url().reveal()).await.map(Self::Postgres),
            #[allow(unreachable_patterns, reason = "with all engines there is none left")]
            kind => return Err(without(kind)),
        };
        connected.map_err(|error| {
            let fact = format!("cannot connect to `{}`, to apply the schema", target.url());
            Error::new(ErrorKind::Schema, fact).because(error)
        })
    }

    /// Sends statements all at once, by the protocol that takes several.
    pub(super) async fn execute(&mut self, sql: &str) -> Result<(), Failed> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let mut succeeded = 0;
        let counted = |()| {
            succeeded += 1;
            std::future::ready(Ok(()))
        };
        let result = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => query.execute_many(connection).map_ok(drop).try_for_each(counted).await,
            #[cfg(feature = "mysql")]
            Self::Mysql(connection) => query.execute_many(connection).map_ok(drop).try_for_each(counted).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => query.execute_many(connection).map_ok(drop).try_for_each(counted).await,
        };
        result.map_err(|error| Failed { succeeded, error })
    }

    /// Closes the connection after what was done with it. A failure of that comes first.
    pub(super) async fn close_after(self, done: Result<(), Error>) -> Result<(), Error> {
        let closed = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => connection.close().await,
            #[cfg(feature = "mysql")]
            Self::Mysql(connection) => connection.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.close().await,
        };
        match (done, closed) {
            (Ok(()), closed) => closed.map_err(|error| {
                Error::new(ErrorKind::Schema, "the connection that applied the schema does not close").because(error)
            }),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(unclosed)) => {
                tracing::warn!(error = %unclosed, "the connection that failed to apply a schema does not close");
                Err(error)
            }
        }
    }
}

/// Nobody else sees the file until it is complete, and one that is not is thrown away: it need not survive a loss of power.
#[cfg(feature = "sqlite")]
async fn sqlite(target: &Target) -> Result<SqliteConnection, sqlx::Error> {
    let file = target.url().path().unwrap_or_else(|| unreachable!("SQLite's URLs are paths"));
    let options = SqliteConnectOptions::new().filename(file).synchronous(SqliteSynchronous::Off);
    SqliteConnection::connect_with(&options).await
}

/// Without the modes that sqlx's driver adds: a stored routine keeps those of the session that made it, and a script means what it
/// means to the server's own client.
#[cfg(feature = "mysql")]
async fn mysql(target: &Target) -> Result<MySqlConnection, sqlx::Error> {
    let options: MySqlConnectOptions = target.url().reveal().parse()?;
    let options = options.pipes_as_concat(false).no_engine_substitution(false).timezone(None);
    MySqlConnection::connect_with(&options).await
}

pub(super) fn without(kind: Kind) -> Error {
    Error::new(ErrorKind::Config, format!("this program is built without {kind}"))
        .hint(format!("enable the feature `{}` of freshdb-databases", kind.name()))
}
