//! Schemas of every make, applied on every engine: what they leave in the database, and what they say when they cannot.

#[macro_use(on_every_engine)]
extern crate test_support;

mod harness;
mod sql;
