//! The connection that a schema is applied through: a plain one, of no pool, closed before the schema is done.

use futures_util::TryStreamExt;
#[cfg(feature = "mysql")]
use sqlx::mysql::MySqlConnection;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnection, PgDatabaseError};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _};

use super::Target;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::dialect::say_goodbye;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::url;
use crate::{Error, ErrorKind, Kind};

pub(super) enum Connection {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteConnection),
    #[cfg(feature = "mysql")]
    Mysql(MySqlConnection),
    #[cfg(feature = "postgres")]
    Postgres(PgConnection),
}

/// Whose settings a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// The servers' own: a script means what it means to the server's own client, and a stored routine keeps the modes of the
    /// session that made it.
    Server,
    /// Those that sqlx's driver sets.
    #[cfg(feature = "sqlx-migrations")]
    Sqlx,
    /// Those that diesel's connection sets: <https://docs.rs/diesel/2.3/diesel/mysql/struct.MysqlConnection.html>.
    #[cfg(feature = "diesel-migrations")]
    Diesel,
}

/// A statement that failed, out of several that went off at once.
#[derive(Debug)]
pub(super) struct Failed {
    /// How many before it had succeeded.
    pub(super) succeeded: usize,
    pub(super) error: sqlx::Error,
}

/// Whether PostgreSQL refuses to do it within a transaction, as to make an index `CONCURRENTLY`. Statements that are sent together are one.
/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
/// MySQL has one of these codes for something else.
pub(super) fn is_refused_in_transaction(error: &sqlx::Error) -> bool {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) {
        return matches!(error.code(), "25001" | "55P04");
    }
    #[cfg(not(feature = "postgres"))]
    let _ = error;
    false
}

/// A NUL ends a text for SQLite, of which the driver then begins the rest anew for ever, and for PostgreSQL's protocol. `name` is what messages
/// call the text.
pub(super) fn refuse_nul(kind: Kind, text: &str, name: &str) -> Result<(), Error> {
    if matches!(kind, Kind::Mysql | Kind::Mariadb) {
        return Ok(());
    }
    let Some((before, _)) = text.split_once('\0') else { return Ok(()) };
    let line = 1 + before.matches('\n').count();
    Err(Error::new(ErrorKind::Schema, format!("line {line} of {name} has a NUL, which ends a text there"))
        .hint("save it as UTF-8: what is in UTF-16 has many of them"))
}

/// The failure of a migration, which runs in a transaction unless it is marked: how, is said where that is in the way.
#[cfg(any(feature = "sqlx-migrations", feature = "diesel-migrations"))]
pub(super) fn migration_failed(fact: String, error: sqlx::Error, mark: &str) -> Error {
    let refused = is_refused_in_transaction(&error);
    let failure = Error::new(ErrorKind::Schema, fact).because(error);
    if !refused {
        return failure;
    }
    failure.hint(format!("give the statement that refuses to be part of a transaction a migration of its own, {mark}"))
}

impl Connection {
    #[cfg_attr(
        not(any(feature = "mysql", feature = "sqlite")),
        expect(unused_variables, reason = "PostgreSQL's has no settings")
    )]
    pub(super) async fn open(target: &Target, session: Session) -> Result<Self, Error> {
        // Its type is written out for a build without any engine, where nothing tells it: the crate's own message is to stand alone.
        let connected: sqlx::Result<Self> = match target.kind() {
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => sqlite(target, session).await.map(Self::Sqlite),
            #[cfg(feature = "mysql")]
            Kind::Mysql | Kind::Mariadb => mysql(target, session).await.map(Self::Mysql),
            #[cfg(feature = "postgres")]
            Kind::Postgres => postgres(target).await.map(Self::Postgres),
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
            std::future::ready(Ok::<_, sqlx::Error>(()))
        };
        let result: sqlx::Result<()> = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => query.execute_many(connection).map_ok(drop).try_for_each(counted).await,
            #[cfg(feature = "mysql")]
            Self::Mysql(connection) => query.execute_many(connection).map_ok(drop).try_for_each(counted).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => query.execute_many(connection).map_ok(drop).try_for_each(counted).await,
            #[cfg(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")))]
            _ => unreachable!("there is no such connection"),
        };
        result.map_err(|error| Failed { succeeded, error })
    }

    /// Closes the connection after what was done with it. A failure of that comes first.
    pub(super) async fn close_after(self, done: Result<(), Error>) -> Result<(), Error> {
        let closed: sqlx::Result<()> = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => connection.close().await,
            #[cfg(feature = "mysql")]
            Self::Mysql(connection) => say_goodbye(connection).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => say_goodbye(connection).await,
        };
        match (done, closed) {
            (Ok(()), closed) => closed.map_err(|error: sqlx::Error| {
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

/// Nobody else sees the file until it is complete, and one that is not is thrown away: it need not survive a loss of power, nor a kill.
#[cfg(feature = "sqlite")]
async fn sqlite(target: &Target, session: Session) -> Result<SqliteConnection, sqlx::Error> {
    let file = target.url().path().ok_or_else(|| sqlx::Error::Configuration("SQLite's URL is no path".into()))?;
    let options = SqliteConnectOptions::new().filename(file).synchronous(SqliteSynchronous::Off);
    // The engine checks no foreign keys unless it is asked to, and sqlx's driver does that.
    let checks_keys = match session {
        Session::Server => false,
        #[cfg(feature = "sqlx-migrations")]
        Session::Sqlx => true,
        #[cfg(feature = "diesel-migrations")]
        Session::Diesel => false,
    };
    let mut connection = SqliteConnection::connect_with(&options.foreign_keys(checks_keys)).await?;
    let journal: String = sqlx::query_scalar("PRAGMA main.journal_mode").fetch_one(&mut connection).await?;
    // A log, which what was applied before has asked for, stays with the file, and would end with this.
    if journal == "delete" {
        sqlx::raw_sql("PRAGMA main.journal_mode = MEMORY").execute(&mut connection).await?;
    }
    Ok(connection)
}

#[cfg(feature = "postgres")]
async fn postgres(target: &Target) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(&url::postgres(target.url().for_sqlx().parse()?)).await
}

/// sqlx's driver always asks for `IGNORE_SPACE` when it connects, which no client does unasked.
#[cfg(feature = "mysql")]
async fn mysql(target: &Target, session: Session) -> Result<MySqlConnection, sqlx::Error> {
    let options = url::mysql(target.url().for_sqlx().parse()?);
    let plain = options.clone().pipes_as_concat(false).no_engine_substitution(false);
    match session {
        Session::Server => {
            let mut connection = MySqlConnection::connect_with(&plain.timezone(None)).await?;
            sqlx::raw_sql("SET sql_mode = DEFAULT").execute(&mut connection).await?;
            Ok(connection)
        }
        #[cfg(feature = "sqlx-migrations")]
        Session::Sqlx => MySqlConnection::connect_with(&options).await,
        #[cfg(feature = "diesel-migrations")]
        Session::Diesel => {
            let mut connection = MySqlConnection::connect_with(&plain).await?;
            let modes = "SET sql_mode = DEFAULT; SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')";
            sqlx::raw_sql(modes).execute(&mut connection).await?;
            Ok(connection)
        }
    }
}

pub(super) fn without(kind: Kind) -> Error {
    Error::new(ErrorKind::Config, format!("this program is built without {kind}"))
        .hint(format!("enable the feature `{}` of freshdb-databases", kind.name()))
}
