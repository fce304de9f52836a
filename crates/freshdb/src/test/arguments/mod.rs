//! The arguments that freshdb makes.

mod another_engine;
mod engine;
mod lease;
mod ledger;
#[cfg(feature = "sea-orm")]
mod sea_orm;
mod sqlx_pool;

pub(super) use another_engine::OfAnotherEngine;
pub use lease::Lease;
pub(super) use ledger::{Held, Ledger, Unreturned};
