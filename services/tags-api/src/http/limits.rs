//! How much the service takes on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem;

/// The limits of a request, and of how many there are at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// How long a request may take, from its head to the head of its answer.
    pub time: Duration,
    requests: Arc<Semaphore>,
}

impl Limits {
    /// At most `requests` at once, each until its answer is written; one more is told to come back later.
    pub fn new(body: usize, time: Duration, requests: usize) -> Self {
        Self { body, time, requests: Arc::new(Semaphore::new(requests.min(Semaphore::MAX_PERMITS))) }
    }
}

impl Default for Limits {
    /// 2 MiB, 30 seconds, 512 requests.
    fn default() -> Self {
        Self::new(2 << 20, Duration::from_secs(30), 512)
    }
}

/// Turns away what is over the limits.
pub(super) async fn hold_to(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let Ok(place) = limits.requests.clone().try_acquire_owned() else {
        return problem::come_back_later("The service is at its limit of requests");
    };
    match tokio::time::timeout(limits.time, next.run(request)).await {
        Ok(response) => response.map(|body| Placed::until_written(body, place)),
        Err(_elapsed) => {
            let limit = humantime::format_duration(limits.time);
            problem::come_back_later(format!("The request was not done within {limit}"))
        }
    }
}

/// A body that keeps its request's place until the last of it is written: until then it is in memory.
struct Placed {
    body: Body,
    /// What the body has given and nobody has taken yet.
    rest: Bytes,
    _place: OwnedSemaphorePermit,
}

impl Placed {
    fn until_written(body: Body, place: OwnedSemaphorePermit) -> Body {
        if body.is_end_stream() { body } else { Body::new(Self { body, rest: Bytes::new(), _place: place }) }
    }
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    /// In pieces, of which the connection takes another when it has written what it has: whoever hands it a list at once
    /// cannot tell when the client has read that.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        const PIECE: usize = 64 << 10;

        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut both = SizeHint::new();
        both.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            both.set_upper(upper + rest);
        }
        both
    }
}
