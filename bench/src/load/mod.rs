//! tags-api under load, beside a bare handler that runs the same SQL.

pub(crate) mod bare;
mod command;
mod contender;
mod report;
mod request;
mod service;
mod wrk;

pub(crate) use command::{Args, run};
