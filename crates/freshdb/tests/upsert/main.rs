//! The portable upsert: each fact on each engine.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

mod concurrency;
mod harness;
mod keys;
mod model;
mod outcomes;
mod values;
