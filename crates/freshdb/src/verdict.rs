//! What an error of the driver's means for the work that met it.

/// What an error means for the work that met it, on whichever database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Every session was in use for as long as one waits.
    Exhausted,
    /// The connection is gone, or none can be made: the server is away, coming up, or full. The work may succeed on
    /// another connection.
    Lost,
    /// The server takes no writes, or the session or the transaction does not: it is a replica, or was made read-only, as the one is from
    /// which a failover has gone on. The work may succeed on another connection, where the address leads to another server by then.
    /// The engine closes this one, and once a second all that it has, each when nobody uses it.
    ReadOnly,
    /// The transaction lost against another, and may win when it is run again from the start.
    Conflict,
    /// A statement waited for others, or ran, for longer than it may.
    Overtime,
    /// The database refused a statement, and would refuse it again; or the value could not be sent or read.
    Refused,
}

impl Verdict {
    /// What an error of the driver's means.
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => of_database(&**error),
            // The drivers have no other word for it, and send nothing (sqlx 0.9).
            sqlx::Error::Protocol(message) if message.contains("too many arguments for query") => Self::Refused,
            error if lacks_values(error) => Self::Refused,
            sqlx::Error::Protocol(message) if is_a_lack_of_the_drivers(message) => Self::Refused,
            // Half an answer is as good as none.
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Lost
            }
            sqlx::Error::PoolTimedOut => Self::Exhausted,
            sqlx::Error::AnyDriverError(inner) => {
                inner.downcast_ref::<crate::Error>().map_or(Self::Refused, crate::Error::verdict)
            }
            _ => Self::Refused,
        }
    }

    /// Whether the same work may succeed when it is run again from the start.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Lost | Self::ReadOnly | Self::Conflict)
    }
}

/// Whether MySQL's driver says that a statement has not as many values as it has places.
pub(crate) fn lacks_values(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Protocol(message) if message.starts_with("prepared statement expected "))
}

/// Whether a driver says that it does not know what a statement asks for, as it would the next time: a type of MySQL's, such as VECTOR, or
/// places of SQLite's that have a name and no number.
fn is_a_lack_of_the_drivers(message: &str) -> bool {
    const LACKS: [&str; 3] = [
        "unknown column type ",
        "unsupported SQL parameter format: ",
        "parameters with non-integer names are not currently supported: ",
    ];

    LACKS.iter().any(|lack| message.starts_with(lack))
}

/// The errors of the drivers are types of their own, each known to one dialect.
fn of_database(error: &dyn sqlx::error::DatabaseError) -> Verdict {
    use crate::dialect::Backend;
    #[cfg(feature = "mysql")]
    if error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().is_some() {
        return sqlx::MySql::judge(error);
    }
    #[cfg(feature = "postgres")]
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return sqlx::Postgres::judge(error);
    }
    #[cfg(feature = "sqlite")]
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return sqlx::Sqlite::judge(error);
    }
    Verdict::Refused
}
