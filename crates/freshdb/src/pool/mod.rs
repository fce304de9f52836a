//! The connections of one engine: made, kept, handed out, and closed.
//!
//! Not the driver's pool. That one knows nothing of which connection is which on the server, so that what a dropped
//! session executes could not be ended there; and it loses the place of a connection whose peer is dead.

mod closing;
mod connections;
mod control;

pub(crate) use closing::close;
#[cfg(feature = "test")]
pub(crate) use connections::open_plain;
pub(crate) use connections::{Pool, Slot};
