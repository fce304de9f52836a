//! What a lease of a pristine database costs.

mod command;
mod measure;
mod report;

pub(crate) use command::{Args, run};
