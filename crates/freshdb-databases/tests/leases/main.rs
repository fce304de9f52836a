//! Leases of pristine databases, on every engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod collecting;
mod ending;
mod harness;
mod leasing;
mod processes;
mod templates;
