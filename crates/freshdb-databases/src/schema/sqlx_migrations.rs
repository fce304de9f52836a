//! Migrations of sqlx's.

use std::borrow::Borrow;
use std::fmt;
use std::path::Path;

use sqlx::migrate::{MigrateError, Migration, Migrator};

use super::connection::{Connection, Session, migration_failed, refuse_nul};
use super::files;
use super::{BoxFuture, Fingerprint, Schema, SchemaError, Target};
use crate::{Error, ErrorKind};

/// Migrations as `sqlx migrate` knows them, and the table in which it keeps what was applied.
///
/// They are applied by sqlx itself, through a connection as sqlx's driver makes it. The fingerprint is made of what a migrator is made of:
/// versions, descriptions, checksums and SQL. Those that only take back what others did are no part of it.
///
/// # Examples
///
/// Of a program that has them built in, `SqlxMigrations::new(&MIGRATOR)` or `SqlxMigrations::new(sqlx::migrate!())`.
/// And as files:
///
/// ```
/// use freshdb_databases::schema::{Schema, SqlxMigrations, Target};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// std::fs::write(path.join("20260101120000_tags.sql"), "CREATE TABLE tags (name TEXT NOT NULL);")?;
///
/// SqlxMigrations::directory(path)?.apply(&target).await?;
/// # Ok(())
/// # }
/// ```
pub struct SqlxMigrations<M = Migrator> {
    migrator: M,
}

impl<M: Borrow<Migrator>> SqlxMigrations<M> {
    /// Those of a migrator, or of a reference to one.
    pub fn new(migrator: M) -> Self {
        Self { migrator }
    }
}

impl SqlxMigrations {
    /// Those of a directory, which is read now.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read, or a file in it has no name that sqlx understands.
    pub fn directory(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        // For the message if there is none.
        files::names_in(path)?;
        let migrations = sqlx::migrate::resolve_blocking(path).map_err(|error| {
            Error::new(ErrorKind::Files, format!("`{}` holds no sqlx migrations", path.display())).because(error)
        })?;
        if migrations.is_empty() {
            return Err(Error::new(ErrorKind::Files, format!("`{}` holds no sqlx migration", path.display()))
                .hint("sqlx names a migration `<version>_<description>.sql`"));
        }
        let migrations = migrations.into_iter().map(|(migration, _)| migration).collect();
        Ok(Self::new(Migrator::with_migrations(migrations)))
    }
}

impl<M: Borrow<Migrator> + Send + Sync> Schema for SqlxMigrations<M> {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        let migrator = self.migrator.borrow();
        fingerprint.add("sqlx", &*migrator.table_name);
        for schema in &*migrator.create_schemas {
            fingerprint.add("schema", &**schema);
        }
        for migration in up(migrator) {
            fingerprint
                .add("migration", migration.version.to_string())
                .add("description", &*migration.description)
                .add("checksum", &*migration.checksum)
                // Not all of it need be in the checksum.
                .add("sql", migration.sql.as_str())
                .add("transaction", if migration.no_tx { "no" } else { "yes" });
        }
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            let migrator = self.migrator.borrow();
            for migration in up(migrator) {
                let name = format!("sqlx migration {} `{}`", migration.version, migration.description);
                refuse_nul(target.kind(), migration.sql.as_str(), &name)?;
            }
            let mut connection = Connection::open(target, Session::Sqlx).await?;
            let done = match &mut connection {
                #[cfg(feature = "sqlite")]
                Connection::Sqlite(connection) => migrator.run_direct(None, connection, false).await,
                #[cfg(feature = "mysql")]
                Connection::Mysql(connection) => migrator.run_direct(None, connection, false).await,
                #[cfg(feature = "postgres")]
                Connection::Postgres(connection) => migrator.run_direct(None, connection, false).await,
            };
            Ok(connection.close_after(done.map_err(|error| failure(migrator, error))).await?)
        })
    }
}

/// Those that do not take back what others did.
fn up(migrator: &Migrator) -> impl Iterator<Item = &Migration> {
    migrator.iter().filter(|migration| !migration.migration_type.is_down_migration())
}

fn failure(migrator: &Migrator, error: MigrateError) -> Error {
    match error {
        MigrateError::ExecuteMigration(error, version) => {
            let migration = migrator.iter().find(|migration| migration.version == version);
            let description = migration.map(|migration| format!(" `{}`", migration.description)).unwrap_or_default();
            let fact = format!("sqlx migration {version}{description} fails");
            migration_failed(fact, error, "whose first line is `-- no-transaction`")
        }
        error => Error::new(ErrorKind::Schema, "the sqlx migrations cannot be applied").because(error),
    }
}

impl<M: Borrow<Migrator>> fmt::Debug for SqlxMigrations<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let migrations = self.migrator.borrow().iter();
        let names = migrations.map(|migration| format!("{} {}", migration.version, migration.description));
        formatter.debug_tuple("SqlxMigrations").field(&names.collect::<Vec<_>>()).finish()
    }
}
