//! freshdb's errors as SeaORM's, and back.

use std::sync::Arc;

use sea_orm::{DbErr, RuntimeErr};

use crate::error::Error;
use crate::retry::HasVerdict;
use crate::verdict::Verdict;

impl From<Error> for DbErr {
    /// [`Error::within_orm`] finds it again.
    fn from(error: Error) -> Self {
        Self::Conn(RuntimeErr::SqlxError(Arc::new(error.into())))
    }
}

impl HasVerdict for DbErr {
    fn verdict(&self) -> Verdict {
        driver_error(self).map_or(Verdict::Refused, Verdict::of)
    }
}

impl Error {
    /// The error of freshdb's in an error of SeaORM's.
    pub fn within_orm(error: &DbErr) -> Option<&Self> {
        driver_error(error).and_then(Self::within)
    }
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

pub(crate) fn while_executing(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}

pub(crate) fn while_querying(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
}
