//! What is said of each request: its id, to the client and in every line of the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::metrics::Metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler has to say about its answer, for the log and not for the client.
#[derive(Clone, Debug)]
pub(super) struct Cause(pub(super) Arc<str>);

/// Gives the request an id, or takes the one that a proxy gave it; counts it; and logs its end, with the cause where it
/// was refused for one.
///
/// Other lines have the id from the span, which is for those who debug: at the default level of the log it is never made,
/// and costs nothing.
pub(super) async fn follow(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = given_id(request.headers()).unwrap_or_else(new_id);
    let span = tracing::debug_span!("request", id = id.to_str().unwrap_or_default());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let in_flight = metrics.enter();
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);

    let took = started.elapsed();
    metrics.answered(&method, route.as_ref(), response.status(), took);
    let _entered = span.entered();
    log(&id, &method, uri.path(), &response, took);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn log(id: &HeaderValue, method: &Method, path: &str, response: &Response, took: Duration) {
    let (id, status) = (id.to_str().unwrap_or_default(), response.status().as_u16());
    let cause = response.extensions().get::<Cause>().map(|cause| &*cause.0);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(id, %method, path, status, ?took, cause, "answered");
    } else if cause.is_some() {
        tracing::warn!(id, %method, path, status, ?took, cause, "answered");
    } else {
        tracing::info!(id, %method, path, status, ?took, "answered");
    }
}

/// An id is taken over if it is short and plain: it goes into the log.
fn given_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    ((1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)).then(|| id.clone())
}

/// Random for this process, then counted: unique without asking the system for randomness each time.
fn new_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| fastrand::u64(..));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:016x}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
