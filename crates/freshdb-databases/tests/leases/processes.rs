//! Processes of one lease each, as tests under cargo-nextest are: what one made, the next one finds.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use freshdb_databases::schema::{self, SqlText};
use freshdb_databases::{Config, DatabaseUrl, Kind, Pool, Server, variables};
use test_support::{Client, TestDatabase, eventually, on_every_engine};

use crate::harness::{builder, clean, server};

const SERVER: &str = "FRESHDB_TEST_SERVER";
/// Instead of a server: the kind of one that the run shares.
const KIND: &str = "FRESHDB_TEST_KIND";
const CHECKOUT: &str = "FRESHDB_TEST_CHECKOUT";
const MANNER: &str = "FRESHDB_TEST_MANNER";

/// How many processes there are one after another; 50 for figures.
fn processes() -> usize {
    std::env::var("FRESHDB_PROCESSES").map_or(8, |number| number.parse().expect("FRESHDB_PROCESSES is a number"))
}

/// Thirty tables, three of them with rows.
fn tables() -> SqlText {
    let tables = (0..30).map(|table| {
        format!(
            "CREATE TABLE t{table} (id INTEGER PRIMARY KEY, name VARCHAR(100) NOT NULL, other INTEGER);
             CREATE INDEX i{table} ON t{table} (name);"
        )
    });
    let rows = (0..3).map(|table| format!("INSERT INTO t{table} VALUES (1, 'one', NULL), (2, 'two', 2);"));
    schema::sql(tables.chain(rows).collect::<String>())
}

fn start(database: &TestDatabase, manner: &str) -> Child {
    let server = server(database);
    let url = server.url().reveal();
    let mut command = worker(manner);
    // MariaDB's URL is shown to drivers as MySQL's.
    let url =
        if database.engine == test_support::Engine::Mariadb { url.replacen("mysql:", "mariadb:", 1) } else { url };
    command.env(SERVER, url).env(CHECKOUT, database.url()).spawn().unwrap()
}

fn worker(manner: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "processes::a_process"]);
    command.env(MANNER, manner).stdout(Stdio::piped());
    command
}

/// What it said: the name of its database, and how long each step took, in microseconds.
fn end(child: Child) -> (String, Vec<u64>) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.lines().find_map(|line| line.split_once("its database: ")).unwrap().1;
    let mut words = said.split(' ');
    (words.next().unwrap().to_owned(), words.map(|time| time.parse().unwrap()).collect())
}

const STEPS: [&str; 7] = ["server", "open", "lease", "use", "give back", "close", "all"];

fn median(all: &mut [u64]) -> f64 {
    all.sort_unstable();
    f64::from(u32::try_from(all[all.len() / 2]).unwrap()) / 1000.0
}

on_every_engine! {
    async fn a_database_goes_from_process_to_process(database: &TestDatabase) {
        let pool = builder(database, tables()).open().await.unwrap();
        pool.lease().await.unwrap().give_back().await.unwrap();
        pool.close().await.unwrap();

        let started = Instant::now();
        let said: Vec<_> = (0..processes()).map(|_| end(start(database, "in order"))).collect();
        report(database.engine.name(), "one after another", started.elapsed(), &said);
        let names: BTreeSet<_> = said.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 1, "none is copied anew: {names:?}");

        let started = Instant::now();
        let mut said = Vec::new();
        for _ in 0..processes().div_ceil(8) {
            let at_once: Vec<_> = (0..8).map(|_| start(database, "in order")).collect();
            said.extend(at_once.into_iter().map(end));
        }
        report(database.engine.name(), "8 at once", started.elapsed(), &said);
        let names: BTreeSet<_> = said.iter().map(|(name, _)| name).collect();
        assert!(names.len() <= 8, "none but for those who come at once: {names:?}");
        clean(database, []).await;
    }
}

on_every_engine! {
    async fn what_a_killed_process_had_is_not_trusted(database: &TestDatabase) {
        let pool = builder(database, tables()).open().await.unwrap();
        pool.lease().await.unwrap().give_back().await.unwrap();
        pool.close().await.unwrap();

        for _ in 0..3 {
            let output = start(database, "killed").wait_with_output().unwrap();
            assert!(!output.status.success());
            let had = String::from_utf8(output.stdout).unwrap();
            let had = had.split_once("its database: ").unwrap().1.trim_end();
            // Another process has it once the server has noticed, and would find the row that was written.
            eventually("the next one has it", async || end(start(database, "in order")).0 == had).await;
        }
        clean(database, []).await;
    }
}

/// How it goes with a private server that the run shares, as under nextest. For figures:
/// `cargo test -p freshdb-databases --test leases figures -- --ignored --nocapture`.
#[test]
#[ignore = "takes a while, and proves nothing more"]
fn figures() {
    for kind in Kind::ALL {
        for (how, at_once) in [("the first", 1), ("one after another", 1), ("8 at once", 8)] {
            let (started, mut said) = (Instant::now(), Vec::new());
            let rounds = if how == "the first" { 1 } else { processes().div_ceil(at_once) };
            for _ in 0..rounds {
                let processes: Vec<_> = (0..at_once)
                    .map(|_| {
                        let mut command = worker("in order");
                        command.env(KIND, kind.name()).env(CHECKOUT, "figures");
                        command.env(variables::RUN, std::process::id().to_string()).spawn().unwrap()
                    })
                    .collect();
                said.extend(processes.into_iter().map(end));
            }
            report(kind.name(), how, started.elapsed(), &said);
        }
    }
}

fn report(engine: &str, how: &str, took: Duration, said: &[(String, Vec<u64>)]) {
    let each = took.as_secs_f64() * 1000.0 / f64::from(u32::try_from(said.len()).unwrap());
    let steps = STEPS.iter().enumerate().map(|(step, name)| {
        let mut times: Vec<u64> = said.iter().map(|(_, times)| times[step]).collect();
        format!("{name} {:.1}", median(&mut times))
    });
    eprintln!("{}, {how}: {each:.1} ms for a process; {} ms", engine, steps.collect::<Vec<_>>().join(", "));
}

#[test]
#[ignore = "run by the tests above, in processes of its own"]
fn a_process() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let variable = |name| std::env::var(name).unwrap();
        let begun = Instant::now();
        let mut last = begun;
        let mut times = Vec::new();
        let mut step = || {
            let now = Instant::now();
            times.push((now - last).as_micros());
            last = now;
        };
        let server = if let Ok(name) = std::env::var(KIND) {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap();
            Server::of(kind, &Config::from_env().unwrap().without_urls()).await.unwrap()
        } else {
            Server::existing(DatabaseUrl::parse(&variable(SERVER)).unwrap())
        };
        step();
        let pool = Pool::builder(server, tables()).checkout(variable(CHECKOUT)).open().await.unwrap();
        step();
        let lease = pool.lease().await.unwrap();
        let name = lease.name().to_owned();
        step();
        let mut client = Client::connect(&lease.url().reveal()).await;
        client.execute("INSERT INTO t7 VALUES (1, 'mine', 1)").await;
        assert_eq!(client.number("SELECT COUNT(*) FROM t7").await, 1, "nobody else's is there");
        client.close().await;
        step();
        if variable(MANNER) == "killed" {
            println!("its database: {name}");
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        let report = lease.give_back().await.unwrap();
        assert_eq!(report.changed(), None);
        step();
        pool.close().await.unwrap();
        step();
        times.push(begun.elapsed().as_micros());
        let times: Vec<String> = times.iter().map(ToString::to_string).collect();
        println!("its database: {name} {}", times.join(" "));
    });
}
