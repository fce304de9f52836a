//! What is answered when something is wrong.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use freshdb_databases::{Error, ErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

/// What is wrong, and what to do, where that is no guess.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refusal {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    status: StatusCode,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), hint: None, status }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(super) fn add(mut self, more: &str) -> Self {
        self.error.push_str(more);
        self
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "the token is missing, or is another one")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<&Error> for Refusal {
    /// With its causes: for whoever asks from another process, there is no other place to look.
    fn from(error: &Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Config => StatusCode::BAD_REQUEST,
            ErrorKind::Schema => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let (text, hint) = error.explained();
        Self { hint: hint.map(ToOwned::to_owned), ..Self::new(status, text) }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        // To its users, JSON with a field that nobody knows is as bad as none.
        let status = match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        Self::new(status, rejection.body_text())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}
