//! What differs from engine to engine. All SQL that only some servers understand is in the modules below.

#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod session;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::future::Future;
use std::time::{Duration, Instant};

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) use self::session::Grace;
pub use self::session::ServerSession;
use crate::{DatabaseUrl, Error, ErrorKind, Kind};

/// The database in which freshdb keeps its books on a server: see `registry.rs`.
pub(crate) const REGISTRY: &str = "freshdb_registry";

/// How one engine is administered, and how its databases are copied and put back.
///
/// Names of databases and locks are freshdb's own, of at most 63 characters out of `a-z`, `0-9` and `_`. All that a template holds may be
/// named in any way that the engine allows, and is quoted.
pub(crate) trait Dialect: Sized + Send + Sync + 'static {
    /// The registry's table, as a connection to [`REGISTRY`] has to call it.
    const TABLE: &'static str = "freshdb_databases";
    /// Its other table, which holds what templates hold, and the type of a text of any length.
    const CONTENTS: (&'static str, &'static str) = ("freshdb_contents", "TEXT");

    /// A connection to the server, with session settings of freshdb's own where a statement's meaning depends on them.
    type Connection: Send + 'static;
    /// What a template holds, read once: all that is needed to copy it, and to see whether a copy still equals it.
    type Template: Send + Sync + 'static;
    /// A copy of a template, with what its resets need: a connection of its own, what the server's counters said when
    /// it was last pristine.
    type Slot: Send + 'static;

    /// Connects to a database of the server.
    fn connect(
        server: &DatabaseUrl,
        database: &str,
    ) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send;

    /// Connects to compare a database, to which others may be connected. Such a session is none of those that [`sessions`](Self::sessions)
    /// lists, and none that a reset has ended.
    fn connect_to_compare(
        server: &DatabaseUrl,
        database: &str,
    ) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send {
        Self::connect(server, database)
    }

    /// Connects to the server, in no database in particular, and asks it which engine it is.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        expect(dead_code, reason = "a directory is not asked")
    )]
    fn engine(server: &DatabaseUrl) -> impl Future<Output = Result<Kind, sqlx::Error>> + Send;

    /// Which engine the server of a connection is: one driver may know several.
    fn engine_of(connection: &mut Self::Connection) -> impl Future<Output = Result<Kind, sqlx::Error>> + Send;

    /// Makes the database [`REGISTRY`], unless it is there; safe when several processes do it at once.
    fn create_registry(server: &DatabaseUrl) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Runs a statement.
    fn execute(connection: &mut Self::Connection, sql: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// The rows of a query, every value as text.
    fn rows(
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<Vec<Vec<Option<String>>>, sqlx::Error>> + Send;

    /// Takes a lock that ends with the connection, or says that somebody has it. Does not wait.
    fn try_lock(
        connection: &mut Self::Connection,
        name: &str,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Gives a lock back.
    fn unlock(connection: &mut Self::Connection, name: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// What the server is, in so far as the same schema could turn out otherwise on another: its version and the settings
    /// that change what a statement means.
    fn identity(connection: &mut Self::Connection) -> impl Future<Output = Result<String, sqlx::Error>> + Send;

    /// How many connections the server allows, without those that it reserves.
    fn connection_limit(connection: &mut Self::Connection) -> impl Future<Output = Result<u32, sqlx::Error>> + Send;

    /// Every session on a database that this user may see, but those of these numbers, and freshdb's own that administer it. The connection is
    /// on another database.
    fn sessions(
        connection: &mut Self::Connection,
        database: &str,
        known: &[u64],
    ) -> impl Future<Output = Result<Vec<ServerSession>, sqlx::Error>> + Send;

    /// Whether there is a database of this name.
    fn exists(connection: &mut Self::Connection, name: &str) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Makes an empty database.
    fn create(connection: &mut Self::Connection, name: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Drops a database, if it is there, with all that is in the way: sessions, prepared transactions.
    fn drop(connection: &mut Self::Connection, name: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Reads a template that is complete. From now on nobody writes to it.
    fn read_template(server: &DatabaseUrl, name: &str) -> impl Future<Output = Result<Self::Template, Error>> + Send;

    /// Whether it has a table, or anything else that a file of SQLite's has a row for in its schema.
    fn has_tables(template: &Self::Template) -> bool;

    /// What spares another process to read a template once more, for it to [restore](Self::restore).
    fn store(template: &Self::Template) -> Option<String>;

    /// The template of this name out of what was stored, with what this process has to ask for itself; nothing if it was stored in another way.
    fn restore(
        connection: &mut Self::Connection,
        server: &DatabaseUrl,
        name: &str,
        stored: &str,
    ) -> impl Future<Output = Result<Option<Self::Template>, sqlx::Error>> + Send;

    /// Makes a copy of a template under a name that is free, and opens it.
    fn copy(
        server: &DatabaseUrl,
        template: &Self::Template,
        name: &str,
    ) -> impl Future<Output = Result<Self::Slot, Error>> + Send;

    /// What is written down of a copy that was just made, for whoever finds it left behind.
    fn memo(_: &Self::Slot) -> String {
        String::new()
    }

    /// Opens a copy that another process made, in whatever state it was left: what was touched is not known, but for what can be told by the
    /// [`memo`](Self::memo) of it.
    fn open(
        server: &DatabaseUrl,
        template: &Self::Template,
        name: &str,
        memo: &str,
    ) -> impl Future<Output = Result<Self::Slot, Error>> + Send;

    /// Opens a copy that another process left pristine, and that nobody has had since.
    fn adopt(
        server: &DatabaseUrl,
        template: &Self::Template,
        name: &str,
    ) -> impl Future<Output = Result<Self::Slot, Error>> + Send;

    /// Ends every session on the slot but those that are `staying`, finds what was touched, and puts it back; or says what cannot
    /// be put back so that the slot is no longer equal to its template and must be dropped.
    ///
    /// An error leaves the slot in doubt: it must be dropped too.
    fn reset(
        slot: &mut Self::Slot,
        template: &Self::Template,
        staying: &[u64],
    ) -> impl Future<Output = Result<Reset, Error>> + Send;

    /// Whether a session may look into a template while copies of it are made.
    const TEMPLATES_CAN_BE_READ: bool;

    /// Makes a plain copy of a template, to be read, where the template itself cannot be.
    fn duplicate(
        connection: &mut Self::Connection,
        template: &str,
        name: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Everything in a database but its rows. The connection is to that database.
    fn definitions(
        connection: &mut Self::Connection,
        database: &str,
    ) -> impl Future<Output = Result<Vec<Definition>, sqlx::Error>> + Send;

    /// Its tables, and how their rows are read. The connection is to that database.
    fn tables(
        connection: &mut Self::Connection,
        database: &str,
    ) -> impl Future<Output = Result<Vec<ReadTable>, sqlx::Error>> + Send;

    /// Runs a query, and hands on each row as it comes, every value as text.
    fn for_each(
        connection: &mut Self::Connection,
        sql: &str,
        each: impl FnMut(Vec<Option<String>>) + Send,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Closes what a slot holds open. The database stays.
    fn close(slot: Self::Slot) -> impl Future<Output = ()> + Send;

    /// What an error of the server's means.
    fn fault(error: &sqlx::Error) -> Fault;
}

/// An object of a database, and the statement that makes it.
pub(crate) struct Definition {
    /// `table`, `view`.
    pub(crate) kind: String,
    /// As SQL writes it.
    pub(crate) name: String,
    pub(crate) statement: String,
}

/// A table, as its rows are read.
pub(crate) struct ReadTable {
    /// As SQL writes it within its database.
    pub(crate) name: String,
    /// What stands behind `FROM`.
    pub(crate) source: String,
    /// Each column's name, and the expression that is its value as text.
    pub(crate) columns: Vec<(String, String)>,
    /// The names of the primary key's columns.
    pub(crate) key: Vec<String>,
}

impl ReadTable {
    /// The tables out of rows in their order: table, source, column, value, and anything where the column is of the primary key.
    pub(crate) fn of_rows(rows: Vec<Vec<Option<String>>>) -> Vec<Self> {
        let mut tables: Vec<Self> = Vec::new();
        for row in rows {
            let mut values = row.into_iter();
            let mut next = || values.next().flatten();
            let (Some(name), Some(source)) = (next(), next()) else { continue };
            if tables.last().is_none_or(|table| table.name != name) {
                tables.push(Self { name, source, columns: Vec::new(), key: Vec::new() });
            }
            let (Some(table), Some(column), Some(value)) = (tables.last_mut(), next(), next()) else { continue };
            if next().is_some() {
                table.key.push(column.clone());
            }
            table.columns.push((column, value));
        }
        tables
    }
}

/// What an error of the server's means for freshdb.
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    expect(dead_code, reason = "SQLite has no server that refuses")
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no connection left: what limits them, and can be raised.
    TooManyConnections { limit: &'static str },
    /// A privilege is missing: the statement that would give it, such as ``GRANT CREATE ON *.* TO `me`@`%` ``, and the database in
    /// which it has to be said, where not all are the same.
    Denied { grant: String, within: Option<&'static str> },
    /// The connection, or the server, is gone.
    Lost,
    /// The disk, or the memory that stands for one, is full.
    Full,
    /// A lock was waited for in vain: what lists those who hold one.
    Locked { list: &'static str },
    /// The server shows a certificate that nobody vouches for: what in its URL names who does.
    Untrusted { parameter: &'static str },
    /// It lets nobody in without TLS: what in its URL asks for that.
    Unencrypted { parameter: &'static str },
    /// Anything else.
    Other,
}

/// How a reset went.
#[derive(Debug)]
pub(crate) struct Reset {
    pub(crate) outcome: Outcome,
    /// The sessions that were still there and were ended.
    pub(crate) ended: Vec<ServerSession>,
    /// What took how long, in order.
    pub(crate) steps: Vec<(&'static str, Duration)>,
}

/// What became of a slot.
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    expect(dead_code, reason = "a file is put back by a copy")
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It equals its template: so many tables had been touched.
    Pristine { touched: usize },
    /// It does not, and this is why: `table "x" was altered`.
    Changed(String),
}

/// An error of the server's in freshdb's words: the fact, and what is to be done about it where the server's code tells.
pub(crate) fn explain<D: Dialect>(fact: impl Into<String>, error: sqlx::Error) -> Error {
    let (kind, hint) = match D::fault(&error) {
        Fault::TooManyConnections { limit } => (
            ErrorKind::ConnectionsExhausted,
            Some(format!("raise {limit}, or let fewer leases be out at once (`PoolBuilder::limit`)")),
        ),
        Fault::Denied { grant, within } => {
            let within = within.map(|database| format!(" in the database `{database}`")).unwrap_or_default();
            (ErrorKind::Privileges, Some(format!("as an administrator of the server, run `{grant}`{within}")))
        }
        Fault::Lost => (ErrorKind::Unreachable, None),
        Fault::Full => (ErrorKind::Database, Some(MAKE_ROOM.into())),
        Fault::Locked { list } => (ErrorKind::Database, Some(format!("see who holds a lock on it: run {list}"))),
        Fault::Untrusted { parameter } => (
            ErrorKind::Config,
            Some(format!(
                "name the certificate of the authority that has signed the server's in the URL, by `{parameter}=/path/to/ca.pem`; \
                 one that is of another host, or has expired, is the server's to mend"
            )),
        ),
        Fault::Unencrypted { parameter } => (
            ErrorKind::Config,
            Some(format!("where the server takes TLS alone, ask for it in the URL, by `{parameter}`")),
        ),
        Fault::Other => match lacking(&error) {
            Some(hint) => (ErrorKind::Config, Some(hint.into())),
            None => (ErrorKind::Database, None),
        },
    };
    let explained = Error::new(kind, fact).because(error);
    match hint {
        Some(hint) => explained.hint(hint),
        None => explained,
    }
}

pub(crate) const MAKE_ROOM: &str = "make room on the disk, or in the memory, where the server has its data";

/// Whether a server, of whichever engine, has no room for more.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    #[cfg(feature = "mysql")]
    if mysql::Mysql::fault(error) == Fault::Full {
        return true;
    }
    #[cfg(feature = "postgres")]
    if postgres::Postgres::fault(error) == Fault::Full {
        return true;
    }
    #[cfg(feature = "sqlite")]
    if sqlite::Sqlite::fault(error) == Fault::Full {
        return true;
    }
    false
}

/// Whether a server's certificate is refused, which rustls and native-tls tell in words alone.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) fn refuses_certificate(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => {
            error.kind() == std::io::ErrorKind::InvalidData && error.to_string().contains("certificate")
        }
        sqlx::Error::Tls(error) => error.to_string().contains("certificate"),
        _ => false,
    }
}

/// What can be done where sqlx was built without what a connection takes. It tells that in words alone.
fn lacking(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::Tls(said) if said.to_string().contains("without TLS") => {
            Some("in your Cargo.toml, give sqlx one of its features for TLS, such as `tls-rustls`")
        }
        sqlx::Error::Configuration(said) if said.to_string().starts_with("RSA auth backend disabled") => Some(
            "check the password; MySQL takes one that it has not just seen by TLS or RSA alone: leave `ssl-mode=disabled` out of the URL, \
             or where sqlx is built without both, give it `mysql-rsa` in your Cargo.toml, or one of its features for TLS such as \
             `tls-rustls`",
        ),
        _ => None,
    }
}

/// How long a server may take to hang up after a goodbye.
#[cfg(any(feature = "mysql", feature = "postgres"))]
const GOODBYE: Duration = Duration::from_secs(2);

/// Says goodbye, and lets go in any case. Over TLS the driver waits until the server has hung up, which on a network that is
/// dead is never.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) async fn say_goodbye<C: sqlx::Connection>(connection: C) -> Result<(), sqlx::Error> {
    match tokio::time::timeout(GOODBYE, connection.close()).await {
        // Over TLS there are two parts to it, and the server may hang up after the first.
        Ok(Err(sqlx::Error::Io(error))) => tracing::debug!(%error, "a connection had ended before it was closed"),
        Ok(answer) => return answer,
        Err(_) => tracing::debug!(limit = ?GOODBYE, "a connection did not close in time"),
    }
    Ok(())
}

/// Times the steps of a reset.
#[derive(Debug)]
pub(crate) struct Steps {
    since: Instant,
    steps: Vec<(&'static str, Duration)>,
}

impl Steps {
    pub(crate) fn start() -> Self {
        Self { since: Instant::now(), steps: Vec::new() }
    }

    /// The step that has just ended.
    pub(crate) fn done(&mut self, name: &'static str) {
        let now = Instant::now();
        self.steps.push((name, now - self.since));
        self.since = now;
    }

    pub(crate) fn into_inner(self) -> Vec<(&'static str, Duration)> {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlx_was_built_without_is_said() {
        let tls = sqlx::Error::Tls(
            "TLS upgrade required by connect options but SQLx was built without TLS support enabled".into(),
        );
        assert!(lacking(&tls).expect("a hint").ends_with("such as `tls-rustls`"));
        let rsa =
            sqlx::Error::Configuration("RSA auth backend disabled; enable feature `mysql-rsa` or use TLS.".into());
        assert!(lacking(&rsa).expect("a hint").starts_with("check the password; "));
        assert_eq!(lacking(&sqlx::Error::Tls("certificate expired".into())), None);
    }

    #[test]
    #[cfg(all(feature = "mysql", feature = "postgres"))]
    fn what_is_amiss_with_tls_is_said() {
        use super::{mysql::Mysql, postgres::Postgres};

        let unknown =
            || std::io::Error::new(std::io::ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer");
        let told = |error: Error| (error.kind(), error.advice().expect("a hint").to_owned());
        let (kind, hint) = told(explain::<Mysql>("x", unknown().into()));
        assert!(kind == ErrorKind::Config && hint.contains("`ssl-ca=/path/to/ca.pem`"), "{hint}");
        let (kind, hint) = told(explain::<Postgres>("x", unknown().into()));
        assert!(kind == ErrorKind::Config && hint.contains("`sslrootcert=/path/to/ca.pem`"), "{hint}");
        let garbage = std::io::Error::new(std::io::ErrorKind::InvalidData, "received corrupt message");
        assert_eq!(explain::<Postgres>("x", garbage.into()).kind(), ErrorKind::Unreachable);
    }
}
