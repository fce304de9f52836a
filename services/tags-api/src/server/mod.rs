//! The service on a socket.

mod leftover;
mod serve;
mod signals;
mod stall;

pub use serve::{bind, serve};
pub use signals::stop_signal;
