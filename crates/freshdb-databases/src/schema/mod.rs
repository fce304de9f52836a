//! What a template is made of: the trait, and ready-made schemas out of what projects have already.

mod closure;
mod command;
mod connection;
#[cfg(feature = "diesel-migrations")]
mod diesel;
mod files;
mod fingerprint;
mod program;
#[cfg(feature = "sea-orm")]
mod sea_orm;
mod sql;
#[cfg(feature = "sqlx-migrations")]
mod sqlx_migrations;
mod target;
mod then;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;

pub use closure::{Closure, from_fn};
pub use command::{Command, command};
#[cfg(feature = "diesel-migrations")]
pub use diesel::DieselMigrations;
pub use fingerprint::Fingerprint;
#[cfg(feature = "sea-orm")]
pub use sea_orm::SeaOrmEntities;
#[cfg(feature = "sea-orm-migrations")]
pub use sea_orm::SeaOrmMigrations;
pub use sql::{SqlDirectory, SqlText, sql};
#[cfg(feature = "sqlx-migrations")]
pub use sqlx_migrations::SqlxMigrations;
pub use target::Target;
pub use then::Then;

use crate::{Error, ErrorKind};

/// A future in a box, for traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whatever a schema's own code says went wrong.
pub type SchemaError = Box<dyn StdError + Send + Sync + 'static>;

/// What every database of a pool starts from: tables, and the rows in them.
///
/// It is applied once, to an empty database, which becomes the template. Two schemas of one fingerprint must leave the same
/// there, for the second is never applied.
///
/// # Examples
///
/// Most projects need none of their own: there are [`SqlDirectory`] and [`sql()`], [`from_fn`], and adapters of the usual migration
/// tools, which [`then`](Self::then) puts one behind the other. This is what one looks like:
///
/// ```
/// use freshdb_databases::schema::{self, BoxFuture, Fingerprint, Schema, SchemaError, Target};
///
/// /// So many tables, all alike.
/// #[derive(Debug)]
/// struct Tables(u32);
///
/// impl Schema for Tables {
///     fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
///         fingerprint.add("tables", self.0.to_string());
///         Ok(())
///     }
///
///     fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
///         let statements = (0..self.0).map(|number| format!("CREATE TABLE t{number} (id INTEGER PRIMARY KEY);"));
///         let text = schema::sql(statements.collect::<String>());
///         Box::pin(async move { text.apply(target).await })
///     }
/// }
///
/// let mut few = Fingerprint::new();
/// Tables(3).fingerprint(&mut few)?;
/// let mut many = Fingerprint::new();
/// Tables(300).fingerprint(&mut many)?;
/// assert_ne!(few, many);
/// # Ok::<(), SchemaError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a schema",
    label = "this does not say what a database starts from",
    note = "schemas are `SqlDirectory::new(\"migrations\")`, `schema::sql(\"CREATE TABLE …\")`, `schema::from_fn(…)`, the adapters of migration \
            tools that freshdb's features `sqlx-migrations`, `sea-orm`, `sea-orm-migrations` and `diesel-migrations` bring, and types of \
            yours that implement `Schema`"
)]
pub trait Schema: Send + Sync + fmt::Debug {
    /// Adds to `fingerprint` all that decides what [`apply`](Self::apply) leaves in a database, whichever engine that is on.
    ///
    /// # Errors
    ///
    /// If what it is made of cannot be read.
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError>;

    /// Makes the tables and the rows in an empty database.
    ///
    /// It is awaited on a tokio runtime of freshdb's own, with all its drivers, in a thread that it has to itself and may block, and must leave nothing
    /// connected to the database.
    ///
    /// # Errors
    ///
    /// If that fails. The database is thrown away.
    ///
    /// # Cancellation
    ///
    /// Safe: a template counts only once this has returned `Ok`.
    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>>;

    /// Of one that a program makes, what is said where that made no table: another database may have it now.
    #[doc(hidden)]
    fn made_no_table(&self) -> Option<String> {
        None
    }

    /// This one, and then another: the tables, and then the rows that all tests want.
    ///
    /// # Examples
    ///
    /// ```
    /// use freshdb_databases::schema::{self, Schema, SqlDirectory};
    ///
    /// let schema = SqlDirectory::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schema"))
    ///     .then(schema::sql("INSERT INTO countries (code) VALUES ('CH'), ('PT')"));
    /// # drop(schema);
    /// ```
    fn then<Next: Schema>(self, next: Next) -> Then<Self, Next>
    where
        Self: Sized,
    {
        Then::new(self, next)
    }
}

/// Applies a schema. One that panics has failed, as one that returns an error has: what was begun is taken back, and whoever waits is told.
pub(crate) async fn apply(schema: &dyn Schema, target: &Target) -> Result<(), SchemaError> {
    let applied = AssertUnwindSafe(async { schema.apply(target).await }).catch_unwind().await;
    applied.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let fact = said.map_or_else(|| "it panicked".to_owned(), |said| format!("it panicked: {said}"));
        Err(Error::new(ErrorKind::Schema, fact).into())
    })
}

impl<S: Schema + ?Sized> Schema for Box<S> {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        (**self).fingerprint(fingerprint)
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        (**self).apply(target)
    }

    fn made_no_table(&self) -> Option<String> {
        (**self).made_no_table()
    }
}

impl<S: Schema + ?Sized> Schema for Arc<S> {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        (**self).fingerprint(fingerprint)
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        (**self).apply(target)
    }

    fn made_no_table(&self) -> Option<String> {
        (**self).made_no_table()
    }
}
