//! What differs from server to server: where it is installed, how it is told what to do, and how it is asked whether it is
//! ready.

#[cfg(feature = "mysql")]
mod first_login;
#[cfg(feature = "mariadb")]
mod mariadb;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::programs::Program;
use crate::schema::BoxFuture;
use crate::{DatabaseUrl, Error, Kind};

/// One kind of server.
pub(super) trait Engine: Send + Sync {
    fn kind(&self) -> Kind;

    /// Whether drivers that go by this process's environment could connect to such a server.
    ///
    /// # Errors
    ///
    /// If none could.
    fn can_be_reached(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The names that the server's program has.
    fn programs(&self) -> &'static [&'static str];

    /// Where it is installed other than on `PATH`. One part of each may be, or end in, `*`.
    fn directories(&self) -> &'static [&'static str];

    /// The same, in freshdb's cache, where `scripts/install-servers` unpacks servers.
    fn directories_in_cache(&self) -> &'static [&'static str];

    /// Where it is to be had, for hints.
    fn source(&self) -> &'static str;

    /// The version in what `--version` prints; nothing if that is another program.
    fn version<'a>(&self, banner: &'a str) -> Option<&'a str>;

    /// The names of the program that makes a data directory; nothing if the server does so itself.
    fn initialisers(&self) -> &'static [&'static str];

    /// Makes a data directory.
    fn initialise(&self, program: &Program, data: &Path) -> Invocation;

    /// Whether it keeps the time zone of where it was made, and heeds no other one any more.
    fn keeps_time_zone(&self) -> bool {
        false
    }

    /// What remains to be done to a data directory that is to be copied.
    fn complete(&self, data: &Path) -> io::Result<()>;

    /// Files that the server reads when it starts, and nobody else may: their paths and what is in them.
    fn files(&self, door: &Door) -> Vec<(PathBuf, String)>;

    /// Serves.
    fn serve(&self, program: &Program, door: &Door) -> Invocation;

    /// The administrator's URL.
    fn url(&self, door: &Door) -> String;

    /// Where clients on this machine reach it without TCP: a file or, of PostgreSQL, a directory.
    fn socket(&self, door: &Door) -> PathBuf;

    /// Connects the way that users will. Succeeds when the server is ready and asks for its password.
    fn ask<'a>(&'a self, door: &'a Door, url: &'a DatabaseUrl) -> BoxFuture<'a, Result<(), sqlx::Error>>;
}

/// The servers of this build.
pub(super) fn of(kind: Kind) -> Option<&'static dyn Engine> {
    match kind {
        #[cfg(feature = "mysql")]
        Kind::Mysql => Some(&mysql::Mysql),
        #[cfg(feature = "mariadb")]
        Kind::Mariadb => Some(&mariadb::Mariadb),
        #[cfg(feature = "postgres")]
        Kind::Postgres => Some(&postgres::Postgres),
        #[allow(unreachable_patterns, reason = "with every feature, only SQLite is left")]
        _ => None,
    }
}

/// How one throwaway server is reached.
#[derive(Debug)]
pub(super) struct Door {
    /// Its directory, which nobody else can enter.
    pub(super) directory: PathBuf,
    pub(super) port: u16,
    pub(super) password: String,
}

impl Door {
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join(DATA)
    }
}

/// The data directory's name in the run's directory.
pub(super) const DATA: &str = "data";

/// A program to run.
#[derive(Clone, Debug)]
pub(super) struct Invocation {
    pub(super) program: PathBuf,
    /// Without secrets: every user of the machine can read them.
    pub(super) arguments: Vec<OsString>,
    pub(super) working_directory: Option<PathBuf>,
    /// The signal that ends it at once, with all that it has started.
    pub(super) ending: Ending,
}

/// How a program is ended at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// It leaves nothing but files.
    #[default]
    Kill,
    /// It has processes and memory to take along, and does so when it is told to quit. Killed, it would leave them.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL is one of these"))]
    Quit,
}

impl Ending {
    /// Its name as `kill` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }

    pub(super) fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Quit => Signal::QUIT,
        }
    }
}

impl Invocation {
    fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), arguments: Vec::new(), working_directory: None, ending: Ending::Kill }
    }

    fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn arguments<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(OsString::from));
        self
    }

    /// `--name=path`
    fn option(self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        let mut argument = OsString::from(name);
        argument.push("=");
        argument.push(value);
        self.argument(argument)
    }
}
