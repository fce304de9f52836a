//! What these tests share: a place for each, another process, and waiting for what is to happen.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use freshdb_databases::{Config, DatabaseUrl, Kind, Server, variables};
use tempfile::TempDir;

/// Makes a test of each server out of one function.
macro_rules! on_every_server {
    ($(#[$meta:meta])* async fn $name:ident($kind:ident: Kind) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)]
            use super::*;

            async fn case($kind: Kind) $body

            #[tokio::test]
            async fn mysql() {
                case(Kind::Mysql).await;
            }

            #[tokio::test]
            async fn mariadb() {
                case(Kind::Mariadb).await;
            }

            #[tokio::test]
            async fn postgres() {
                case(Kind::Postgres).await;
            }
        }
    };
}
pub(crate) use on_every_server;

/// Generous: it only ever passes in full when something is broken.
const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);

/// Where one test's servers run, which is shared with no other.
pub(crate) struct Place {
    directory: TempDir,
    /// The kernel's segments of shared memory that there were before.
    segments: Vec<Segment>,
}

/// As the kernel tells of it. PostgreSQL has one, which outlives it if it is killed before it can remove it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    id: String,
    made_by: String,
}

impl Segment {
    fn all() -> Vec<Self> {
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let segment = |line: &str| {
            let mut fields = line.split_whitespace();
            Some(Self { id: fields.nth(1)?.to_owned(), made_by: fields.nth(2)?.to_owned() })
        };
        segments.lines().skip(1).filter_map(segment).collect()
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let place = Self { directory: directory.expect("a directory"), segments: Segment::all() };
        fs::create_dir(place.path().join("run")).expect("a directory");
        // The servers run as another user if this one is root.
        for directory in [place.path(), &place.run()] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("a mode");
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory in which the servers' own are.
    pub(crate) fn run(&self) -> PathBuf {
        self.path().join("run")
    }

    /// An empty cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path().join("cache")
    }

    /// With the cache of this machine.
    pub(crate) fn config(&self) -> Config {
        Config::from_env().expect("a configuration").without_urls().without_run().with_run_dir(self.run())
    }

    /// With a cache that is empty.
    pub(crate) fn cold_config(&self) -> Config {
        self.config().with_cache_dir(self.cache())
    }

    /// The segments that a process made since, whoever had its number before.
    pub(crate) fn shared_memory_of(&self, process: u32) -> Vec<Segment> {
        let mut segments = Segment::all();
        segments.retain(|segment| segment.made_by == process.to_string() && !self.segments.contains(segment));
        segments
    }

    pub(crate) fn is_empty(&self) -> bool {
        names(&self.run()).is_empty()
    }

    /// Waits until nothing is there, and says for how long.
    pub(crate) fn await_empty(&self, what: &str) -> Duration {
        let start = Instant::now();
        while !self.is_empty() {
            let files = || Command::new("ls").arg("-laR").arg(self.run()).output().map(|output| output.stdout);
            let files = || String::from_utf8_lossy(&files().unwrap_or_default()).into_owned();
            assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?}: {what}; there is still\n{}", files());
            std::thread::sleep(PAUSE);
        }
        start.elapsed()
    }

    /// A script in place of a program.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let bin = self.path().join("bin");
        fs::create_dir_all(&bin).expect("a directory");
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).expect("a mode");
        test_support::write_script(bin.join(name), &format!("#!/bin/sh\n{script}\n"));
        bin
    }
}

/// The names in a directory, which need not be there.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether there is such a process, and it is not only waiting for somebody to take note of its death.
pub(crate) fn lives(process: u32) -> bool {
    stat(process).is_some_and(|fields| fields[0] != "Z")
}

/// When a process began, as the kernel counts.
pub(crate) fn start_time(process: u32) -> String {
    stat(process).expect("it lives")[19].clone()
}

/// The process that started another.
pub(crate) fn parent(process: u32) -> u32 {
    stat(process).expect("it lives")[1].parse().expect("a number")
}

/// What the kernel says of a process, from its state on.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

pub(crate) fn kill(signal: &str, process: u32) {
    let done = Command::new("kill").args(["-s", signal, "--", &process.to_string()]).status().expect("it runs");
    assert!(done.success(), "SIG{signal} for {process}");
}

/// Waits until that is so, and says for how long.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
    start.elapsed()
}

const KIND: &str = "FRESHDB_TEST_KIND";
const RUN: &str = "FRESHDB_TEST_RUN";
const CACHE: &str = "FRESHDB_TEST_CACHE";
/// What it says before it starts a server.
const BEGINS: &str = "it begins";

/// Another process, which starts a server and does nothing more.
pub(crate) struct Other {
    pub(crate) child: Child,
}

impl Other {
    pub(crate) fn start(kind: Kind, config: &Config, place: &Place) -> Self {
        // Whatever runs this test is no run of the other's.
        Self::run(Self::itself().env(variables::RUN, "0"), kind, config, place)
    }

    pub(crate) const ARGUMENTS: [&str; 4] = ["--ignored", "--exact", "--nocapture", "harness::other_process"];

    /// The same, of a run.
    pub(crate) fn of_run(run: &str, kind: Kind, config: &Config, place: &Place) -> Self {
        Self::run(Self::itself().env(variables::RUN, run), kind, config, place)
    }

    /// The same, where this is the time zone.
    pub(crate) fn in_zone(zone: &str, kind: Kind, config: &Config, place: &Place) -> Self {
        Self::run(Self::itself().env(variables::RUN, "0").env("TZ", zone), kind, config, place)
    }

    fn itself() -> Command {
        // A shell has what it runs in the background ignore SIGINT, and the test that sends one may be run so.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(std::env::current_exe().expect("this program")).args(Self::ARGUMENTS);
        command
    }

    /// Some program which becomes, or starts, [`other_process`].
    pub(crate) fn run(command: &mut Command, kind: Kind, config: &Config, place: &Place) -> Self {
        command.env(KIND, kind.name()).env(RUN, place.run()).env(CACHE, config.cache_dir());
        // A group of its own, as a shell would give it.
        command.process_group(0).stdout(Stdio::piped());
        Self { child: command.spawn().expect("it runs") }
    }

    /// The process of its server, once that is ready.
    pub(crate) fn server(&mut self) -> u32 {
        self.server_and_url().0
    }

    /// That, and where it is.
    pub(crate) fn server_and_url(&mut self) -> (u32, DatabaseUrl) {
        let lines = BufReader::new(self.child.stdout.as_mut().expect("it is piped")).lines();
        let said = lines.map_while(Result::ok).find_map(|line| {
            let (process, url) = line.split_once("its server: ")?.1.split_once(' ')?;
            Some((process.parse().ok()?, DatabaseUrl::parse(url).ok()?))
        });
        said.expect("the other process has a server")
    }

    /// Waits until it is about to start its server.
    pub(crate) fn begins(&mut self) {
        let mut lines = BufReader::new(self.child.stdout.as_mut().expect("it is piped")).lines();
        assert!(lines.any(|line| line.expect("a line") == BEGINS), "it ended before");
    }

    pub(crate) fn end(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ended");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may be dead already, which is no failure.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
#[ignore = "started by the tests that need another process"]
async fn other_process() {
    let variable = |name| std::env::var(name).expect("it is set");
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == variable(KIND)).expect("a kind");
    let config = Config::from_env().expect("a configuration").without_urls();
    let config = config.with_run_dir(variable(RUN)).with_cache_dir(variable(CACHE));
    println!("\n{BEGINS}");
    let server = Server::of(kind, &config).await.expect("a server");
    println!("its server: {} {}", server.process().unwrap_or_default(), server.url().reveal());
    // By hand, as a test of nextest's.
    while std::env::var_os("FRESHDB_TEST_RETURN").is_none() {
        std::thread::park();
    }
}
