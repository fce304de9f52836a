//! What is said of each request: its id, to the client and in every line of the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span};

use super::metrics::{CLIENT_WENT_AWAY, InFlight, Metrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler has to say about its answer, for the log and not for the client.
#[derive(Clone, Debug)]
pub(super) struct Cause(pub(super) Arc<str>);

/// An answer that nobody sees: its client has gone away.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientGone;

/// Gives the request an id, or takes the one that a proxy gave it; counts it; and logs its end, with the cause where it
/// was refused for one.
///
/// Other lines have the id from the span, which is for those who debug: at the default level of the log it is never made,
/// and costs nothing.
pub(super) async fn follow(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let followed = Followed::new(metrics, &request);
    let response = next.run(request).instrument(followed.span.clone()).await;
    followed.answer(response)
}

/// A request that is under way.
struct Followed {
    started: Instant,
    id: HeaderValue,
    span: Span,
    method: Method,
    route: Option<MatchedPath>,
    uri: Uri,
    metrics: Arc<Metrics>,
    /// Until it is answered.
    in_flight: Option<InFlight>,
}

impl Followed {
    fn new(metrics: Arc<Metrics>, request: &Request) -> Self {
        let id = given_id(request.headers()).unwrap_or_else(new_id);
        Self {
            started: Instant::now(),
            span: tracing::debug_span!("request", id = id.to_str().unwrap_or_default()),
            id,
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            uri: request.uri().clone(),
            in_flight: Some(metrics.enter()),
            metrics,
        }
    }

    fn answer(mut self, mut response: Response) -> Response {
        response.headers_mut().insert(REQUEST_ID, self.id.clone());
        if response.extensions().get::<ClientGone>().is_some() {
            return response;
        }
        drop(self.in_flight.take());
        let took = self.started.elapsed();
        self.metrics.answered(&self.method, self.route.as_ref(), response.status(), took);
        self.log(&response, took);
        response
    }

    fn log(&self, response: &Response, took: Duration) {
        let _entered = self.span.enter();
        let (id, method, path) = (self.id(), &self.method, self.uri.path());
        let status = response.status().as_u16();
        let cause = response.extensions().get::<Cause>().map(|cause| &*cause.0);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(id, %method, path, status, ?took, cause, "answered");
        } else if cause.is_some() {
            tracing::warn!(id, %method, path, status, ?took, cause, "answered");
        } else {
            tracing::info!(id, %method, path, status, ?took, "answered");
        }
    }

    fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

impl Drop for Followed {
    /// A request is dropped without an answer when its client goes away, or when the service ends before it.
    fn drop(&mut self) {
        if self.in_flight.take().is_none() {
            return;
        }
        self.metrics.given_up(&self.method, self.route.as_ref());
        let _entered = self.span.enter();
        let (id, method, path, took) = (self.id(), &self.method, self.uri.path(), self.started.elapsed());
        tracing::info!(id, %method, path, status = CLIENT_WENT_AWAY, ?took, "not answered");
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
