//! What a lease of a pristine database costs.

mod command;
mod measure;
mod report;
mod schema;

pub(crate) use command::{Args, run};
