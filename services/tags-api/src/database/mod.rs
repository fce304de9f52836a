//! The database as the service sees it: reads, transactions that commit only explicitly, and what goes wrong, in kinds
//! that a caller can act on.

pub(crate) mod dialect;
mod error;
mod migrate;
mod open;
mod session;
mod statements;
mod url;

pub use error::{Error, OpenError};
pub use open::Options;
pub use session::{Counters, Database, PoolState, Transaction};
pub use statements::Row;
pub use url::{DatabaseUrl, DatabaseUrlError};
