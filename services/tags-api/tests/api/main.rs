//! The service's tests: each fact on each engine, on a pristine database of its own. `harness.rs` says how they reach the service.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

mod harness;
mod openapi;

mod bodies;
mod contract;
mod health;
mod migrations;
mod read_only;
mod resilience;
mod sessions;
mod startup;
mod tags;
