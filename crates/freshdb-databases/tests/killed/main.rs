//! Many processes on one server, each of which may be killed at any moment.
//!
//! A worker is this same program, run with another test. What it does it writes into a ledger, a directory of files, which
//! outlives it; the test kills workers, starts them again, and reads the ledger.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../pristine/dump.rs"]
mod dump;
mod ledger;
mod worker;

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use freshdb_databases::{DatabaseUrl, Garbage, Server};
use test_support::{Client, Engine, TestDatabase, on_every_engine};

use dump::{Dump, Tool, difference};
use ledger::Ledger;

/// How many workers there are at once.
const WORKERS: usize = 8;
/// How often one of them is killed, at the most.
const KILL_EVERY: Duration = Duration::from_millis(100);
/// After how many leases it is said that there is progress: `scripts/test` takes who is silent for long for dead.
const SIGN_OF_LIFE: usize = 50;
/// How long one lease of each may take. Nothing here waits for anything that a dead process would have to do, but every
/// other process is killed before it gets to its first one.
const DEADLINE: Duration = Duration::from_secs(36);

/// How many leases each worker takes, all its lives together. `scripts/soak --leases` wants 500.
fn leases_each() -> usize {
    std::env::var("FRESHDB_LEASES").map_or(15, |number| number.parse().expect("FRESHDB_LEASES is a number"))
}

on_every_engine! {
    async fn no_database_is_held_by_two_or_handed_out_dirty_or_lost(database: &TestDatabase) {
        run(database, |_| 0).await;
    }
}

on_every_engine! {
    async fn two_checkouts_with_two_schemas_never_meet(database: &TestDatabase) {
        run(database, |worker| worker % 2).await;
    }
}

/// Runs the workers until each has had its leases. `group` tells which checkout and schema a worker is of.
async fn run(database: &TestDatabase, group: impl Fn(usize) -> usize) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path());
    let server = server(database);
    let neighbour = Neighbour::make(database).await;

    let mut workers: Vec<Option<Child>> = (0..WORKERS).map(|_| None).collect();
    let started = Instant::now();
    let mut next_kill = started + KILL_EVERY;
    let deadline = DEADLINE * u32::try_from(leases_each()).unwrap();
    let (mut kills, mut done_before, mut next_sign) = (0, 0, SIGN_OF_LIFE);
    while (0..WORKERS).any(|worker| ledger.leases(worker) < leases_each()) {
        assert!(started.elapsed() < deadline, "not done after {deadline:?}: {ledger:?}");
        for (number, worker) in workers.iter_mut().enumerate() {
            let ended = match worker {
                Some(child) => child.try_wait().unwrap().inspect(|done| assert_has_not_failed(*done)).is_some(),
                None => true,
            };
            if ended {
                let unfinished = ledger.leases(number) < leases_each();
                *worker = unfinished.then(|| start(number, group(number), &server, database, directory.path()));
            }
        }
        // However busy the machine is, it goes on: nobody is killed before another lease has been given back.
        let done = (0..WORKERS).map(|worker| ledger.leases(worker)).sum::<usize>();
        if done >= next_sign {
            test_support::say(&format!("{}: {done} leases", database.engine.name()));
            next_sign = done + SIGN_OF_LIFE;
        }
        if Instant::now() >= next_kill && done > done_before {
            (next_kill, done_before) = (Instant::now() + KILL_EVERY, done);
            // `kill` is SIGKILL; one that has ended just now is no error.
            if let Some(Some(child)) = workers.get_mut(fastrand::usize(..WORKERS)) {
                child.kill().unwrap();
                kills += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for mut child in workers.into_iter().flatten() {
        assert_has_not_failed(child.wait().unwrap());
    }

    let violations = ledger.violations();
    assert!(violations.is_empty(), "{violations}");
    let databases = ledger.databases();
    println!(
        "{}: {} leases of {databases} databases, {kills} kills, {:.1} s",
        database.engine.name(),
        WORKERS * leases_each(),
        started.elapsed().as_secs_f64(),
    );
    // Of those that are dead nothing is held any more, and nobody else is there: all can go, and then nothing is left.
    let mut left = Vec::new();
    for group in 0..2 {
        let garbage = || Garbage::everything().checkout(&worker::checkout(database.url(), group));
        let collected = garbage().collect(&server).await.unwrap();
        assert!(collected.in_use.is_empty() && collected.failed.is_empty(), "{collected:?}");
        left.extend(garbage().collect(&server).await.unwrap().dropped);
    }
    assert_eq!(left, Vec::<String>::new());
    for name in ledger.database_names() {
        let url = server.url().with_database(&name);
        let is_there = match database.engine {
            Engine::Sqlite => url.path().unwrap().exists(),
            _ => Client::try_connect(&url.reveal()).await.is_ok(),
        };
        assert!(!is_there, "{name} is still there");
    }
    neighbour.assert_unharmed(database).await;
}

/// It was killed, or is done.
fn assert_has_not_failed(worker: ExitStatus) {
    assert!(worker.success() || worker.code().is_none(), "{worker}");
}

fn server(database: &TestDatabase) -> Server {
    let url = DatabaseUrl::parse(database.url()).unwrap();
    match url.path() {
        Some(file) => Server::existing(DatabaseUrl::file(file.parent().unwrap().join("server"))),
        None => Server::existing(url),
    }
}

fn start(number: usize, group: usize, server: &Server, database: &TestDatabase, ledger: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "worker::a_worker"])
        .env(worker::NUMBER, number.to_string())
        .env(worker::GROUP, group.to_string())
        .env(worker::SERVER, server.url().reveal())
        .env(worker::ENGINE, database.engine.name())
        .env(worker::HOUSE, database.url())
        .env(worker::LEASES, leases_each().to_string())
        .env(worker::LEDGER, ledger)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Databases that are not freshdb's, on the same server, one of them named as if it were: they stay as they are.
struct Neighbour {
    name: Option<String>,
    tool: Tool,
    urls: Vec<DatabaseUrl>,
    before: Vec<Dump>,
}

impl Neighbour {
    async fn make(database: &TestDatabase) -> Self {
        let here = DatabaseUrl::parse(database.url()).unwrap();
        let name = format!("freshdb_s_{}", database.url().rsplit('/').next().unwrap_or_default());
        let name = (database.engine != Engine::Sqlite).then_some(name);
        let mut urls = vec![here.clone()];
        if let Some(name) = &name {
            database.execute(&format!("CREATE DATABASE {name}")).await;
            urls.push(here.with_database(name));
        }
        for url in &urls {
            let mut client = Client::connect(&url.reveal()).await;
            client.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(100))").await;
            client.execute("INSERT INTO notes VALUES (1, 'of a neighbour')").await;
            client.close().await;
        }
        let tool = Tool::of(database.engine);
        let before = dumps(&tool, &urls).await;
        Self { name, tool, urls, before }
    }

    async fn assert_unharmed(self, database: &TestDatabase) {
        for (before, after) in self.before.iter().zip(dumps(&self.tool, &self.urls).await) {
            assert!(*before == after, "{}", difference(before, &after));
        }
        if let Some(name) = self.name {
            // It is there to be dropped.
            database.execute(&format!("DROP DATABASE {name}")).await;
        }
    }
}

async fn dumps(tool: &Tool, urls: &[DatabaseUrl]) -> Vec<Dump> {
    let mut dumps = Vec::new();
    for url in urls {
        dumps.push(tool.dump(url, &url.database().unwrap_or_default()).await.unwrap());
    }
    dumps
}
