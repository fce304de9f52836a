//! What docs/test.md and docs/migrating.md show: each block of Rust in them stands in one of these files, where it is compiled and run;
//! and each report in them is what a test of these files reports.

mod arguments;
mod engines;
mod failure;
mod migrating;
mod shown;
mod smallest;
