//! A schema that is code.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::panic::Location;

use super::{BoxFuture, Fingerprint, Schema, SchemaError, Target, program};
use crate::{Error, ErrorKind};

/// A schema that a closure makes. Made by [`from_fn`].
#[derive(Clone)]
pub struct Closure<Apply> {
    version: String,
    location: &'static Location<'static>,
    apply: Apply,
}

/// A schema that a closure makes.
///
/// What a closure does cannot be read, so the fingerprint is made of `version`, of where `from_fn` is called, and of the identity of
/// the running program: after a build that changed the program there is a new template, so that a changed closure is never
/// taken for the one before it. That makes templates that code makes shorter-lived than those of files, and each test
/// program has one of its own. What the closure captures, or reads from elsewhere, must be part of `version` where it decides what
/// is made.
///
/// The closure must close what it connects: a connection that stays open is in the way of the copies. It has a thread of its own, and may block.
///
/// # Examples
///
/// ```
/// use freshdb_databases::schema::{self, Schema, Target};
/// use sqlx::{Connection, SqliteConnection};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let schema = schema::from_fn("1", async |target: Target| {
///     let mut connection = SqliteConnection::connect(&target.url().reveal()).await?;
///     sqlx::raw_sql("CREATE TABLE tags (name TEXT NOT NULL)").execute(&mut connection).await?;
///     connection.close().await?;
///     Ok(())
/// });
/// # let directory = tempfile::tempdir()?;
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// schema.apply(&target).await?;
/// # let again = schema.apply(&target).await.unwrap_err();
/// # assert!(again.to_string().starts_with("the closure of version `1`, at "), "{again}");
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn from_fn<Apply, Applied>(version: impl Into<String>, apply: Apply) -> Closure<Apply>
where
    Apply: Fn(Target) -> Applied + Send + Sync,
    Applied: Future<Output = Result<(), SchemaError>> + Send,
{
    Closure { version: version.into(), location: Location::caller(), apply }
}

impl<Apply, Applied> Schema for Closure<Apply>
where
    Apply: Fn(Target) -> Applied + Send + Sync,
    Applied: Future<Output = Result<(), SchemaError>> + Send,
{
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        fingerprint.add("closure", &self.version);
        // Two closures of one version in one program are two schemas.
        fingerprint.add("type", type_name::<Apply>()).add("location", self.location.to_string());
        program::add_to(fingerprint)
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            (self.apply)(target.clone()).await.map_err(|error| {
                let fact = format!("the closure of version `{}`, at {}, fails", self.version, self.location);
                Error::new(ErrorKind::Schema, fact).because(error).into()
            })
        })
    }
}

impl<Apply> fmt::Debug for Closure<Apply> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Closure")
            .field("version", &self.version)
            .field("location", &format_args!("{}", self.location))
            .finish_non_exhaustive()
    }
}
