//! The service's tests: each fact on each engine, over a real socket.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

#[macro_use]
mod harness;
mod engines;
mod openapi;
mod proxy;

mod bodies;
mod contract;
mod health;
mod migrations;
mod resilience;
mod startup;
mod tags;
