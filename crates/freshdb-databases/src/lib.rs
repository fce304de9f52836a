//! A fresh database for every test: made from a template, and put back by what was touched.
// Without an engine nothing is to be said but that one is missing.
#![cfg_attr(not(any(feature = "sqlite", feature = "mysql", feature = "postgres")), allow(warnings))]

#[cfg(not(any(feature = "sqlite", feature = "mysql", feature = "postgres")))]
compile_error!(
    "freshdb needs to know your database: enable at least one of the features `sqlite`, `mysql`, `mariadb` and `postgres`, \
     as in `freshdb = { version = \"0.1\", features = [\"postgres\", \"test\"] }`"
);

#[cfg(feature = "broker")]
pub mod broker;
mod changes;
mod config;
mod dialect;
mod error;
mod gc;
mod kind;
mod names;
mod pool;
mod redaction;
mod registry;
mod runtime;
pub mod schema;
mod server;
mod template;
mod url;

pub use changes::{Changes, ObjectChange, RowChange, TableChanges};
pub use config::{Config, variables};
pub use dialect::ServerSession;
#[doc(hidden)]
pub use error::told;
pub use error::{Error, ErrorKind};
pub use gc::{Collected, Garbage};
pub use kind::Kind;
pub use pool::{GivenBack, Lease, Pool, PoolBuilder, ResetReport};
pub use schema::{BoxFuture, Fingerprint, Schema, SchemaError, Target};
pub use server::Server;
pub use url::DatabaseUrl;
