//! What is left of a request's body when it has its answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// A body whose rest is read when nobody wants it any more, and thrown away.
///
/// The system answers what comes over a closed connection with a reset, and a client that has yet to send then never sees
/// the answer that says why nobody wants it. The answer does not wait for the rest: it is on its way when the rest is read.
pub(super) struct Leftover {
    body: Body,
    /// Whether the client sends it. One that has asked to be told when it may does not, before anybody has read.
    is_sent: bool,
}

/// How much is thrown away of one body, and for how long: whoever sends more has its connection closed.
const MOST_THROWN_AWAY: usize = 64 << 20;
const LONGEST: Duration = Duration::from_secs(10);

impl Leftover {
    /// The same request, with this behind its body.
    pub(super) fn behind(request: Request<Incoming>) -> Request<Body> {
        let is_sent = !request.headers().contains_key(header::EXPECT);
        request.map(|body| {
            if body.is_end_stream() { Body::empty() } else { Body::new(Self { body: Body::new(body), is_sent }) }
        })
    }
}

impl HttpBody for Leftover {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_sent = true;
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.is_sent = false;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leftover {
    /// Hands the rest over. The connection is not done before it is read, and so the server does not end before.
    fn drop(&mut self) {
        if let (true, false, Ok(runtime)) = (self.is_sent, self.is_end_stream(), Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LONGEST, throw_away(std::mem::take(&mut self.body))));
        }
    }
}

async fn throw_away(mut body: Body) {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > MOST_THROWN_AWAY {
            return;
        }
    }
}
