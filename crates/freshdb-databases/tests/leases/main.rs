//! Leases of pristine databases, on every engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// By its name its tests are begun first, for they wait a good deal.
mod accidents;
mod changes;
mod collecting;
mod ending;
mod harness;
mod leasing;
mod processes;
mod templates;
