//! SQL in files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::script::Script;
use crate::schema::files;
use crate::schema::{BoxFuture, Fingerprint, Schema, SchemaError, Target};
use crate::{Error, ErrorKind, Kind};

/// The SQL files of a directory.
///
/// - **Which.** All whose names end with `.sql`, in the order of their names' bytes: `10.sql` comes before `9.sql`, so write
///   `001.sql`. Left out are hidden files, and `*.down.sql`, which by the custom of several tools takes back what its twin did.
/// - **Engines.** If the directory has a subdirectory `sqlite`, `mysql`, `mariadb` or `postgres`, the files in that are the ones for this
///   engine, instead of those beside it. MariaDB takes `mysql` where there is no `mariadb`. Other subdirectories are not looked into.
/// - **How they run.** Each file on a connection of its own, so that a `SET` in one does not reach into the next, and as the driver's protocol
///   for several statements takes it: no transaction is put around it. PostgreSQL alone runs what comes in one message as
///   one transaction, unless the file says `BEGIN` and `COMMIT` itself; so what refuses to run in one, such as `VACUUM` and
///   `CREATE INDEX CONCURRENTLY`, needs a file for that statement alone.
/// - **What they may hold.** What the server understands. Of the commands that only its client knows, there are
///   `DELIMITER` lines for MySQL and MariaDB, and the `\restrict` and `\unrestrict` that `pg_dump` writes; PostgreSQL's
///   `COPY … FROM stdin` is refused, use `pg_dump --inserts`.
///
/// The fingerprint is made of the files' names and contents, those of all engines. It does not matter where the directory is.
///
/// # Examples
///
/// ```
/// use freshdb_databases::schema::{Fingerprint, Schema, SqlDirectory, Target};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// std::fs::write(path.join("001_tables.sql"), "CREATE TABLE tags (name TEXT NOT NULL);")?;
/// std::fs::write(path.join("002_rows.sql"), "INSERT INTO tags VALUES ('red'); INSERT INTO tags VALUES ('blue');")?;
///
/// SqlDirectory::new(path).apply(&target).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SqlDirectory {
    path: PathBuf,
    /// What the fingerprint was made of, so that no other files are applied under it.
    read: Mutex<Option<Arc<Files>>>,
}

/// The files for any engine, and those for one.
#[derive(Debug)]
struct Files {
    common: Vec<File>,
    others: Vec<(Kind, Vec<File>)>,
}

#[derive(Debug)]
struct File {
    name: String,
    text: String,
}

impl SqlDirectory {
    /// The directory at `path`; a relative one starts at the working directory, which of tests is their package's.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::new(None) }
    }

    fn read(&self) -> Result<Arc<Files>, Error> {
        let files = Arc::new(Files::in_directory(&self.path)?);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(files.clone());
        Ok(files)
    }

    fn files(&self) -> Result<Arc<Files>, Error> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        read.map_or_else(|| self.read(), Ok)
    }
}

impl Files {
    fn in_directory(directory: &Path) -> Result<Self, Error> {
        let common = sql_in(directory)?;
        let mut others = Vec::new();
        for kind in Kind::ALL {
            let subdirectory = directory.join(kind.name());
            if subdirectory.is_dir() {
                others.push((kind, sql_in(&subdirectory)?));
            }
        }
        if common.is_empty() && others.iter().all(|(_, files)| files.is_empty()) {
            let error = Error::new(ErrorKind::Files, format!("`{}` holds no `*.sql` file", directory.display()));
            let holds_directories = files::names_in(directory)?.iter().any(|name| directory.join(name).is_dir());
            return Err(if holds_directories {
                error.hint(
                    "subdirectories are not looked into, but `sqlite`, `mysql`, `mariadb` and `postgres`: name the one that has \
                     the files; migrations in a directory each are diesel's, for `DieselMigrations`, or another tool's, for `command`",
                )
            } else {
                error
            });
        }
        Ok(Self { common, others })
    }

    /// Those for one engine, and the subdirectory that they are in.
    fn on(&self, kind: Kind) -> (Option<Kind>, &[File]) {
        let of = |kind| self.others.iter().find(|(other, _)| *other == kind);
        match of(kind).or_else(|| if kind == Kind::Mariadb { of(Kind::Mysql) } else { None }) {
            Some((kind, files)) => (Some(*kind), files),
            None => (None, &self.common),
        }
    }
}

fn sql_in(directory: &Path) -> Result<Vec<File>, Error> {
    let names = files::names_in(directory)?.into_iter();
    let names = names.filter(|name| {
        let name = name.to_ascii_lowercase();
        Path::new(&name).extension().is_some_and(|extension| extension == "sql") && !name.ends_with(".down.sql")
    });
    names.map(|name| Ok(File { text: files::text_of(&directory.join(&name))?, name })).collect()
}

impl Schema for SqlDirectory {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        let files = self.read()?;
        fingerprint.add("sql", "directory");
        let others = files.others.iter().map(|(kind, files)| (kind.name(), files));
        for (subdirectory, files) in [("", &files.common)].into_iter().chain(others) {
            fingerprint.add("subdirectory", subdirectory);
            for file in files {
                fingerprint.add("file", &file.name).add("content", &file.text);
            }
        }
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            let files = self.files()?;
            let (subdirectory, files) = files.on(target.kind());
            let directory = subdirectory.map_or_else(|| self.path.clone(), |kind| self.path.join(kind.name()));
            if files.is_empty() {
                let fact = format!("`{}` holds no `*.sql` file for {}", directory.display(), target.kind());
                return Err(Error::new(ErrorKind::Files, fact).into());
            }
            for file in files {
                let name = format!("`{}`", directory.join(&file.name).display());
                Script { name, text: &file.text }.run(target).await?;
            }
            Ok(())
        })
    }
}
