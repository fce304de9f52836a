//! What a pool lives through: its server restarts, or its disk fills up, in the middle of everything; or it is not set as others are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;
#[path = "../pristine/dump.rs"]
mod dump;
mod full;
mod harness;
mod restarts;
mod settings;
