//! freshdb in a crate outside of this workspace, with nothing set up, and what README's reader has in `Cargo.toml`.
//!
//! One program, for what such a crate depends on is compiled once.

mod checkout;
mod first_test;
mod readme;
mod refused;
