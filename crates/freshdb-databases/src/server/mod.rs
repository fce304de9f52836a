//! Database servers: one that is there, or a private one that ends with this process or with the run that it is part of.

mod check;
mod copy;
mod data;
mod directory;
#[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "not every server needs all of it"))]
mod engine;
mod failure;
mod guard;
mod handle;
mod keeper;
mod launch;
#[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "not every server needs all of it"))]
mod programs;
mod run;
mod sharing;
mod user;

pub(crate) use check::is_as_asked;
pub(crate) use directory::write_private;
pub use handle::Server;
