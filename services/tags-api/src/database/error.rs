//! What goes wrong with a database, in the kinds that a caller can act on.

use freshdb::{HasVerdict, Verdict};
use sea_orm::DbErr;

use super::dialect;
use super::file::FileGone;
use super::url::DatabaseUrl;

/// Why work on the database did not succeed. Nothing of it is stored, unless the connection was lost while it was committed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every connection was in use for as long as a request waits.
    #[error("no database connection became free")]
    Exhausted(#[source] DbErr),
    /// The database does not answer, or has closed the connection.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// The file of an embedded database was deleted or replaced.
    #[error("the database's file was deleted or replaced")]
    FileGone(#[from] FileGone),
    /// The database takes no writes.
    #[error("the database is read-only")]
    ReadOnly(#[source] DbErr),
    /// A statement waited for others, or ran, for longer than it may.
    #[error("a statement took too long")]
    Overtime(#[source] DbErr),
    /// The transaction lost against others each time it was run.
    #[error("the transaction lost against others each time it was run")]
    Conflict(#[source] DbErr),
    /// Anything else: a bug of the service, or a schema that is not the service's.
    #[error("the database refused a statement")]
    Refused(#[source] DbErr),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error.verdict() {
            Verdict::Exhausted => Self::Exhausted(error),
            Verdict::Lost => Self::Unavailable(error),
            Verdict::ReadOnly => Self::ReadOnly(error),
            Verdict::Overtime => Self::Overtime(error),
            Verdict::Conflict => Self::Conflict(error),
            _ => Self::Refused(error),
        }
    }
}

impl From<freshdb::Error> for Error {
    fn from(error: freshdb::Error) -> Self {
        DbErr::from(error).into()
    }
}

/// Why a database cannot be opened: one sentence, and where there is one, the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct OpenError {
    pub(crate) sentence: String,
    pub(crate) hint: Option<String>,
}

impl OpenError {
    /// In the words of the server, where it has said something.
    pub(super) fn of(url: &DatabaseUrl, error: &freshdb::Error) -> Self {
        match error.driver_error() {
            Some(error) => dialect::of(url).cannot_open(url, error),
            None => Self { sentence: format!("cannot open {url}: {error}"), hint: None },
        }
    }

    /// What the user can do about it, where that is no guess.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}
