//! The service's tests: each fact on each engine, over a real socket.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

#[macro_use(on_every_engine)]
extern crate test_support;

mod harness;
mod openapi;

mod bodies;
mod contract;
mod health;
mod migrations;
mod resilience;
mod startup;
mod tags;
