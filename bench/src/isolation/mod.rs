//! What it costs to have a database of its own for every test, beside what people do today.

mod case;
mod command;
mod house;
mod plot;
mod report;
mod run;
mod suite;

pub(crate) use command::{Args, run};
