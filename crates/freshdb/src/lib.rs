#![doc = include_str!("docs/lib.md")]
// Without an engine nothing is to be said but that one is missing.
#![cfg_attr(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")), allow(warnings))]

#[cfg(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")))]
compile_error!(
    "freshdb needs to know your database: enable at least one of its features `sqlite`, `mysql`, `mariadb` and `postgres`, \
     as in `freshdb = { version = \"0.1\", features = [\"postgres\"] }`"
);

#[cfg(feature = "axum")]
pub mod axum;
mod conduct;
mod counters;
mod dialect;
mod engine;
mod error;
mod executor;
mod lease;
mod options;
#[cfg(feature = "sea-orm")]
mod orm;
mod pool;
mod registry;
mod retry;
mod runtime;
mod session;
mod sql;
#[cfg(feature = "test")]
pub mod test;
mod tx;
#[cfg(feature = "sea-orm")]
pub mod upsert;
mod verdict;
mod vigilance;
mod words;

pub use counters::Stats;
pub use dialect::Dialect;
pub use engine::Engine;
#[cfg(feature = "mysql")]
pub use engine::MySqlEngine;
#[cfg(feature = "postgres")]
pub use engine::PgEngine;
#[cfg(feature = "sqlite")]
pub use engine::SqliteEngine;
pub use error::{Error, Leaks};
#[cfg(feature = "test")]
pub use freshdb_macros::test;
pub use options::EngineOptions;
#[cfg(feature = "sea-orm")]
pub use orm::{OrmEngine, OrmSession, OrmTx};
pub use registry::{OpenSession, Use};
pub use retry::HasVerdict;
pub use session::Session;
pub use tx::{Savepoint, Tx};
pub use verdict::Verdict;
pub use words::words;
