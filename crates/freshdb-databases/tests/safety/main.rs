//! What must not happen: half a template in use, a neighbour harmed, a secret in a message.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../pristine/dump.rs"]
mod dump;
mod interrupted;
mod neighbour;
mod privileges;

use freshdb_databases::{DatabaseUrl, Garbage, Server};
use test_support::{Engine, TestDatabase, eventually};

/// The server that has a test's database: of SQLite, its directory.
fn server(database: &TestDatabase) -> Server {
    let url = DatabaseUrl::parse(database.url()).unwrap();
    match database.engine {
        Engine::Sqlite => Server::existing(DatabaseUrl::file(url.path().unwrap().parent().unwrap().join("server"))),
        _ => Server::existing(url),
    }
}

/// Drops what the pools of a test made.
async fn clean(database: &TestDatabase) {
    // A pool may be collecting still what it kept.
    eventually("nothing is in use", async || {
        let collected = Garbage::everything().checkout(database.url()).collect(&server(database)).await.unwrap();
        assert!(collected.failed.is_empty(), "{collected:?}");
        collected.in_use.is_empty()
    })
    .await;
}
