//! What a session costs, beside a connection of a plain sqlx pool.

mod command;
mod contender;
mod report;

pub(crate) use command::{Args, run};
