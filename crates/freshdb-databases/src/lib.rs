//! A fresh database for every test: made from a template, and put back by what was touched.

#[cfg(not(any(feature = "sqlite", feature = "mysql", feature = "postgres")))]
compile_error!("freshdb-databases needs an engine: enable one of its features `sqlite`, `mysql`, `mariadb` and `postgres`");

mod dialect;
mod error;
mod kind;
mod runtime;
pub mod schema;
mod url;

pub use error::{Error, ErrorKind};
pub use kind::Kind;
pub use schema::{BoxFuture, Fingerprint, Schema, SchemaError, Target};
pub use url::DatabaseUrl;
