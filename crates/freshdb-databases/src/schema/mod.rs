//! What a template is made of.

mod fingerprint;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use fingerprint::Fingerprint;

use crate::{DatabaseUrl, Kind};

/// A future in a box, for traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whatever a schema's own code says went wrong.
pub type SchemaError = Box<dyn StdError + Send + Sync + 'static>;

/// What every database of a pool starts from: tables, and the rows in them.
///
/// It is applied once, to an empty database, which becomes the template. Two schemas of one fingerprint must leave the same
/// there, for the second is never applied.
pub trait Schema: Send + Sync + fmt::Debug {
    /// Adds to `fingerprint` all that decides what [`apply`](Self::apply) leaves in a database.
    ///
    /// # Errors
    ///
    /// If what it is made of cannot be read.
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError>;

    /// Makes the tables and the rows in an empty database.
    ///
    /// # Errors
    ///
    /// If that fails. The database is thrown away.
    ///
    /// # Cancellation
    ///
    /// Safe: a template counts only once this has returned `Ok`.
    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>>;
}

/// The empty database that a schema is applied to.
#[derive(Clone, Debug)]
pub struct Target {
    url: DatabaseUrl,
}

impl Target {
    pub(crate) fn new(url: DatabaseUrl) -> Self {
        Self { url }
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        self.url.kind()
    }

    /// Where the database is. Its file exists already.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }
}
