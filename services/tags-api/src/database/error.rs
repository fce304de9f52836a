//! What goes wrong with a database, in the kinds that a caller can act on.

use std::time::Duration;

use super::dialect::Dialect;
use super::statements::Fault;

/// Why work on the database did not succeed. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every connection was in use for as long as a request waits.
    #[error("no database connection became free within {}", humantime::format_duration(*.waited))]
    Exhausted {
        /// How long the request waited.
        waited: Duration,
    },
    /// The database does not answer, or has closed the connection.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A statement waited for others, or ran, for longer than it may.
    #[error("a statement took too long")]
    Overtime(#[source] sqlx::Error),
    /// The database took the work and was never heard of again.
    #[error("the database has been silent for {}", humantime::format_duration(*.waited))]
    Silent {
        /// How long it had.
        waited: Duration,
    },
    /// The transaction lost against others each time it was run.
    #[error("the transaction lost against others {attempts} times")]
    Conflict {
        /// How often it was run.
        attempts: u32,
        /// What the database said the last time.
        #[source]
        source: sqlx::Error,
    },
    /// Anything else: a bug of the service, or a schema that is not the service's.
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
}

/// Why a database cannot be opened: one sentence, and where there is one, the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct OpenError {
    pub(crate) sentence: String,
    pub(crate) hint: Option<String>,
}

impl OpenError {
    /// What the user can do about it, where that is no guess.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// What an error means for the work that met it.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Every connection of a healthy pool is in use.
    Exhausted,
    /// The connection is gone, or none can be made.
    Lost,
    /// The transaction lost against another.
    Conflict,
    /// The statement took too long.
    Overtime,
    Other,
}

pub(super) fn judge(dialect: &dyn Dialect, fault: &Fault) -> Verdict {
    match fault {
        Fault::Connect(sqlx::Error::PoolTimedOut) => Verdict::Exhausted,
        // It answered when it was opened: a server that now refuses a connection, whatever its reason, is away.
        Fault::Connect(_) => Verdict::Lost,
        Fault::Execute(error) => judge_execution(dialect, error),
    }
}

fn judge_execution(dialect: &dyn Dialect, error: &sqlx::Error) -> Verdict {
    match error {
        // Half an answer is as good as none.
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Verdict::Lost
        }
        error if dialect.is_conflict(error) => Verdict::Conflict,
        error if dialect.is_overtime(error) => Verdict::Overtime,
        error if dialect.is_away(error) => Verdict::Lost,
        _ => Verdict::Other,
    }
}
