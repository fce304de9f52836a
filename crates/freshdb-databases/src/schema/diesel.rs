//! Migrations of diesel's.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use migrations_internals::TomlMetadata;

use super::connection::{Connection, Session, migration_failed, refuse_nul};
use super::files;
use super::{BoxFuture, Fingerprint, Schema, SchemaError, Target};
use crate::{Error, ErrorKind};

/// The table in which diesel keeps what was applied, as diesel makes it:
/// <https://docs.rs/diesel/2.3/diesel/migration/constant.CREATE_MIGRATIONS_TABLE.html>.
const BOOKS: &str = "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations \
                     (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)";

/// The migrations in a directory of diesel's: `<version>_<name>/up.sql`, and where there is one `metadata.toml`.
///
/// They are applied as `diesel migration run` does, in the order of their versions, each in a transaction unless its metadata
/// say `run_in_transaction = false`, and recorded, so that diesel sees them as applied. Diesel's C libraries are not needed, nor is
/// diesel. Each has a session of its own, with the settings that diesel makes; what one sets is not set for the next.
///
/// The fingerprint is made of the migrations' names, `up.sql` and `metadata.toml`.
///
/// # Examples
///
/// ```
/// use freshdb_databases::schema::{DieselMigrations, Schema, Target};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("migrations");
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// std::fs::create_dir_all(path.join("2026-01-01-120000_tags"))?;
/// std::fs::write(path.join("2026-01-01-120000_tags/up.sql"), "CREATE TABLE tags (name TEXT NOT NULL);")?;
///
/// DieselMigrations::new(path).apply(&target).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DieselMigrations {
    path: PathBuf,
    /// What the fingerprint was made of, so that no others are applied under it.
    read: Mutex<Option<Arc<Vec<Migration>>>>,
}

#[derive(Debug)]
struct Migration {
    name: String,
    version: String,
    up: String,
    in_transaction: bool,
}

impl DieselMigrations {
    /// Those in the directory at `path`; a relative one starts at the working directory, which of tests is their package's.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::new(None) }
    }

    fn read(&self) -> Result<Arc<Vec<Migration>>, Error> {
        let migrations = Arc::new(migrations_in(&self.path)?);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(migrations.clone());
        Ok(migrations)
    }

    fn migrations(&self) -> Result<Arc<Vec<Migration>>, Error> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        read.map_or_else(|| self.read(), Ok)
    }
}

fn migrations_in(directory: &Path) -> Result<Vec<Migration>, Error> {
    let mut migrations = Vec::new();
    for name in files::names_in(directory)? {
        let path = directory.join(&name);
        if path.is_file() {
            continue;
        }
        if !migrations_internals::valid_sql_migration_directory(&path) {
            let fact = format!("`{}` is no diesel migration: it holds no `up.sql`", path.display());
            return Err(Error::new(ErrorKind::Files, fact));
        }
        let version = migrations_internals::version_from_string(&name).unwrap_or_default();
        let up = files::text_of(&path.join("up.sql"))?;
        // Metadata that are not there, or no TOML, count as none: so does diesel.
        let metadata = TomlMetadata::read_from_file(&path.join("metadata.toml")).unwrap_or_default();
        migrations.push(Migration { name, version, up, in_transaction: metadata.run_in_transaction });
    }
    if migrations.is_empty() {
        return Err(Error::new(ErrorKind::Files, format!("`{}` holds no diesel migration", directory.display()))
            .hint("diesel has a directory `<version>_<name>` for each, and `up.sql` in that"));
    }
    migrations.sort_by(|one, other| one.version.cmp(&other.version));
    if let Some(pair) = migrations.windows(2).find(|pair| pair[0].version == pair[1].version) {
        let fact = format!("the diesel migrations `{}` and `{}` are of one version", pair[0].name, pair[1].name);
        return Err(Error::new(ErrorKind::Files, fact));
    }
    Ok(migrations)
}

impl Migration {
    async fn run(&self, target: &Target) -> Result<(), Error> {
        refuse_nul(target.kind(), &self.up, &format!("the diesel migration `{}`", self.name))?;
        let mut connection = Connection::open(target, Session::Diesel).await?;
        let done = self.run_on(&mut connection).await;
        connection.close_after(done).await
    }

    async fn run_on(&self, connection: &mut Connection) -> Result<(), Error> {
        if self.up.trim().is_empty() {
            let fact = format!("the diesel migration `{}` is empty", self.name);
            return Err(Error::new(ErrorKind::Schema, fact));
        }
        if self.in_transaction {
            connection.execute("BEGIN").await.map_err(|failed| self.failure(failed.error))?;
        }
        connection.execute(&self.up).await.map_err(|failed| {
            let statement = failed.succeeded + 1;
            let fact = format!("statement {statement} of the diesel migration `{}` fails", self.name);
            migration_failed(fact, failed.error, "with `run_in_transaction = false` in its `metadata.toml`")
        })?;
        if self.in_transaction {
            connection.execute("COMMIT").await.map_err(|failed| self.failure(failed.error))?;
        }
        Ok(())
    }

    fn failure(&self, error: sqlx::Error) -> Error {
        Error::new(ErrorKind::Schema, format!("the diesel migration `{}` fails", self.name)).because(error)
    }
}

impl Schema for DieselMigrations {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        fingerprint.add("diesel", "migrations");
        for migration in &*self.read()? {
            fingerprint
                .add("migration", &migration.name)
                .add("up", &migration.up)
                .add("transaction", if migration.in_transaction { "yes" } else { "no" });
        }
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            let migrations = self.migrations()?;
            // Not the connection of a migration, which may change in which schema it finds its tables.
            let mut books = Connection::open(target, Session::Diesel).await?;
            let done = run_all(&migrations, &mut books, target).await;
            Ok(books.close_after(done).await?)
        })
    }
}

async fn run_all(migrations: &[Migration], books: &mut Connection, target: &Target) -> Result<(), Error> {
    books.execute(BOOKS).await.map_err(|failed| {
        Error::new(ErrorKind::Schema, "diesel's table `__diesel_schema_migrations` cannot be made")
            .because(failed.error)
    })?;
    for migration in migrations {
        migration.run(target).await?;
        // Quoted as all engines do it; a backslash, which only some read as more than itself, is in no version of diesel's.
        let version = migration.version.replace('\'', "''");
        let record = format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')");
        books.execute(&record).await.map_err(|failed| migration.failure(failed.error))?;
    }
    Ok(())
}
