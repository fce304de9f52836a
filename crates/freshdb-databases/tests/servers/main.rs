//! Throwaway servers: how they start, who gets in, who shares them, how they end, and what is said when they do not start.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cache;
mod chain;
mod counters;
mod doors;
mod end;
mod failures;
mod harness;
mod run;
mod vacuum;
