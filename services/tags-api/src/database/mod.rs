//! The database as the service sees it: sessions and transactions on it, its schema, and what goes wrong, in kinds that a
//! caller can act on.

pub(crate) mod dialect;
mod error;
mod file;
mod migrate;
mod open;
mod url;

pub use error::{Error, OpenError};
pub use file::FileGone;
pub use migrate::BegunMigration;
pub use open::{Database, Options};
pub use url::{DatabaseUrl, DatabaseUrlError};
