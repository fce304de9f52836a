//! Sessions and transactions as arguments of axum's handlers.
//!
//! A handler asks for its session, [`Session`] or [`OrmSession`](crate::OrmSession), or for a transaction, [`Tx`] or
//! [`OrmTx`](crate::OrmTx), in its signature. A transaction commits only if the handler does so; a client that goes away
//! takes its handler's session with it, and what that was executing.
//!
//! The router's state must give the engine: the engine itself, or a state of which it is a part (`FromRef`).
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! use axum::Router;
//! use axum::extract::FromRef;
//! use axum::routing::get;
//! use freshdb::axum::{SessionRejection, Then};
//! use freshdb::{Session, SqliteEngine, Tx};
//! use sqlx::Sqlite;
//!
//! async fn count(mut session: Session<Sqlite>) -> String {
//!     match sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM tags").fetch_one(&mut session).await {
//!         Ok(count) => count.to_string(),
//!         Err(error) => error.to_string(),
//!     }
//! }
//!
//! /// The body first: a client that sends slowly must not hold a connection.
//! async fn insert(Then(tag, mut tx): Then<String, Tx<Sqlite>>) -> Result<(), String> {
//!     sqlx::query("INSERT INTO tags VALUES (?)").bind(tag).execute(&mut tx).await.map_err(|error| error.to_string())?;
//!     tx.commit().await.map(drop).map_err(|error| error.to_string())
//! }
//!
//! let engine = SqliteEngine::lazy("sqlite::memory:")?;
//! let router: Router = Router::new().route("/tags", get(count).post(insert)).with_state(App { engine });
//!
//! #[derive(Clone)]
//! struct App {
//!     engine: SqliteEngine,
//! }
//!
//! impl FromRef<App> for SqliteEngine {
//!     fn from_ref(app: &App) -> Self {
//!         app.engine.clone()
//!     }
//! }
//! # drop(router);
//! # }
//! # Ok::<(), freshdb::Error>(())
//! ```

use std::fmt;

use ::axum::extract::OriginalUri;
use axum_core::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, header};

use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::error::Error;
use crate::session::Session;
use crate::tx::Tx;
use crate::verdict::Verdict;

/// There was no session for a request.
///
/// As a response: 503 with `Retry-After: 1` where another attempt may succeed, otherwise 500. Neither says anything of the
/// database; the error itself is for the log.
#[derive(Debug)]
pub struct SessionRejection(Error);

impl SessionRejection {
    /// Why.
    pub fn error(&self) -> &Error {
        &self.0
    }

    /// Why.
    pub fn into_error(self) -> Error {
        self.0
    }
}

impl fmt::Display for SessionRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for SessionRejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl From<Error> for SessionRejection {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        tracing::error!(error = ?self.0, "no session for a request");
        if self.0.verdict() == Verdict::Refused {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let retry_after = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
        (StatusCode::SERVICE_UNAVAILABLE, retry_after, "The database is not available").into_response()
    }
}

/// A session or transaction that comes from an engine in a router's state.
///
/// Implement it for a type of your own around one of freshdb's, to answer in your own words where there is none.
pub trait FromEngine<S>: Sized {
    /// The answer where there is none.
    type Rejection: IntoResponse;

    /// Takes one, for a request.
    fn from_engine(state: &S, request: RequestLine) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

/// What a request asks for, such as `GET /api/tag`: reports of sessions that are open name it.
#[derive(Clone, Debug)]
pub struct RequestLine {
    method: Method,
    uri: Uri,
}

impl RequestLine {
    /// Of a request, as its client sent it: a nested router sees what is left of the path.
    pub fn of(parts: &Parts) -> Self {
        let sent = parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri);
        Self { method: parts.method.clone(), uri: sent.unwrap_or(&parts.uri).clone() }
    }
}

impl fmt::Display for RequestLine {
    /// Without the query, which may hold anything.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.uri.path())
    }
}

/// What an engine gives by a method of its own; by itself, it is an argument too.
macro_rules! extracts {
    ($extracted:ty, by $engine:ty, $method:ident $(, of $generic:ident)?) => {
        impl<S $(, $generic: Dialect)?> FromEngine<S> for $extracted
        where
            S: Send + Sync,
            $engine: FromRef<S>,
        {
            type Rejection = SessionRejection;

            async fn from_engine(state: &S, request: RequestLine) -> Result<Self, SessionRejection> {
                let taken = <$engine>::from_ref(state).$method().await?;
                taken.label(request);
                Ok(taken)
            }
        }

        impl<S $(, $generic: Dialect)?> FromRequestParts<S> for $extracted
        where
            S: Send + Sync,
            $engine: FromRef<S>,
        {
            type Rejection = SessionRejection;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionRejection> {
                Self::from_engine(state, RequestLine::of(parts)).await
            }
        }
    };
}

extracts!(Session<DB>, by Engine<DB>, session, of DB);
extracts!(Tx<DB>, by Engine<DB>, begin, of DB);
#[cfg(feature = "sea-orm")]
extracts!(crate::OrmSession, by crate::OrmEngine, session);
#[cfg(feature = "sea-orm")]
extracts!(crate::OrmTx, by crate::OrmEngine, begin);

/// First the request's body, and only then a session or a transaction: a client that sends its body slowly, or a wrong one,
/// holds no connection.
#[derive(Debug)]
pub struct Then<First, Next>(pub First, pub Next);

impl<S, First, Next> FromRequest<S> for Then<First, Next>
where
    S: Send + Sync,
    First: FromRequest<S> + Send,
    Next: FromEngine<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let line = RequestLine::of(&parts);
        let first = First::from_request(Request::from_parts(parts, body), state);
        let first = first.await.map_err(IntoResponse::into_response)?;
        let next = Next::from_engine(state, line).await.map_err(IntoResponse::into_response)?;
        Ok(Self(first, next))
    }
}
