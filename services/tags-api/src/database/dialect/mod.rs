//! What differs from engine to engine: one trait, one module for each, and no engine's SQL anywhere else.

mod mysql;
mod postgres;
mod sqlite;

use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use freshdb::{HasVerdict, OrmEngine, OrmSession, Verdict};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, TransactionOptions,
};
use sea_orm_migration::SchemaManager;
use sea_orm_migration::async_trait::async_trait;

use super::error::OpenError;
use super::open::Options;
use super::url::{DatabaseUrl, Kind};

/// One engine.
#[async_trait]
pub(crate) trait Dialect: Debug + Send + Sync {
    /// Connects, so that what is wrong is said here and in the server's words.
    async fn open(&self, url: &DatabaseUrl, options: &Options) -> Result<Opened, OpenError>;

    /// Why it cannot be opened, and the way out.
    fn cannot_open(&self, url: &DatabaseUrl, error: &sqlx::Error) -> OpenError;

    /// What can be done about an error of a statement while the service starts, where that is no guess.
    fn hint(&self, _error: &sqlx::Error) -> Option<&'static str> {
        None
    }

    /// What can be done where the migrations that were applied cannot be read.
    fn hint_at_history(&self, _error: &sqlx::Error) -> Option<&'static str> {
        None
    }

    /// Whether the database answers, and takes writes.
    async fn ping(&self, session: &OrmSession) -> Result<(), DbErr>;

    /// How the transaction of a migration begins.
    fn transaction(&self) -> TransactionOptions {
        TransactionOptions::default()
    }

    /// Whether pending migrations may be applied without being asked for: nobody else has the database open.
    fn migrates_unasked(&self) -> bool {
        false
    }

    /// Waits until no other process migrates this database, in a transaction that [`Self::unlock_migrations`] ends for.
    async fn lock_migrations(&self, transaction: &DatabaseTransaction, wait: Duration) -> Result<(), DbErr>;

    /// Lets the next process migrate.
    async fn unlock_migrations(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr>;
}

/// A database that has answered.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) engine: OrmEngine,
    pub(crate) driver: Driver,
}

/// How a driver connects.
#[derive(Clone, Debug)]
pub(crate) enum Driver {
    Sqlite(sqlx::sqlite::SqliteConnectOptions),
    MySql(sqlx::mysql::MySqlConnectOptions),
    Postgres(sqlx::postgres::PgConnectOptions),
}

impl Driver {
    /// The file of an embedded database. One in memory has none of its name.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(options) => Some(options.get_filename()),
            Self::MySql(_) | Self::Postgres(_) => None,
        }
    }

    /// A connection of SeaORM's own, to the same database. It is made when it is used.
    pub(crate) fn connection(&self) -> DatabaseConnection {
        match self.clone() {
            Self::Sqlite(options) => {
                sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options).into()
            }
            Self::MySql(options) => {
                sqlx::mysql::MySqlPoolOptions::new().max_connections(1).connect_lazy_with(options).into()
            }
            Self::Postgres(options) => {
                sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_lazy_with(options).into()
            }
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

/// Whether the table is there that says which migrations were applied; an error if that cannot be told. The standard's lists of tables
/// are not asked: they show none on which the user has no right.
pub(crate) async fn has_history(manager: &SchemaManager<'_>) -> Result<bool, DbErr> {
    let connection = manager.get_connection();
    match connection.get_database_backend() {
        DbBackend::MySql => mysql::has_history(connection).await,
        DbBackend::Postgres => postgres::has_history(connection).await,
        _ => manager.has_table("seaql_migrations").await,
    }
}

/// The driver's error, if that is what an error of a statement comes from.
pub(super) fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
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

/// Whether a server takes writes from a session, of which its settings leave that in doubt: users with special rights may write where others
/// may not. Asked by a statement that changes nothing. It names the table of the migrations, which nothing locks for long.
async fn takes_writes(session: &OrmSession) -> Result<(), DbErr> {
    match session.execute_unprepared("DELETE FROM seaql_migrations WHERE FALSE").await {
        Err(error) if error.verdict() == Verdict::ReadOnly => Err(error),
        // This user may not write there, or nobody has migrated anything: that says nothing of the server.
        Err(error) if error.verdict() == Verdict::Refused => Ok(()),
        answer => answer.map(drop),
    }
}

/// Why nothing is migrated while another process is at it.
fn migrated_elsewhere(wait: Duration) -> DbErr {
    let wait = humantime::format_duration(wait);
    DbErr::Custom(format!("another process has been migrating it for {wait}"))
}

/// What a URL's parameters about TLS are called, of which each driver has its own.
struct TlsParameters {
    mode: &'static str,
    /// The value of `mode` with which a certificate's name does not count.
    any_name: &'static str,
    authority: &'static str,
}

/// Why a server cannot be opened that has given no error of its own.
fn unreachable_server(url: &DatabaseUrl, error: &sqlx::Error, tls: &TlsParameters) -> OpenError {
    let (fact, hint) = match error {
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => (
            "nothing listens there".to_owned(),
            Some("see that the server runs and that host and port are right".to_owned()),
        ),
        sqlx::Error::Io(error) => (error.to_string(), tls.hint_at_certificate(&error.to_string())),
        // The drivers have no other word for it (sqlx 0.9).
        sqlx::Error::Tls(error) if error.to_string() == "server does not support TLS" => (
            "the server does not support TLS".to_owned(),
            Some(format!("turn it on there, or leave `{}` out of the URL", tls.mode)),
        ),
        error => (error.to_string(), None),
    };
    OpenError { sentence: format!("cannot open {url}: {fact}"), hint }
}

impl TlsParameters {
    /// By the words of rustls, which are all that the driver passes on.
    fn hint_at_certificate(&self, words: &str) -> Option<String> {
        let Self { mode, any_name, authority } = self;
        if words.contains("UnknownIssuer") {
            return Some(format!("name the file of the authority that signed it: `?{authority}=FILE`"));
        }
        let is_of_another = words.contains("certificate not valid for name") || words.contains("NotValidForName");
        is_of_another
            .then(|| format!("name the server as its certificate does, or trust any name: `?{mode}={any_name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::TlsParameters;

    #[test]
    fn what_rustls_says_of_a_certificate_is_understood() {
        let tls = TlsParameters { mode: "sslmode", any_name: "verify-ca", authority: "sslrootcert" };
        let of_another = "invalid peer certificate: certificate not valid for name \"127.0.0.1\"; \
                          certificate is only valid for DnsName(\"other.test\")";
        for (words, hint) in [
            ("invalid peer certificate: UnknownIssuer", Some("?sslrootcert=FILE")),
            (of_another, Some("?sslmode=verify-ca")),
            ("invalid peer certificate: Expired", None),
        ] {
            let said = tls.hint_at_certificate(words);
            assert_eq!(said.is_some(), hint.is_some(), "{words}: {said:?}");
            assert!(hint.is_none_or(|hint| said.is_some_and(|said| said.contains(hint))), "{words}");
        }
    }
}
