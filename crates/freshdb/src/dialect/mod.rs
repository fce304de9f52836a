//! What differs from engine to engine: one trait, one module for each, and no engine's SQL anywhere else.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(any(feature = "mysql", feature = "postgres"))]
use std::borrow::Cow;
use std::future::Future;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "test")]
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::{Connection, Either, SqlStr};

use crate::conduct::{Signs, Undone};
use crate::executor::Query;
use crate::sql::Syntax;
use crate::verdict::Verdict;

/// A database that freshdb has an engine for: [`sqlx::Sqlite`], [`sqlx::MySql`] (MariaDB too) or [`sqlx::Postgres`].
///
/// Sealed: what an engine needs of a database is no stable interface.
pub trait Dialect: Backend {}

impl<DB: Backend> Dialect for DB {}

/// How the driver of a database connects.
pub(crate) type ConnectOptions<DB> = <<DB as sqlx::Database>::Connection as Connection>::Options;

/// What a statement gives: rows, and a result at the end of each statement.
pub(crate) type Item<DB> =
    Result<Either<<DB as sqlx::Database>::QueryResult, <DB as sqlx::Database>::Row>, sqlx::Error>;

/// What freshdb needs of a database. Public in name only: its module is not.
pub trait Backend: sqlx::Database {
    /// Its name, for people.
    const TITLE: &str;

    /// The schemes of its URLs. Drivers do not look at them.
    const SCHEMES: &[&str];

    /// Whether what is no URL is a file's path.
    const TAKES_PATHS: bool = false;

    /// How the server reads a statement.
    const SYNTAX: Syntax = Syntax::Standard;

    /// How many transactions may write at once, where the engine has a limit of its own.
    const WRITERS: Option<usize> = None;

    /// Whether a new connection may be left without a word by a server that is well.
    const MAY_BE_SILENT: bool = false;

    /// Whether a session can be told to end while its connection is open. Once that is closed, a pooler between the two gives the session
    /// to somebody else.
    const ENDS_WHILE_OPEN: bool = false;

    /// Whether a SELECT may be refused after its rows were sent, so that one of which just the first row is wanted is read to its
    /// end too.
    const SELECT_MAY_FAIL_LATE: bool = false;

    /// The driver's options for a URL.
    fn options(url: &str) -> Result<ConnectOptions<Self>, sqlx::Error> {
        url.parse()
    }

    /// Where the database is, as a URL without any secret.
    fn target(options: &ConnectOptions<Self>) -> String;

    /// Prepares the options for a pool, which may connect more than once. Says whether the database lives in memory: it
    /// is gone with the last connection to it.
    fn adapt(options: ConnectOptions<Self>) -> (ConnectOptions<Self>, Lifetime) {
        (options, Lifetime::Own)
    }

    /// The same without what only a network has need of, where they leave that open. The server may refuse it.
    #[cfg(feature = "test")]
    fn plain(_: &ConnectOptions<Self>) -> Option<ConnectOptions<Self>> {
        None
    }

    /// Statements that bound what one statement may take, where the engine can.
    fn bound_statements(limit: Duration) -> String;

    /// Prepares a new connection, and asks how the server calls it.
    fn settle<'c>(connection: &'c mut Self::Connection, settings: &'c str)
    -> BoxFuture<'c, Result<Birth, sqlx::Error>>;

    /// The server's name and version, such as `MariaDB 10.11.19`.
    fn server(connection: &mut Self::Connection) -> BoxFuture<'_, Result<String, sqlx::Error>>;

    /// Ends whatever transaction is open, and any lock that the session holds beyond it; gives `nonce` back.
    ///
    /// A connection on which that number comes back owes no other answer.
    fn prove(connection: &mut Self::Connection, nonce: i64) -> BoxFuture<'_, Result<Option<i64>, sqlx::Error>>;

    /// The statement with which a transaction begins, where it is not the driver's.
    fn begin_statement() -> Option<SqlStr> {
        None
    }

    /// The statement with which a transaction of these properties begins, and whether it may write where that is limited.
    #[cfg(feature = "sea-orm")]
    fn begin_with(begin: &Begin) -> (Option<SqlStr>, bool);

    /// Ends the session of this number, and what it is executing. One that is gone already is no error.
    fn cancel(connection: &mut Self::Connection, id: u64) -> BoxFuture<'_, Result<(), sqlx::Error>>;

    /// Ends what a session executes whose client has closed its connection, so that it ends itself; says whether it is gone.
    fn interrupt(connection: &mut Self::Connection, id: u64) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move { Self::cancel(connection, id).await.map(|()| true) })
    }

    /// What the server knows of these sessions.
    fn activity<'c>(
        connection: &'c mut Self::Connection,
        ids: &'c [u64],
    ) -> BoxFuture<'c, Result<Vec<Activity>, sqlx::Error>>;

    /// What the server's error means for the work that met it.
    fn judge(error: &dyn sqlx::error::DatabaseError) -> Verdict;

    /// Whether the server could not greet a new connection for a reason that is not the connection's, and may greet the next.
    fn is_disturbed(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether a new connection met a file that somebody else has for himself just now.
    fn is_busy(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether the server has as many connections as it takes, from all or from this user.
    fn is_full(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether the server had ended the session, and its transaction, before it heard of the statement that met this error.
    fn came_too_late(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether the driver, which gives this error by itself, waits from then on for an answer that nobody owes it.
    fn confuses(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether the driver, which gives this error by itself, has stopped in the middle of an answer, and does not find its end.
    fn garbles(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether the connection would give this error again, which another would not.
    fn spoils(_error: &dyn sqlx::error::DatabaseError) -> bool {
        false
    }

    /// What the server's error has done to the transaction in which it came.
    fn undoes(error: &dyn sqlx::error::DatabaseError, signs: &Signs) -> Undone;

    /// The statement that begins a transaction, with a mark that goes with it, where a statement may end one without a word.
    fn marked(statement: Option<SqlStr>) -> Option<SqlStr> {
        statement
    }

    /// Whether the transaction is the one that was [marked](Self::marked) still. Takes the mark away: what is left to do is to end it.
    fn is_the_marked_one(_connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async { Ok(true) })
    }

    /// Makes a transaction with `savepoints` in the place of one that is gone, for the driver to roll back.
    fn replace_transaction(
        connection: &mut Self::Connection,
        savepoints: usize,
    ) -> BoxFuture<'_, Result<(), sqlx::Error>>;

    /// What tells a connection from every other one while it lives: the server's number for it.
    #[cfg(feature = "test")]
    fn identity(connection: &mut Self::Connection) -> BoxFuture<'_, Result<u64, sqlx::Error>>;

    /// Lives as long as a new connection does, where no server tells who is connected.
    #[cfg(feature = "test")]
    fn life(_connection: &mut Self::Connection) -> BoxFuture<'_, Result<Option<Weak<()>>, sqlx::Error>> {
        Box::pin(async { Ok(None) })
    }

    /// Whether a transaction goes on whose COMMIT met this error.
    #[cfg(feature = "test")]
    fn refuses_commit(_error: &dyn sqlx::error::DatabaseError) -> bool {
        false
    }

    /// Whether a transaction is open that another statement has to end.
    #[cfg(feature = "test")]
    fn is_in_transaction(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>>;

    /// Makes a session which only read and wrote rows as good as a new one, but for what [`prove`](Self::prove) does when it is taken, and says
    /// whether it is. `again` if that was so before, on the same database.
    #[cfg(feature = "test")]
    fn renew(connection: &mut Self::Connection, again: bool) -> BoxFuture<'_, Result<bool, sqlx::Error>>;

    /// Closes the connection in order.
    fn close(connection: Self::Connection) -> impl Future<Output = Result<(), sqlx::Error>> + Send + 'static {
        connection.close()
    }

    /// The driver's own.
    fn fetch_many(connection: &mut Self::Connection, query: Query<Self>) -> BoxStream<'_, Item<Self>>;

    /// The driver's own.
    fn prepare<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        parameters: &'c [Self::TypeInfo],
    ) -> BoxFuture<'c, Result<Self::Statement, sqlx::Error>>;

    /// The driver's own.
    fn describe(
        connection: &mut Self::Connection,
        sql: SqlStr,
    ) -> BoxFuture<'_, Result<sqlx::Describe<Self>, sqlx::Error>>;
}

/// Where the database of a URL is, as an engine on it says; nothing if this build knows no such database.
#[cfg(feature = "test")]
pub(crate) fn target_of(url: &str) -> Option<String> {
    match url.split(':').next()? {
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => Some(sqlx::MySql::target(&sqlx::MySql::options(url).ok()?)),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Some(sqlx::Postgres::target(&sqlx::Postgres::options(url).ok()?)),
        #[cfg(feature = "sqlite")]
        "sqlite" => Some(sqlx::Sqlite::target(&sqlx::Sqlite::options(url).ok()?)),
        _ => None,
    }
}

/// The driver's host without the brackets of an IPv6 address, which sqlx 0.9 leaves it from a URL: it looks for a host of that name.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The host as a URL has it.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn host_in_url(host: &str) -> Cow<'_, str> {
    let host = bare_host(host);
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

/// A URL with the parameter that says by which socket the server is reached, if it is: the driver does not look at the host then.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn with_socket(url: String, parameter: &str, socket: Option<&PathBuf>) -> String {
    match socket {
        Some(socket) => format!("{url}?{parameter}={}", socket.display()),
        None => url,
    }
}

/// What a transaction is to be like.
#[cfg(feature = "sea-orm")]
#[derive(Clone, Debug, Default)]
pub struct Begin {
    /// Such as `READ COMMITTED`. SQLite has one level alone.
    pub(crate) isolation: Option<String>,
    pub(crate) read_only: Option<bool>,
    /// SQLite's: `DEFERRED`, `IMMEDIATE` or `EXCLUSIVE`.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "it is SQLite's alone"))]
    pub(crate) mode: Option<&'static str>,
}

#[cfg(feature = "sea-orm")]
impl Begin {
    /// As the SQL standard has it: `ISOLATION LEVEL SERIALIZABLE, READ ONLY`.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    fn characteristics(&self) -> String {
        let isolation = self.isolation.as_ref().map(|level| format!("ISOLATION LEVEL {level}"));
        let access = self.read_only.map(|read_only| if read_only { "READ ONLY" } else { "READ WRITE" }.to_owned());
        isolation.into_iter().chain(access).collect::<Vec<_>>().join(", ")
    }
}

/// How long a database lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Its own, whoever is connected.
    Own,
    /// As long as somebody is connected.
    OfItsConnections,
}

/// What is known of a connection once it is made.
#[derive(Debug)]
pub struct Birth {
    /// How the server calls it.
    pub(crate) id: Option<u64>,
    /// How what it executes is stopped from within this process, where that can be done.
    pub(crate) interrupt: Option<Interrupt>,
    /// What it shows of rollbacks.
    pub(crate) signs: Signs,
}

/// Stops what a connection executes, from within this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a server knows of one of its sessions.
#[derive(Clone, Debug)]
pub struct Activity {
    pub(crate) id: u64,
    pub(crate) state: Option<String>,
    pub(crate) statement: Option<String>,
}

/// The methods that only pass a statement on to the driver: its executor is the connection's, and no trait says so for
/// databases in general.
macro_rules! pass_on {
    () => {
        fn fetch_many(
            connection: &mut Self::Connection,
            query: $crate::executor::Query<Self>,
        ) -> ::futures_util::stream::BoxStream<'_, $crate::dialect::Item<Self>> {
            ::sqlx::Executor::fetch_many(connection, query)
        }

        fn prepare<'c>(
            connection: &'c mut Self::Connection,
            sql: ::sqlx::SqlStr,
            parameters: &'c [Self::TypeInfo],
        ) -> ::futures_util::future::BoxFuture<'c, Result<Self::Statement, ::sqlx::Error>> {
            ::sqlx::Executor::prepare_with(connection, sql, parameters)
        }

        fn describe(
            connection: &mut Self::Connection,
            sql: ::sqlx::SqlStr,
        ) -> ::futures_util::future::BoxFuture<'_, Result<::sqlx::Describe<Self>, ::sqlx::Error>> {
            ::sqlx::Executor::describe(connection, sql)
        }
    };
}
use pass_on;
