//! Migrations of SeaORM's.

use std::fmt;
use std::marker::PhantomData;

use sea_orm_migration::MigratorTrait;
use sea_orm_migration::sea_orm::DatabaseConnection;

use super::connection;
use crate::schema::{BoxFuture, Fingerprint, Schema, SchemaError, Target, program};
use crate::{Error, ErrorKind};

/// The migrations of a SeaORM migrator, and the table in which it keeps what was applied.
///
/// They are applied by SeaORM itself, one after the other. What a migration does is code, which cannot be read, so the fingerprint is made of the
/// migrations' names and of the identity of the running program: after a build that changed the program there is a new
/// template, and each test program has one of its own.
///
/// # Examples
///
/// ```
/// use freshdb_databases::schema::{Schema, SeaOrmMigrations, Target};
/// use sea_orm_migration::prelude::*;
/// # use sea_orm_migration::async_trait;
///
/// struct Tags;
///
/// impl MigrationName for Tags {
///     fn name(&self) -> &'static str {
///         "m20260101_000001_tags"
///     }
/// }
///
/// #[async_trait::async_trait]
/// impl MigrationTrait for Tags {
///     async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
///         let name = ColumnDef::new("name").string().not_null().take();
///         manager.create_table(Table::create().table("tags").col(name).take()).await
///     }
/// }
///
/// struct Migrator;
///
/// impl MigratorTrait for Migrator {
///     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
///         vec![Box::new(Tags)]
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let directory = tempfile::tempdir()?;
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// SeaOrmMigrations::<Migrator>::new().apply(&target).await?;
/// # Ok(())
/// # }
/// ```
pub struct SeaOrmMigrations<M>(PhantomData<fn() -> M>);

impl<M: MigratorTrait> SeaOrmMigrations<M> {
    /// Those of `M`.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M: MigratorTrait> Default for SeaOrmMigrations<M> {
    fn default() -> Self {
        Self::new()
    }
}

fn names<M: MigratorTrait>() -> Vec<String> {
    M::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

impl<M: MigratorTrait> Schema for SeaOrmMigrations<M> {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        // Two migrators of one program may give the same names to other things.
        fingerprint.add("sea-orm", "migrations").add("type", std::any::type_name::<M>());
        for name in names::<M>() {
            fingerprint.add("migration", name);
        }
        program::add_to(fingerprint)
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            let connection = connection::open(target).await?;
            let done = run::<M>(&connection).await;
            Ok(connection::close_after(connection, done).await?)
        })
    }
}

/// One by one, for SeaORM does not say which one fails.
async fn run<M: MigratorTrait>(connection: &DatabaseConnection) -> Result<(), Error> {
    for name in names::<M>() {
        M::up(connection, Some(1)).await.map_err(|error| {
            Error::new(ErrorKind::Schema, format!("the SeaORM migration `{name}` fails")).because(error)
        })?;
    }
    Ok(())
}

impl<M: MigratorTrait> fmt::Debug for SeaOrmMigrations<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SeaOrmMigrations").field(&names::<M>()).finish()
    }
}
