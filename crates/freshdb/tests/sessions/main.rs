//! Sessions and transactions, each fact on each engine.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

#[macro_use(on_every_engine)]
extern crate test_support;

#[macro_use]
mod harness;

mod cancellation;
mod chaos;
mod disconnect;

mod closing;
mod messages;
mod options;
mod read_only;
mod survival;
mod transactions;
