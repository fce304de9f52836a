//! The broker, over its sockets, on each engine.

#[macro_use]
mod harness;

mod access;
mod integresql;
mod leases;
mod outcomes;
mod rust;
mod templates;
