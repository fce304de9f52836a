//! One process of many.

use std::env;
use std::path::PathBuf;

use freshdb_databases::schema::{self, SqlText};
use freshdb_databases::{DatabaseUrl, Lease, Pool, Server};
use test_support::Client;

use crate::ledger::Ledger;

pub(crate) const NUMBER: &str = "FRESHDB_TEST_WORKER";
pub(crate) const GROUP: &str = "FRESHDB_TEST_GROUP";
pub(crate) const SERVER: &str = "FRESHDB_TEST_SERVER";
pub(crate) const ENGINE: &str = "FRESHDB_TEST_ENGINE";
pub(crate) const HOUSE: &str = "FRESHDB_TEST_HOUSE";
pub(crate) const LEASES: &str = "FRESHDB_TEST_LEASES";
pub(crate) const LEDGER: &str = "FRESHDB_TEST_LEDGER";

/// The checkout of a group of workers on the server of one test.
pub(crate) fn checkout(house: &str, group: usize) -> String {
    format!("{house} {group}")
}

fn tables(group: usize) -> SqlText {
    schema::sql(format!(
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(100) NOT NULL);
         CREATE TABLE words (word VARCHAR(50) PRIMARY KEY, meaning VARCHAR(100));
         INSERT INTO words VALUES ('group', '{group}');"
    ))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set by the test that starts this"))
}

#[test]
#[ignore = "run by the tests in main.rs, in processes of its own"]
fn a_worker() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work());
}

async fn work() {
    let (number, group): (usize, usize) = (variable(NUMBER).parse().unwrap(), variable(GROUP).parse().unwrap());
    let ledger = Ledger::open(&PathBuf::from(variable(LEDGER)));
    let (server, engine) = (variable(SERVER), variable(ENGINE));
    // MariaDB's URL is shown to drivers as MySQL's.
    let url = if engine == "mariadb" { server.replacen("mysql:", "mariadb:", 1) } else { server };
    let server = Server::existing(DatabaseUrl::parse(&url).unwrap());
    let pool = Pool::builder(server, tables(group)).checkout(checkout(&variable(HOUSE), group)).limit(3);
    let pool = pool.open().await.unwrap();

    let leases: usize = variable(LEASES).parse().unwrap();
    while ledger.leases(number) < leases {
        let lease = pool.lease().await.unwrap();
        ledger.take(lease.name(), group, number);
        use_it(&lease, group, &ledger).await;
        ledger.give_back(lease.name(), number);
        drop(lease);
    }
    pool.close().await.unwrap();
}

/// Looks whether the database is pristine, and makes it dirty.
async fn use_it(lease: &Lease, group: usize, ledger: &Ledger) {
    let mut client = Client::connect(&lease.url().reveal()).await;
    let notes = client.number("SELECT COUNT(*) FROM notes").await;
    let words = client.number("SELECT COUNT(*) FROM words").await;
    let right = client.number(&format!("SELECT COUNT(*) FROM words WHERE meaning = '{group}'")).await;
    if (notes, words, right) != (0, 1, 1) {
        ledger.violation(&format!("{} was handed out dirty: {notes} notes, {words} words", lease.name()));
    }
    if client.try_execute("SELECT COUNT(*) FROM dirt").await.is_ok() {
        ledger.violation(&format!("{} was handed out with a table of before", lease.name()));
    }
    client.execute("INSERT INTO notes VALUES (1, 'dirt')").await;
    match fastrand::u8(..10) {
        0 => client.execute("UPDATE words SET meaning = 'dirt'").await,
        1 => client.execute("CREATE TABLE dirt (id INTEGER)").await,
        // A transaction that is open when this process dies, or when the lease goes back.
        2..5 => client.execute("BEGIN; INSERT INTO notes VALUES (2, 'dirt')").await,
        _ => {}
    }
    if fastrand::bool() {
        client.close().await;
    }
}
