//! What can be set, parsed once from the environment.

use std::collections::HashSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{DatabaseUrl, Error, ErrorKind, Kind};

/// The environment variables that [`Config::from_env`] reads. One that is empty counts as unset.
///
/// | Variable | Value | Without it |
/// | --- | --- | --- |
/// | [`FRESHDB_MYSQL_URL`](variables::MYSQL_URL) | a MySQL server: `mysql://user:password@host:3306` | a throwaway server is started |
/// | [`FRESHDB_MARIADB_URL`](variables::MARIADB_URL) | a MariaDB server: `mariadb://user:password@host:3306` | the same |
/// | [`FRESHDB_POSTGRES_URL`](variables::POSTGRES_URL) | a PostgreSQL server: `postgres://user:password@host:5432/postgres` | the same |
/// | [`FRESHDB_SKIP`](variables::SKIP) | engines whose tests are skipped, loudly: `mysql,mariadb` | none is |
/// | [`FRESHDB_CACHE_DIR`](variables::CACHE_DIR) | where what the first start of a server made is kept | `$XDG_CACHE_HOME/freshdb`, else `~/.cache/freshdb`; of root, `/var/cache/freshdb` |
/// | [`FRESHDB_RUN_DIR`](variables::RUN_DIR) | where the data of throwaway servers live | the first of `/dev/shm`, `$XDG_RUNTIME_DIR` and the temporary directory that is in memory and has room; else the temporary directory |
/// | [`FRESHDB_RUN`](variables::RUN) | the process with which throwaway servers end, and whose descendants share them: its number, or that and its start time, `4711:8150327`; `0`: each process has its own | under `cargo nextest run`, its process; else each process has its own |
/// | [`FRESHDB_PROGRAM_DIRS`](variables::PROGRAM_DIRS) | the directories in which the servers' programs are looked for, separated as those of `PATH` are | `PATH`, the usual directories, and the cache |
/// | [`FRESHDB_START_TIMEOUT`](variables::START_TIMEOUT) | how many seconds a throwaway server may take until it answers, of 32 bits at the most | 60 |
/// | [`FRESHDB_BROKER`](variables::BROKER), [`FRESHDB_BROKER_TOKEN`](variables::BROKER_TOKEN) | the socket of the broker that tests take databases from, and its token: `freshdb run` sets both | each process makes its own |
/// | [`FRESHDB_REBUILD`](variables::REBUILD) | `1`: templates are made anew, whatever is cached | `0` |
pub mod variables {
    /// The URL of a MySQL server to use instead of one that freshdb starts.
    pub const MYSQL_URL: &str = "FRESHDB_MYSQL_URL";
    /// The URL of a MariaDB server to use instead of one that freshdb starts.
    pub const MARIADB_URL: &str = "FRESHDB_MARIADB_URL";
    /// The URL of a PostgreSQL server to use instead of one that freshdb starts.
    pub const POSTGRES_URL: &str = "FRESHDB_POSTGRES_URL";
    /// Engines whose tests are skipped, separated by commas.
    pub const SKIP: &str = "FRESHDB_SKIP";
    /// The directory in which initialised data directories are kept.
    pub const CACHE_DIR: &str = "FRESHDB_CACHE_DIR";
    /// The directory in which the data of throwaway servers live.
    pub const RUN_DIR: &str = "FRESHDB_RUN_DIR";
    /// The process with which throwaway servers end. Its descendants share them.
    ///
    /// A number alone must be that of the process that reads it, or of one that it descends from. With the process's start time
    /// behind it, as field 22 of `/proc/<number>/stat` has it, it may be any. What names no such process counts as unset,
    /// and is warned of. Linux only.
    pub const RUN: &str = "FRESHDB_RUN";
    /// The directories in which the servers' programs are looked for, and nowhere else.
    pub const PROGRAM_DIRS: &str = "FRESHDB_PROGRAM_DIRS";
    /// How many seconds a throwaway server may take until it answers.
    pub const START_TIMEOUT: &str = "FRESHDB_START_TIMEOUT";
    /// The Unix socket of a broker. Tests take databases from it.
    pub const BROKER: &str = "FRESHDB_BROKER";
    /// The token that the broker wants to be shown.
    pub const BROKER_TOKEN: &str = "FRESHDB_BROKER_TOKEN";
    /// Whether templates are made anew, whatever is cached.
    pub const REBUILD: &str = "FRESHDB_REBUILD";
    /// What cargo-nextest tells its tests of itself: that they are its tests, and of which run.
    pub(crate) const NEXTEST: &str = "NEXTEST";
    pub(crate) const NEXTEST_RUN_ID: &str = "NEXTEST_RUN_ID";
    pub(crate) const NEXTEST_EXECUTION_MODE: &str = "NEXTEST_EXECUTION_MODE";
}

/// What can be set. See [`variables`] for the environment's part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    urls: Vec<DatabaseUrl>,
    skip: HashSet<Kind>,
    cache_dir: PathBuf,
    /// Where `scripts/install-servers` unpacks servers, which knows nothing of a cache that is elsewhere.
    usual_cache_dir: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    run: RunSetting,
    rebuild: bool,
    process_per_test: bool,
    broker: Option<BrokerAddress>,
    /// Where throwaway data may live if `run_dir` says nothing, best first. The last one need not be in memory.
    usual_run_dirs: Vec<PathBuf>,
    /// Where programs are looked for instead of on `PATH` and in the usual directories.
    program_dirs: Option<Vec<PathBuf>>,
    start_timeout: Duration,
    /// What of our environment the servers get to see.
    environment: Vec<(&'static str, OsString)>,
}

/// With which process throwaway servers end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunSetting {
    /// With this one.
    Own,
    /// With the one of this number, and of this start time, if that is told.
    Process { process: u32, start_time: Option<u64> },
    /// With the cargo-nextest that runs this one as a test.
    Nextest { id: String },
}

/// Where a broker is, and what it wants to be shown.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "broker"), allow(dead_code, reason = "nobody asks it"))]
pub(crate) struct BrokerAddress {
    pub(crate) socket: PathBuf,
    pub(crate) token: String,
}

impl fmt::Debug for BrokerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BrokerAddress({})", self.socket.display())
    }
}

/// What of the environment a server needs or should share. All else could change what it does.
const PASSED_ON: [&str; 3] = ["PATH", "TZ", "LD_LIBRARY_PATH"];

impl Config {
    /// Nothing set but where the cache is, and nothing read from the environment.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            urls: Vec::new(),
            skip: HashSet::new(),
            cache_dir: cache_dir.into(),
            usual_cache_dir: None,
            run_dir: None,
            run: RunSetting::Own,
            rebuild: false,
            process_per_test: false,
            broker: None,
            usual_run_dirs: vec!["/dev/shm".into(), "/tmp".into()],
            program_dirs: None,
            start_timeout: Duration::from_mins(1),
            environment: vec![("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())],
        }
    }

    /// What the environment says.
    ///
    /// # Errors
    ///
    /// If a variable has a value that cannot be used; the message names it, and repeats no password.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| env::var_os(name), env::home_dir(), env::temp_dir())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
        temporary: PathBuf,
    ) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        // A relative one is to be ignored, says the XDG Base Directory Specification.
        let xdg = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let directory = |name| match variable(name).map(PathBuf::from) {
            Some(path) if !path.is_absolute() => {
                Err(invalid(name, &format!("is `{}`, which is no absolute path", path.display())))
            }
            path => Ok(path),
        };

        let usual_cache_dir = usual_cache_dir(xdg("XDG_CACHE_HOME"), home);
        let mut config = if let Some(directory) = directory(variables::CACHE_DIR)? {
            Self { usual_cache_dir: usual_cache_dir.ok(), ..Self::new(directory) }
        } else {
            let usual = usual_cache_dir?;
            Self { usual_cache_dir: Some(usual.clone()), ..Self::new(usual) }
        };
        config.usual_run_dirs = vec!["/dev/shm".into()];
        config.usual_run_dirs.extend(xdg("XDG_RUNTIME_DIR"));
        // Neither the servers nor the shells that keep them run where this process does. An empty one is none.
        config.usual_run_dirs.push(std::path::absolute(temporary).unwrap_or_else(|_| "/tmp".into()));
        config.run_dir = directory(variables::RUN_DIR)?;
        if let Some(directories) = variable(variables::PROGRAM_DIRS) {
            config.program_dirs = Some(program_dirs(&directories)?);
        }
        for name in PASSED_ON {
            if let Some(value) = variable(name) {
                config.environment.retain(|(other, _)| *other != name);
                config.environment.push((name, value));
            }
        }

        let text = |name: &str| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(invalid(name, "is not valid UTF-8")),
        };
        for kind in Kind::ALL {
            let Some(name) = url_variable(kind) else { continue };
            if let Some(url) = text(name)? {
                config.urls.push(parse_url(name, kind, &url)?);
            }
        }
        if let Some(names) = text(variables::SKIP)? {
            config.skip = parse_kinds(&names)?;
        }
        config.run = match text(variables::RUN)? {
            Some(process) => parse_run(&process)?,
            None => match (text(variables::NEXTEST)?.as_deref(), text(variables::NEXTEST_RUN_ID)?) {
                (Some("1"), Some(id)) => RunSetting::Nextest { id },
                _ => RunSetting::Own,
            },
        };
        if let (Some(socket), Some(token)) = (variable(variables::BROKER), text(variables::BROKER_TOKEN)?) {
            config.broker = Some(BrokerAddress { socket: socket.into(), token });
        }
        if let Some(seconds) = text(variables::START_TIMEOUT)? {
            config.start_timeout = parse_seconds(variables::START_TIMEOUT, &seconds)?;
        }
        config.rebuild = match text(variables::REBUILD)?.as_deref() {
            None | Some("0" | "false" | "no") => false,
            Some("1" | "true" | "yes") => true,
            Some(other) => return Err(invalid(variables::REBUILD, &format!("is `{other}`")).hint("set it to 1 or 0")),
        };
        // What cargo-nextest says of itself: <https://nexte.st/docs/configuration/env-vars/>.
        config.process_per_test =
            variable(variables::NEXTEST_EXECUTION_MODE).is_some_and(|mode| mode == "process-per-test");
        Ok(config)
    }

    /// With an existing server for the engine of this URL, instead of one that is started.
    #[must_use]
    pub fn with_url(mut self, url: DatabaseUrl) -> Self {
        self.urls.retain(|other| other.kind() != url.kind());
        self.urls.push(url);
        self
    }

    /// With no existing server for any engine.
    #[must_use]
    pub fn without_urls(mut self) -> Self {
        self.urls.clear();
        self
    }

    /// With one more engine whose tests are skipped.
    #[must_use]
    pub fn skip(mut self, kind: Kind) -> Self {
        self.skip.insert(kind);
        self
    }

    /// With another cache.
    #[must_use]
    pub fn with_cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_dir = directory.into();
        self
    }

    /// With a directory in which the data of throwaway servers live.
    #[must_use]
    pub fn with_run_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.run_dir = Some(directory.into());
        self
    }

    /// With throwaway servers that end with a process, and are shared with those of its descendants that are configured alike. This
    /// process must be it, or descend from it.
    #[must_use]
    pub fn with_run(mut self, process: u32) -> Self {
        self.run = RunSetting::Process { process, start_time: None };
        self
    }

    /// With throwaway servers of this process's own, whatever run it is part of.
    #[must_use]
    pub fn without_run(mut self) -> Self {
        self.run = RunSetting::Own;
        self
    }

    /// With a broker, by its socket and its token.
    #[must_use]
    pub fn with_broker(mut self, socket: impl Into<PathBuf>, token: impl Into<String>) -> Self {
        self.broker = Some(BrokerAddress { socket: socket.into(), token: token.into() });
        self
    }

    /// With or without making templates anew.
    #[must_use]
    pub fn with_rebuild(mut self, rebuild: bool) -> Self {
        self.rebuild = rebuild;
        self
    }

    /// With directories in which the servers' programs are looked for, instead of `PATH`, the usual ones and the cache.
    #[must_use]
    pub fn with_program_dirs<Directory: Into<PathBuf>>(
        mut self,
        directories: impl IntoIterator<Item = Directory>,
    ) -> Self {
        self.program_dirs = Some(directories.into_iter().map(Into::into).collect());
        self
    }

    /// With another time that a throwaway server may take until it answers.
    #[must_use]
    pub fn with_start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// The existing server for an engine.
    pub fn url(&self, kind: Kind) -> Option<&DatabaseUrl> {
        self.urls.iter().find(|url| url.kind() == kind)
    }

    /// Whether the tests of an engine are to be skipped.
    pub fn skips(&self, kind: Kind) -> bool {
        self.skip.contains(&kind)
    }

    /// Whether templates are to be made anew, whatever is cached.
    pub fn rebuild(&self) -> bool {
        self.rebuild
    }

    /// Where the broker is, if tests are run with one.
    #[cfg(feature = "broker")]
    pub(crate) fn broker(&self) -> Option<&BrokerAddress> {
        self.broker.as_ref()
    }

    /// Whether this process runs a single test, and ends with it, as under cargo-nextest.
    pub fn is_process_per_test(&self) -> bool {
        self.process_per_test
    }

    /// Where what the first start of a server made is kept.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// The caches in which unpacked servers may be, the one that is used first.
    pub(crate) fn caches(&self) -> impl Iterator<Item = &Path> {
        let usual = self.usual_cache_dir.as_deref().filter(|usual| *usual != self.cache_dir);
        [self.cache_dir.as_path()].into_iter().chain(usual)
    }

    /// Where the data of throwaway servers may live: the directory that is set, or else the usual ones, best first.
    pub fn run_dirs(&self) -> Vec<PathBuf> {
        self.run_dir.as_ref().map_or_else(|| self.usual_run_dirs.clone(), |directory| vec![directory.clone()])
    }

    /// Where throwaway data live, if that is set.
    pub(crate) fn run_dir(&self) -> Option<&Path> {
        self.run_dir.as_deref()
    }

    pub(crate) fn run(&self) -> &RunSetting {
        &self.run
    }

    /// All that decides how a throwaway server is started, as a text: who differs in it does not share one.
    pub(crate) fn of_servers(&self) -> String {
        // Cargo and nextest set the last for their own tests' libraries.
        let environment: Vec<_> = self.environment.iter().filter(|(name, _)| *name != "LD_LIBRARY_PATH").collect();
        let Self { cache_dir, usual_cache_dir, run_dir, usual_run_dirs, program_dirs, .. } = self;
        format!("{:?}", (cache_dir, usual_cache_dir, run_dir, usual_run_dirs, program_dirs, environment))
    }

    pub(crate) fn usual_run_dirs(&self) -> &[PathBuf] {
        &self.usual_run_dirs
    }

    pub(crate) fn program_dirs(&self) -> Option<&[PathBuf]> {
        self.program_dirs.as_deref()
    }

    pub(crate) fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    pub(crate) fn environment(&self) -> &[(&'static str, OsString)] {
        &self.environment
    }

    /// The directories on `PATH`.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        let path = self.environment.iter().find(|(name, _)| *name == "PATH");
        path.map(|(_, value)| env::split_paths(value).collect()).unwrap_or_default()
    }
}

/// The variable that names an existing server of this engine. SQLite has none.
pub(crate) fn url_variable(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Sqlite => None,
        Kind::Mysql => Some(variables::MYSQL_URL),
        Kind::Mariadb => Some(variables::MARIADB_URL),
        Kind::Postgres => Some(variables::POSTGRES_URL),
    }
}

/// Root's cache is not in /root: the servers run as an unprivileged user, which cannot enter there.
fn usual_cache_dir(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(directory) = xdg {
        return Ok(directory.join("freshdb"));
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/cache/freshdb".into());
    }
    match home.filter(|home| home.is_absolute()) {
        Some(home) => Ok(home.join(".cache/freshdb")),
        None => Err(Error::new(ErrorKind::Config, "there is no home directory in which to keep a cache")
            .hint(format!("set {} to a directory that can be written", variables::CACHE_DIR))),
    }
}

fn program_dirs(directories: &OsStr) -> Result<Vec<PathBuf>, Error> {
    let directories: Vec<PathBuf> = env::split_paths(directories).collect();
    match directories.iter().find(|directory| !directory.is_absolute()) {
        Some(relative) => {
            let fact = format!("names `{}`, which is no absolute path", relative.display());
            Err(invalid(variables::PROGRAM_DIRS, &fact))
        }
        None => Ok(directories),
    }
}

fn parse_url(name: &str, kind: Kind, text: &str) -> Result<DatabaseUrl, Error> {
    let url = DatabaseUrl::parse(text).map_err(|error| {
        let advice = error.advice().map(str::to_owned);
        let wrapped = invalid(name, "cannot be used").because(error);
        advice.into_iter().fold(wrapped, Error::hint)
    })?;
    // What a client calls MySQL may well be MariaDB: most of its users write the older scheme.
    match (kind, url.kind()) {
        (Kind::Mariadb, Kind::Mysql) => DatabaseUrl::parse(&url.reveal().replacen("mysql:", "mariadb:", 1)),
        (wanted, found) if wanted == found => Ok(url),
        (_, found) => Err(invalid(name, &format!("is a URL of {found}"))),
    }
}

/// `4711`, `4711:8150327` or `0`.
fn parse_run(text: &str) -> Result<RunSetting, Error> {
    let (process, start_time) = text.split_once(':').map_or((text, None), |(process, time)| (process, Some(time)));
    let parsed = (process.parse::<u32>(), start_time.map(str::parse::<u64>).transpose());
    match parsed {
        (Ok(0), Ok(None)) => Ok(RunSetting::Own),
        (Ok(process), Ok(start_time)) if process != 0 => Ok(RunSetting::Process { process, start_time }),
        _ => Err(invalid(variables::RUN, &format!("is `{text}`, which names no process"))
            .hint("set it to a process's number, such as a shell's `$$`, or to 0")),
    }
}

fn parse_seconds(name: &str, text: &str) -> Result<Duration, Error> {
    // More than an `Instant` may have added to it is more than anybody waits.
    let seconds = text.parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or_else(|| {
        invalid(name, &format!("is `{text}`, which is no number of seconds"))
            .hint("set it to a whole number from 1 to 4294967295, such as 120")
    })?;
    Ok(Duration::from_secs(seconds.into()))
}

fn parse_kinds(names: &str) -> Result<HashSet<Kind>, Error> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
                invalid(variables::SKIP, &format!("names `{name}`, which is no engine"))
                    .hint(format!("the engines are {}", Kind::ALL.map(Kind::name).join(", ")))
            })
        })
        .collect()
}

fn invalid(name: &str, fact: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the variable {name} {fact}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, Error> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.to_owned(), OsString::from(value))).collect();
        let value = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
        Config::from_variables(value, Some("/home/me".into()), "/tmp".into())
    }

    #[test]
    fn an_empty_environment_is_enough() {
        let config = config(&[(variables::MYSQL_URL, ""), (variables::SKIP, "")]).expect("a configuration");
        assert!(Kind::ALL.into_iter().all(|kind| config.url(kind).is_none() && !config.skips(kind)));
        assert!(!config.rebuild());
        let root = rustix::process::geteuid().is_root();
        assert_eq!(config.cache_dir(), Path::new(if root { "/var/cache/freshdb" } else { "/home/me/.cache/freshdb" }));
    }

    #[test]
    fn all_that_is_set_is_used() {
        let config = config(&[
            (variables::POSTGRES_URL, "postgres://me:secret@db:5432/postgres"),
            (variables::MARIADB_URL, "mysql://me:secret@db"),
            (variables::SKIP, "mysql, sqlite"),
            (variables::CACHE_DIR, "/cache"),
            (variables::RUN_DIR, "/run/here"),
            (variables::PROGRAM_DIRS, "/opt/mysql/bin:/opt/postgres/bin"),
            (variables::START_TIMEOUT, "120"),
            (variables::REBUILD, "1"),
            ("PATH", "/a:/b"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
        ])
        .expect("a configuration");
        assert_eq!(config.url(Kind::Mysql), None);
        assert_eq!(config.url(Kind::Mariadb).expect("a URL").to_string(), "mariadb://me:***@db");
        assert!(config.url(Kind::Postgres).is_some());
        assert!(config.skips(Kind::Mysql) && config.skips(Kind::Sqlite) && !config.skips(Kind::Postgres));
        assert_eq!((config.cache_dir(), config.run_dir()), (Path::new("/cache"), Some(Path::new("/run/here"))));
        assert_eq!(config.program_dirs(), Some(&["/opt/mysql/bin".into(), "/opt/postgres/bin".into()][..]));
        assert_eq!(config.start_timeout(), Duration::from_mins(2));
        assert!(config.rebuild());
        assert_eq!(config.path(), [Path::new("/a"), Path::new("/b")]);
        assert_eq!(config.usual_run_dirs(), ["/dev/shm", "/run/user/1", "/tmp"].map(Path::new));
    }

    #[test]
    fn a_scheme_may_be_in_capitals() {
        for url in ["MySQL://me:mysql:@db", "MariaDB://me:mysql:@db"] {
            let config = config(&[(variables::MARIADB_URL, url)]).expect("a configuration");
            assert_eq!(config.url(Kind::Mysql), None);
            assert_eq!(config.url(Kind::Mariadb).expect("a URL").reveal(), "mysql://me:mysql%3A@db");
        }
    }

    /// A server's programs, and the shell that keeps it, do not run where this process does.
    #[test]
    fn the_temporary_directory_may_be_relative() {
        let last = |temporary: &str| {
            let config = Config::from_variables(|_| None, Some("/home/me".into()), temporary.into());
            config.expect("a configuration").usual_run_dirs().last().cloned().expect("a directory")
        };
        let here = env::current_dir().expect("a directory");
        assert_eq!(last("tmp/x"), here.join("tmp/x"));
        assert_eq!(last(""), Path::new("/tmp"));
    }

    #[test]
    fn a_run_is_what_is_named_or_else_nextests() {
        let nextest = [(variables::NEXTEST, "1"), (variables::NEXTEST_RUN_ID, "an-id")];
        let of = |run: &str| config(&[nextest[0], nextest[1], (variables::RUN, run)]).expect("a configuration").run;
        assert_eq!(of(""), RunSetting::Nextest { id: "an-id".into() });
        assert_eq!(of("0"), RunSetting::Own);
        assert_eq!(of("17"), RunSetting::Process { process: 17, start_time: None });
        assert_eq!(of("17:4"), RunSetting::Process { process: 17, start_time: Some(4) });
        assert_eq!(config(&nextest[1..]).expect("a configuration").run, RunSetting::Own);
    }

    #[test]
    fn a_relative_xdg_directory_is_ignored() {
        let given = config(&[("XDG_CACHE_HOME", "here"), ("XDG_RUNTIME_DIR", "there")]).expect("a configuration");
        let nothing = config(&[]).expect("a configuration");
        assert_eq!(given, nothing);
        let absolute = config(&[("XDG_CACHE_HOME", "/xdg")]).expect("a configuration");
        assert_eq!(absolute.cache_dir(), Path::new("/xdg/freshdb"));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_a_password() {
        let errors = [
            (variables::MYSQL_URL, "postgres://me:secret@db"),
            (variables::MYSQL_URL, "mysql://me:secret@db:port"),
            (variables::POSTGRES_URL, "secret"),
            (variables::SKIP, "mysql,oracle"),
            (variables::CACHE_DIR, "cache"),
            (variables::PROGRAM_DIRS, "/opt/mysql/bin:postgres/bin"),
            (variables::START_TIMEOUT, "1.5"),
            (variables::START_TIMEOUT, "4294967296"),
            (variables::REBUILD, "perhaps"),
            (variables::RUN, "nextest"),
            (variables::RUN, "0:4"),
        ]
        .map(|variable| format!("{:?}", config(&[variable]).expect_err("no configuration")));
        insta::assert_snapshot!(errors.join("\n\n"), @r"
        the variable FRESHDB_MYSQL_URL is a URL of PostgreSQL

        the variable FRESHDB_MYSQL_URL cannot be used
          caused by: the database URL is not valid (invalid port number; in a password, `/` is written `%2F`, `?` `%3F` and `#` `%23`)
        hint: write `mysql://user:password@host:3306`, `mariadb://…`, `postgres://…` or `sqlite:///directory`

        the variable FRESHDB_POSTGRES_URL cannot be used
          caused by: the database URL is not valid (relative URL without a base)
        hint: write `mysql://user:password@host:3306`, `mariadb://…`, `postgres://…` or `sqlite:///directory`

        the variable FRESHDB_SKIP names `oracle`, which is no engine
        hint: the engines are sqlite, mysql, mariadb, postgres

        the variable FRESHDB_CACHE_DIR is `cache`, which is no absolute path

        the variable FRESHDB_PROGRAM_DIRS names `postgres/bin`, which is no absolute path

        the variable FRESHDB_START_TIMEOUT is `1.5`, which is no number of seconds
        hint: set it to a whole number from 1 to 4294967295, such as 120

        the variable FRESHDB_START_TIMEOUT is `4294967296`, which is no number of seconds
        hint: set it to a whole number from 1 to 4294967295, such as 120

        the variable FRESHDB_REBUILD is `perhaps`
        hint: set it to 1 or 0

        the variable FRESHDB_RUN is `nextest`, which names no process
        hint: set it to a process's number, such as a shell's `$$`, or to 0

        the variable FRESHDB_RUN is `0:4`, which names no process
        hint: set it to a process's number, such as a shell's `$$`, or to 0
        ");
    }
}
