//! The service over HTTP.

mod body;
mod docs;
mod fallback;
mod health;
mod json_error;
mod limits;
mod members;
mod metrics;
mod observe;
mod path;
mod problem;
mod query;
mod router;
mod session;
mod tags;

pub use docs::openapi;
pub use limits::Limits;
pub use router::{App, router};
