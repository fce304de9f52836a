//! The test suite that `freshdb-bench isolation` runs: two hundred tests of one body, once for each contender.
//!
//! A contender is one of the targets in `tests/`. Each has a module for each driver, and in it the same two hundred tests, made by
//! [`two_hundred!`]; what differs is where the body's connection comes from. Which server, which schema and which database
//! they use is for the environment to say, and `freshdb-bench` sets it: see [`config`].

pub mod config;
mod statements;
mod tests;

pub use statements::{Statements, statements, unique_name};
