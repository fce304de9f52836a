//! A schema that any program makes.

mod output;
mod process;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{BoxFuture, Fingerprint, Schema, SchemaError, Target, files};
use crate::{Error, ErrorKind};

/// A program that makes the schema, given the database's URL. Made by [`command`].
#[derive(Debug)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    /// Which variables hold the URL.
    urls: Vec<OsString>,
    watched: Vec<PathBuf>,
    version: Option<String>,
    /// What the watched files were when the fingerprint was made.
    seen: Mutex<Option<Watched>>,
}

/// The files that are watched, each with its digest, and the directories.
type Watched = BTreeMap<PathBuf, Option<String>>;

/// A program that makes the schema: any migration tool, in any language. It finds the database's URL in the variable
/// `DATABASE_URL`, or in those that [`url_in`](Command::url_in) names.
///
/// What a program makes of an empty database cannot be known beforehand, so that its files must be named with
/// [`watch`](Command::watch), or a [`version`](Command::version). The fingerprint is made of their contents, the program's name, its
/// arguments, its directory and the variables that are set here, each as it is written; not of the program itself.
///
/// A program that ends with another code than 0 has failed, and the last lines that it wrote are in the message, without the database's password.
/// It reads nothing from its standard input.
///
/// # Cancellation
///
/// A program that is not awaited any longer is killed; on Unix with all that it started, unless that has left its process
/// group. What a program leaves running when it ends is killed, too, and all of it when this process ends, however it does.
///
/// # Examples
///
/// ```
/// use freshdb_databases::schema::{self, Schema, Target};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let directory = tempfile::tempdir()?;
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// let schema = schema::command("sh").args(["-c", "echo migrating $DB_URL"]).url_in("DB_URL").version("1");
/// schema.apply(&target).await?;
///
/// let migrations = schema::command("npx").args(["prisma", "migrate", "deploy"]).current_dir("web").watch("web/prisma");
/// # drop(migrations);
/// # Ok(())
/// # }
/// ```
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command {
        program: program.as_ref().to_owned(),
        arguments: Vec::new(),
        directory: None,
        environment: Vec::new(),
        urls: Vec::new(),
        watched: Vec::new(),
        version: None,
        seen: Mutex::new(None),
    }
}

impl Command {
    /// One argument more. No shell reads it.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Some arguments more.
    #[must_use]
    pub fn args<Argument: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = Argument>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Where the program runs, instead of where this one does. What is [watched](Self::watch) is found from here all the same.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// A variable of the program's environment; the others are this program's.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// A variable that holds the database's URL, instead of `DATABASE_URL`; several, if it is called again.
    #[must_use]
    pub fn url_in(mut self, name: impl AsRef<OsStr>) -> Self {
        self.urls.push(name.as_ref().to_owned());
        self
    }

    /// A file that decides what the program makes, or a directory of such files, with its subdirectories, but nothing hidden, and
    /// no `__pycache__`: if one of them changes, the schema is another. Not the whole project, but its migrations.
    #[must_use]
    pub fn watch(mut self, path: impl Into<PathBuf>) -> Self {
        self.watched.push(path.into());
        self
    }

    /// What tells this schema from another, besides files: to be changed with what the program makes.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    fn name(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    fn watched_now(&self) -> Result<(Fingerprint, Watched), Error> {
        let (mut fingerprint, mut watched) = (Fingerprint::new(), Watched::new());
        for path in &self.watched {
            fingerprint.add("watched", "");
            add_file_or_directory(&mut fingerprint, &mut watched, path, "")?;
        }
        Ok((fingerprint, watched))
    }
}

/// A directory is what its files are called and what they hold; what it is called itself makes no difference.
fn add_file_or_directory(
    fingerprint: &mut Fingerprint,
    watched: &mut Watched,
    path: &Path,
    name: &str,
) -> Result<(), Error> {
    let metadata =
        std::fs::metadata(path).map_err(|error| files::unreadable(path, "the watched file").because(error))?;
    if metadata.is_dir() {
        fingerprint.add("directory", name);
        // Python writes down there what it has compiled, as in a checkout that is new while it makes the schema.
        for inner in files::names_in(path)?.into_iter().filter(|name| name != "__pycache__") {
            add_file_or_directory(fingerprint, watched, &path.join(&inner), &inner)?;
        }
        fingerprint.add("end", name);
        watched.insert(path.to_owned(), None);
    } else {
        let content =
            std::fs::read(path).map_err(|error| files::unreadable(path, "the watched file").because(error))?;
        watched.insert(path.to_owned(), Some(Fingerprint::new().add("content", &content).digest()));
        fingerprint.add("file", name).add("content", content);
    }
    Ok(())
}

/// The first that is not the same, or in one of the two alone.
fn changed<'a>(before: &'a Watched, now: &'a Watched) -> Option<&'a Path> {
    let paths = before.keys().chain(now.keys());
    paths.filter(|path| before.get(*path) != now.get(*path)).min().map(PathBuf::as_path)
}

impl Schema for Command {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        if self.watched.is_empty() && self.version.is_none() {
            let fact = format!("nothing tells when the schema that `{}` makes is another", self.name());
            return Err(Error::new(ErrorKind::Config, fact)
                .hint("name the files that it reads with `.watch(\"migrations\")`, or give it a `.version(\"1\")`")
                .into());
        }
        let (watched, files) = self.watched_now()?;
        fingerprint.add("command", self.program.as_encoded_bytes());
        for argument in &self.arguments {
            fingerprint.add("argument", argument.as_encoded_bytes());
        }
        if let Some(directory) = &self.directory {
            fingerprint.add("directory", directory.as_os_str().as_encoded_bytes());
        }
        for (name, value) in &self.environment {
            fingerprint.add("variable", name.as_encoded_bytes()).add("value", value.as_encoded_bytes());
        }
        for name in &self.urls {
            fingerprint.add("url", name.as_encoded_bytes());
        }
        fingerprint.add("version", self.version.as_deref().unwrap_or("")).add("watched", watched.digest());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(files);
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            self.run(target).await?;
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(seen) = seen else { return Ok(()) };
            let (_, now) = self.watched_now()?;
            if let Some(path) = changed(&seen, &now) {
                let fact = format!("`{}` changed while `{}` made the schema", path.display(), self.name());
                return Err(Error::new(ErrorKind::Schema, fact)
                    .hint("try again, or watch no files that the program writes itself")
                    .into());
            }
            Ok(())
        })
    }

    fn made_no_table(&self) -> Option<String> {
        let named: Vec<_> = self.urls.iter().map(|name| name.to_string_lossy()).collect();
        let variables = if named.is_empty() { "DATABASE_URL".to_owned() } else { named.join(" and ") };
        let name = self.name();
        Some(format!(
            "`{name}` made no table in the database that {variables} names: it may have another one from its configuration"
        ))
    }
}
