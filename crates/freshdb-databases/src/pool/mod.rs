//! Databases that are ready before they are wanted, and put back after they were used.

mod builder;
mod handle;
mod keeper;
mod lease;
mod report;
mod slots;

pub use builder::PoolBuilder;
pub use handle::Pool;
pub use lease::{GivenBack, Lease};
pub use report::ResetReport;
