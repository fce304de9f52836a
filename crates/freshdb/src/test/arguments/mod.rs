//! The arguments that freshdb makes.

mod engine;
mod lease;
mod ledger;
#[cfg(feature = "sea-orm")]
mod sea_orm;
mod sqlx_pool;

pub use lease::Lease;
pub(super) use ledger::{Held, Ledger, LeftOpen};
