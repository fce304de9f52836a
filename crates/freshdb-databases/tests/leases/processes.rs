//! Processes of one lease each, as tests under cargo-nextest are: what one made, the next one finds.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use freshdb_databases::schema::{self, SqlText};
use freshdb_databases::{DatabaseUrl, Pool, Server};
use test_support::{Client, TestDatabase, eventually, on_every_engine};

use crate::harness::{builder, clean, server};

const SERVER: &str = "FRESHDB_TEST_SERVER";
const CHECKOUT: &str = "FRESHDB_TEST_CHECKOUT";
const MANNER: &str = "FRESHDB_TEST_MANNER";

/// How many processes there are one after another, and then at once.
const PROCESSES: usize = 8;

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

/// What it said: the name of its database.
fn end(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.split_once("its database: ")).unwrap().1.to_owned()
}

on_every_engine! {
    async fn a_database_goes_from_process_to_process(database: &TestDatabase) {
        let pool = builder(database, tables()).open().await.unwrap();
        pool.lease().await.unwrap().give_back().await.unwrap();
        pool.close().await.unwrap();

        let names: BTreeSet<String> = (0..PROCESSES).map(|_| end(start(database, "in order"))).collect();
        assert_eq!(names.len(), 1, "none is copied anew: {names:?}");

        let at_once: Vec<_> = (0..PROCESSES).map(|_| start(database, "in order")).collect();
        let names: BTreeSet<String> = at_once.into_iter().map(end).collect();
        assert!(names.len() <= PROCESSES, "none but for those who come at once: {names:?}");
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
            eventually("the next one has it", async || end(start(database, "in order")) == had).await;
        }
        clean(database, []).await;
    }
}

#[test]
#[ignore = "run by the tests above, in processes of its own"]
fn a_process() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let variable = |name| std::env::var(name).unwrap();
        let server = Server::existing(DatabaseUrl::parse(&variable(SERVER)).unwrap());
        let pool = Pool::builder(server, tables()).checkout(variable(CHECKOUT)).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let name = lease.name().to_owned();
        let mut client = Client::connect(&lease.url().reveal()).await;
        client.execute("INSERT INTO t7 VALUES (1, 'mine', 1)").await;
        assert_eq!(client.number("SELECT COUNT(*) FROM t7").await, 1, "nobody else's is there");
        client.close().await;
        println!("its database: {name}");
        if variable(MANNER) == "killed" {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        let report = lease.give_back().await.unwrap();
        assert_eq!(report.changed(), None);
        pool.close().await.unwrap();
    });
}
