//! The portable upsert: each fact on each engine.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

#[macro_use(on_every_engine)]
extern crate test_support;

mod concurrency;
mod harness;
mod keys;
mod model;
mod outcomes;
mod values;
