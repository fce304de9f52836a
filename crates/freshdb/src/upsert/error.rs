//! What goes wrong with an upsert.

use sea_orm::DbErr;

use crate::retry::HasVerdict;
use crate::verdict::Verdict;

/// Why an upsert did not succeed. Nothing of its batch is stored, unless the connection was lost while the upsert's own transaction was committed:
/// that may have been stored or not, and on freshdb's engines [`is_in_doubt`](crate::Error::is_in_doubt) tells it.
///
/// Rows are numbered as the input has them, the first is row 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpsertError {
    /// The columns that were named do not make an upsert.
    #[error("the upsert cannot be built: {0}")]
    Columns(String),
    /// A row has another number of values than there are columns.
    #[error("row {row} has {found} values for {expected} columns")]
    RowLength {
        /// The row's number in the input.
        row: usize,
        /// How many columns there are.
        expected: usize,
        /// How many values the row has.
        found: usize,
    },
    /// NULL conflicts with nothing, so a row that has it in its key would be inserted each time.
    #[error("row {row} has NULL in the key column `{column}`")]
    NullKey {
        /// The row's number in the input.
        row: usize,
        /// The column.
        column: String,
    },
    /// A `u64` above 9223372036854775807, which is the largest whole number of SQLite and PostgreSQL.
    #[error(
        "row {row} has a number in the column `{column}` that is larger than {}, the largest of this database",
        i64::MAX
    )]
    TooLarge {
        /// The row's number in the input.
        row: usize,
        /// The column.
        column: String,
    },
    /// Two rows of the input have keys that are the same only to the database: under a collation that ignores case, say.
    #[error("the keys of the rows {row} and {other} are not the same, but the database takes them for the same")]
    EqualKeys {
        /// The number of one of the rows in the input.
        row: usize,
        /// The number of the other.
        other: usize,
    },
    /// A row would have a value twice that another unique key of the table allows once.
    #[error("a row conflicts with another unique key than the one named")]
    AnotherKey(#[source] DbErr),
    /// The database found another key in the row than it was given: it rounds it, or a trigger changes it; or others kept
    /// deleting the row while it was being upserted.
    #[error("row {row} cannot be found by its key after it was stored")]
    NotFound {
        /// The row's number in the input.
        row: usize,
    },
    /// The key that was named is not unique in the table.
    #[error("more than one stored row has the key of row {row}")]
    NotUnique {
        /// The row's number in the input.
        row: usize,
    },
    /// Anything else that the database said, among it that the transaction lost against another:
    /// [`is_conflict`](Self::is_conflict).
    #[error("the database refused a statement of the upsert")]
    Database(#[source] DbErr),
    /// The upsert failed, and what it had done could not be undone by itself. The transaction around it must be rolled
    /// back. MySQL and MariaDB do so themselves when they end a deadlock.
    #[error("the upsert failed, and so did rolling it back: {rollback}")]
    NotRolledBack {
        /// Why the upsert failed.
        #[source]
        error: Box<UpsertError>,
        /// Why it could not be undone.
        rollback: DbErr,
    },
}

impl HasVerdict for UpsertError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Database(error) => error.verdict(),
            Self::NotRolledBack { error, .. } => error.verdict(),
            _ => Verdict::Refused,
        }
    }
}

impl From<DbErr> for UpsertError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<crate::Error> for UpsertError {
    fn from(error: crate::Error) -> Self {
        Self::Database(error.into())
    }
}

impl UpsertError {
    /// Whether the transaction lost against another (a deadlock, a serialization failure, a lock that took too long) and
    /// may succeed when the whole of it is run again.
    pub fn is_conflict(&self) -> bool {
        matches!(self.verdict(), Verdict::Conflict | Verdict::Overtime)
    }

    /// What the database said to a statement that stores rows.
    pub(super) fn storing(error: DbErr) -> Self {
        if is_unique_violation(&error) { Self::AnotherKey(error) } else { Self::Database(error) }
    }
}

pub(super) fn is_unique_violation(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_)))
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn write(error: &dyn Error) -> String {
        let cause = error.source().map(|cause| format!("\n  caused by: {}", write(cause)));
        format!("{error}{}", cause.unwrap_or_default())
    }

    #[test]
    fn what_a_user_can_meet() {
        let said = || DbErr::Custom("what the database said".into());
        let errors = [
            UpsertError::Columns("it has no key".into()),
            UpsertError::RowLength { row: 1, expected: 2, found: 3 },
            UpsertError::NullKey { row: 1, column: "tag_id".into() },
            UpsertError::TooLarge { row: 1, column: "size".into() },
            UpsertError::EqualKeys { row: 1, other: 2 },
            UpsertError::AnotherKey(said()),
            UpsertError::NotFound { row: 1 },
            UpsertError::NotUnique { row: 1 },
            UpsertError::Database(said()),
            UpsertError::NotRolledBack { error: Box::new(UpsertError::Database(said())), rollback: said() },
        ];
        let errors: Vec<_> = errors.iter().map(|error| write(error)).collect();
        insta::assert_snapshot!("messages", errors.join("\n"));
    }
}
