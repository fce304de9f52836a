//! Sessions, as the handlers' arguments: freshdb's, with this service's answer where there is none.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use freshdb::axum::{FromEngine, RequestLine};
use freshdb::{OrmSession, OrmTx};

use crate::database::{self, Database};

/// A session, to read.
pub(super) struct Reading(pub(super) OrmSession);

/// A transaction, to write: dropped, it is rolled back.
pub(super) struct Writing(pub(super) OrmTx);

impl<S: Send + Sync> FromRequestParts<S> for Reading
where
    OrmSession: FromEngine<S, Rejection = freshdb::axum::SessionRejection>,
{
    type Rejection = database::Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, database::Error> {
        let taken = OrmSession::from_engine(state, RequestLine::of(parts)).await;
        taken.map(Self).map_err(|rejection| rejection.into_error().into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Writing
where
    Self: FromEngine<S, Rejection = database::Error>,
{
    type Rejection = database::Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, database::Error> {
        Self::from_engine(state, RequestLine::of(parts)).await
    }
}

impl<S: Send + Sync> FromEngine<S> for Writing
where
    OrmTx: FromEngine<S, Rejection = freshdb::axum::SessionRejection>,
    Database: FromRef<S>,
{
    type Rejection = database::Error;

    async fn from_engine(state: &S, request: RequestLine) -> Result<Self, database::Error> {
        Database::from_ref(state).check_file().await?;
        let begun = OrmTx::from_engine(state, request).await;
        begun.map(Self).map_err(|rejection| rejection.into_error().into())
    }
}
