//! A server of one test's own, which can be ended and started again with the data that it had; and who else is on it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use freshdb_databases::schema::{self, SqlText};
use freshdb_databases::{Config, DatabaseUrl, Garbage, Kind, Lease, Pool, Server};
use test_support::{Client, DEADLINE, Engine, eventually_blocking};

use super::dump::{Dump, Tool, difference};

/// What tells these tests' databases from those of others on a server that nobody shares with them.
pub(crate) const CHECKOUT: &str = "accidents";

/// A table that is empty in the template, and one with a row.
pub(crate) fn tables() -> SqlText {
    schema::sql(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(2000) NOT NULL);
         CREATE TABLE words (word VARCHAR(50) PRIMARY KEY, meaning VARCHAR(100));
         INSERT INTO words VALUES ('fresh', 'not stale');",
    )
}

/// A throwaway server, whose directory stays until it is stopped, whatever becomes of its process.
pub(crate) struct OwnServer {
    pub(crate) server: Server,
    engine: Engine,
    program: Program,
    /// The process that was started last, if that was by this test.
    process: Option<Child>,
    first: Option<u32>,
}

/// How the server was started.
struct Program {
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    log: PathBuf,
    user: (u32, u32),
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    InOrder,
    Killed,
}

impl OwnServer {
    /// With its data below a directory.
    pub(crate) async fn start(kind: Kind, place: &Path) -> Self {
        let config = Config::from_env().unwrap().without_urls().with_run_dir(place);
        let server = Server::of(kind, &config).await.unwrap();
        let first = server.process();
        let program = Program::of(first, place);
        Self { server, engine: Engine::named(kind.name()), program, process: None, first }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// Ends the process, and waits until it has ended.
    pub(crate) fn end(&mut self, how: End) {
        let process = self.process().expect("a server of SQLite's does not end");
        let signal = match (how, self.engine) {
            (End::Killed, _) => "KILL",
            // PostgreSQL's TERM waits for those who are connected.
            (End::InOrder, Engine::Postgres) => "INT",
            (End::InOrder, _) => "TERM",
        };
        let sent = Command::new("kill").args(["-s", signal, "--", &process.to_string()]).status().unwrap();
        assert!(sent.success(), "SIG{signal} for {process}");
        eventually_blocking("it ends", || !self.lives());
    }

    fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id).or(self.first)
    }

    /// Whether its process does: one that waits for somebody to take note of its death does not.
    pub(crate) fn lives(&mut self) -> bool {
        if let Some(process) = &mut self.process {
            return process.try_wait().unwrap().is_none();
        }
        let Some(first) = self.first else { return true };
        let stat = fs::read_to_string(format!("/proc/{first}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    /// Starts it again as it was started first, and waits until it answers.
    pub(crate) async fn start_again(&mut self) {
        let started = Instant::now();
        let mut last = String::new();
        while started.elapsed() < DEADLINE {
            if self.process.is_none() || !self.lives() {
                // What a killed one has left, such as shared memory that its children still use, may stop the first attempts.
                self.process = Some(self.program.start());
            }
            match Client::try_connect(&self.server.url().reveal()).await {
                Ok(client) => return client.close().await,
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = fs::read_to_string(&self.program.log).unwrap_or_default();
        panic!("it does not answer: {last}\n{log}");
    }

    /// Ends it for good, and removes its data.
    pub(crate) async fn stop(mut self) {
        if self.process.is_some() && self.lives() {
            self.end(End::Killed);
        }
        self.server.stop().await.unwrap();
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Of a test that has failed. It may have ended already, which is no failure.
        if let Some(process) = &mut self.process {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

impl Program {
    fn of(process: Option<u32>, place: &Path) -> Self {
        let log = place.join("restarts.log");
        let Some(process) = process else {
            return Self {
                command: Vec::new(),
                environment: Vec::new(),
                directory: place.to_owned(),
                log,
                user: (0, 0),
            };
        };
        let path = PathBuf::from(format!("/proc/{process}"));
        let words = |file: &str| -> Vec<OsString> {
            let bytes = fs::read(path.join(file)).unwrap();
            let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            words.map(|word| OsString::from_vec(word.to_owned())).collect()
        };
        let environment = words("environ").into_iter().filter_map(|word| {
            let bytes = word.into_vec();
            let at = bytes.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (bytes[..at].to_vec(), bytes[at + 1..].to_vec());
            Some((OsString::from_vec(name), OsString::from_vec(value)))
        });
        let owner = fs::metadata(&path).unwrap();
        Self {
            command: words("cmdline"),
            environment: environment.collect(),
            directory: fs::read_link(path.join("cwd")).unwrap(),
            log,
            user: (owner.uid(), owner.gid()),
        }
    }

    /// It ends with the thread that starts it, which is the test's.
    fn start(&self) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        let (user, group) = self.user;
        if user != fs::metadata("/proc/self").unwrap().uid() {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        command.arg("--").args(&self.command).env_clear().envs(self.environment.iter().cloned());
        command.current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }
}

/// A database of somebody else's, named as if it were freshdb's.
pub(crate) struct Neighbour {
    url: DatabaseUrl,
    tool: Tool,
    before: Dump,
}

impl Neighbour {
    pub(crate) async fn make(server: &OwnServer) -> Self {
        const NAME: &str = "freshdb_s_neighbour";
        let url = server.server.url().with_database(NAME);
        if server.engine() == Engine::Sqlite {
            let file = fs::File::create_new(url.path().unwrap()).unwrap();
            drop(file);
        } else {
            let mut client = Client::connect(&server.server.url().reveal()).await;
            client.execute(&format!("CREATE DATABASE {NAME}")).await;
            client.close().await;
        }
        let mut client = Client::connect(&url.reveal()).await;
        client.execute("CREATE TABLE words (word VARCHAR(50) PRIMARY KEY)").await;
        client.execute("INSERT INTO words VALUES ('of a neighbour')").await;
        client.close().await;
        let tool = Tool::of(server.engine());
        let before = tool.dump(&url, NAME).await.unwrap();
        Self { url, tool, before }
    }

    pub(crate) async fn assert_unharmed(&self) {
        let after = self.tool.dump(&self.url, &self.url.database().unwrap_or_default()).await.unwrap();
        assert!(self.before == after, "{}", difference(&self.before, &after));
    }
}

pub(crate) async fn execute(url: &DatabaseUrl, sql: &str) {
    let mut client = Client::connect(&url.reveal()).await;
    client.execute(sql).await;
    client.close().await;
}

pub(crate) async fn assert_pristine(lease: &Lease) {
    let mut client = Client::connect(&lease.url().reveal()).await;
    assert_eq!(client.number("SELECT COUNT(*) FROM notes").await, 0);
    assert_eq!(client.number("SELECT COUNT(*) FROM words").await, 1);
    assert_eq!(client.number("SELECT COUNT(*) FROM words WHERE meaning = 'not stale'").await, 1);
    client.close().await;
}

/// What a pool is for, several times.
pub(crate) async fn use_pool(pool: &Pool) {
    for number in 0..6 {
        let lease = pool.lease().await.unwrap();
        assert_pristine(&lease).await;
        execute(lease.url(), &format!("INSERT INTO notes VALUES ({number}, 'dirt'); DELETE FROM words")).await;
        lease.give_back().await.unwrap();
    }
}

/// What no living process uses can go, and then nothing of freshdb's is left but its books.
pub(crate) async fn assert_all_can_go(server: &OwnServer) {
    let garbage = || Garbage::everything().checkout(CHECKOUT).collect(&server.server);
    let started = Instant::now();
    loop {
        let collected = garbage().await.unwrap();
        assert!(collected.failed.is_empty(), "{collected:?}");
        // A keeper that is about to leave holds its locks for a moment.
        if collected.in_use.is_empty() {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{collected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = match server.engine() {
        Engine::Sqlite => {
            let names = fs::read_dir(server.server.url().path().unwrap()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let is_database = |name: &String| Path::new(name).extension().is_some_and(|end| end == "db");
            let freshdbs = |name: &String| name.starts_with("freshdb_t_") || name.starts_with("freshdb_s_");
            names.filter(|name| is_database(name) && freshdbs(name)).count()
        }
        engine => {
            let (table, column) = match engine {
                Engine::Postgres => ("pg_database", "datname"),
                _ => ("information_schema.schemata", "schema_name"),
            };
            let sql = format!(
                "SELECT COUNT(*) FROM {table} WHERE {column} LIKE 'freshdb=_t=_%' ESCAPE '=' OR {column} LIKE 'freshdb=_s=_%' ESCAPE '='"
            );
            let mut client = Client::connect(&server.server.url().reveal()).await;
            let left = client.number(&sql).await;
            client.close().await;
            usize::try_from(left).unwrap()
        }
    };
    assert_eq!(left, 1, "the neighbour, and no other");
}
