//! What goes wrong with a request, in the form FastAPI gives it: `{"detail": …}`.

use std::any::Any;
use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use freshdb::words;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::observe::Cause;
use crate::database;

/// One thing that is wrong with a request, and where.
#[derive(Debug, Serialize)]
pub(super) struct Violation<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) loc: Vec<Place>,
    pub(super) msg: Cow<'static, str>,
    pub(super) input: Input<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ctx: Option<Value>,
}

/// A step on the way to what is wrong.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Place {
    Name(&'static str),
    Index(usize),
}

/// What the client sent there.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// Nothing.
    Null,
    /// Something that is no JSON: `{}` stands for it.
    NotJson,
    /// A text that was not JSON to begin with.
    Text(Cow<'a, str>),
    /// JSON, as it was written.
    Json(&'a RawValue),
}

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::NotJson => json!({}).serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::Json(raw) => raw.serialize(serializer),
        }
    }
}

/// The body of every refusal.
#[derive(Serialize)]
struct Problem<T> {
    detail: T,
}

/// 422 with what is wrong.
pub(super) fn unprocessable(violations: &[Violation<'_>]) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(Problem { detail: violations })).into_response()
}

/// A status with a sentence.
pub(super) fn detail(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Response {
    (status, Json(Problem { detail: detail.into() })).into_response()
}

pub(super) fn not_found() -> Response {
    detail(StatusCode::NOT_FOUND, "Not Found")
}

pub(super) fn method_not_allowed(allow: &'static str) -> Response {
    let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// 503: the same request may succeed in a moment.
pub(super) fn come_back_later(sentence: impl Into<Cow<'static, str>>) -> Response {
    let mut response = detail(StatusCode::SERVICE_UNAVAILABLE, sentence);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

impl IntoResponse for database::Error {
    /// The client learns what it can act on; the log has the rest.
    fn into_response(self) -> Response {
        let mut response = match &self {
            Self::Exhausted(_) => come_back_later("Every database connection is in use"),
            Self::Unavailable(_) | Self::FileGone(_) => come_back_later("The database is not available"),
            Self::ReadOnly(_) => come_back_later("The database is read-only"),
            Self::Overtime(_) => come_back_later("The database took too long"),
            Self::Conflict(_) => come_back_later("Other requests changed the same tags each time this one was tried"),
            Self::Refused(_) => internal(),
        };
        response.extensions_mut().insert(Cause::of(&self));
        response
    }
}

impl Cause {
    /// An error with its causes, in one line, as everything in the log: who is in the way is said in several.
    pub(super) fn of(error: &database::Error) -> Self {
        let mut cause = words(error);
        let mut source = std::error::Error::source(error);
        // The engine's own error says it, without those whose types have carried it.
        let own = source.and_then(|error| error.downcast_ref()).and_then(freshdb::Error::within_orm);
        if let Some(own) = own {
            source = Some(own);
        }
        while let Some(error) = source {
            let said = words(error).lines().map(str::trim).collect::<Vec<_>>().join("; ");
            if !cause.ends_with(&said) {
                cause = format!("{cause}: {said}");
            }
            source = error.source();
        }
        Self(cause.into())
    }
}

fn internal() -> Response {
    detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error: the log names the cause under this request's id")
}

/// What a handler answers that panicked.
// The layer that calls this hands the panic over by value.
#[expect(clippy::needless_pass_by_value)]
pub(super) fn from_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    let mut response = internal();
    response.extensions_mut().insert(Cause(format!("the handler panicked: {message}").into()));
    response
}

#[cfg(test)]
mod tests {
    use freshdb::EngineOptions;
    use sea_orm::ConnectionTrait as _;

    use super::*;

    /// Those whose types have carried it have nothing to say in the log.
    #[tokio::test]
    async fn the_log_has_the_engines_own_words() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("postgres://app@{}/tags", listener.local_addr().expect("an address"));
        drop(listener);
        let engine = EngineOptions::new().lazy_orm(&url).expect("an engine");
        let error = engine.execute_unprepared("SELECT 1").await.expect_err("nobody listens");
        let response = database::Error::from(error).into_response();
        let Cause(cause) = response.extensions().get().expect("a cause");
        let expected = format!(
            "the database is not available: cannot connect to `{url}`: error communicating with database: Connection refused"
        );
        assert!(cause.starts_with(&expected), "{cause}");
        assert_eq!(cause.matches("Connection refused").count(), 1, "{cause}");
    }
}
