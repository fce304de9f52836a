//! How much the service takes on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

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
    /// At most `requests` at once; one more is told to come back later.
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
    let Ok(_place) = limits.requests.try_acquire() else {
        return problem::come_back_later("The service is at its limit of requests");
    };
    match tokio::time::timeout(limits.time, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            let limit = humantime::format_duration(limits.time);
            problem::come_back_later(format!("The request was not done within {limit}"))
        }
    }
}
