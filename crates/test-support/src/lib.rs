//! What the tests of this workspace share: each fact on each engine, on a database of the test's own; and a network
//! between a program and its database that a test can make slow, cut or stall.

#![expect(clippy::missing_panics_doc, reason = "what a test calls panics where the test fails")]

mod client;
mod engines;
mod log;
mod observer;
mod processes;
mod programs;
mod proxy;
mod run;
mod tools;

pub use client::Client;
pub use engines::{Engine, Lock, TestDatabase};
pub use log::{begin_log, say, warned};
pub use observer::Observer;
pub use programs::{copy_program, write_script};
pub use proxy::{FAIR, Proxy, Weather};
pub use run::{DEADLINE, eventually, eventually_blocking, run};
pub use tools::dump_tool;
