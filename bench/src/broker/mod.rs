//! What a lease costs that is taken over the broker's socket, with many clients at once.

mod client;
mod command;

pub(crate) use command::{Args, run};
