//! `IntegreSQL`'s interface, row by row as its own handlers answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_support::Engine;

use crate::harness::{Broker, Connection, eventually, sql, text};

on_every_engine!(
    [mysql, mariadb, postgres]
    templates,
    tests,
    what_is_out_is_told_of,
    databases_that_nobody_gives_back,
    more_wait_than_there_are_databases,
    whoever_goes_away_while_he_waits_ends_nobody_elses,
    a_database_is_left_to_whoever_has_it_at_first,
    a_late_unlock_ends_nobody_elses,
    a_test_waits_for_its_template,
    administration,
);

/// With so many connections for each database, the servers of the tests have room for two, and for one.
const FEW: &[&str] = &["--connections", "120"];
const ONE: &[&str] = &["--connections", "200"];

fn free_hash() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The URL that a client makes of a configuration.
fn url(engine: Engine, config: &Value) -> String {
    let part = |name: &str| text(&config[name]);
    let scheme = if engine == Engine::Postgres { "postgres" } else { "mysql" };
    format!(
        "{scheme}://{}:{}@{}:{}/{}",
        part("username"),
        part("password"),
        part("host"),
        config["port"],
        part("database")
    )
}

fn make(broker: &Broker, client: &mut Connection, hash: &str) {
    let template = client.post("/api/v1/templates", &json!({"hash": hash})).expect(200);
    let url = url(broker.engine, &template["database"]["config"]);
    sql::execute(&url, "CREATE TABLE tags (name VARCHAR(20)); INSERT INTO tags VALUES ('seed')");
    client.put(&format!("/api/v1/templates/{hash}")).expect(204);
}

fn templates(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let hash = free_hash();
    client.post("/api/v1/templates", &json!({"hash": ""})).expect(400);
    client.post("/api/v1/templates", &json!({})).expect(400);
    client.ask("POST", "/api/v1/templates", "no JSON").expect(400);
    client.form("/api/v1/templates", "hash=").expect(400);

    let template = client.post("/api/v1/templates", &json!({"hash": hash})).expect(200);
    assert_eq!(template["database"]["templateHash"], hash);
    let mut names: Vec<_> = template["database"]["config"].as_object().expect("an object").keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["database", "host", "password", "port", "username"]);
    client.post("/api/v1/templates", &json!({"hash": hash})).expect(423);
    client.form("/api/v1/templates", &format!("hash={hash}")).expect(423);
    // Discarded, it is somebody else's to initialise.
    client.delete(&format!("/api/v1/templates/{hash}")).expect(204);
    client.delete(&format!("/api/v1/templates/{hash}")).expect(404);
    make(&broker, &mut client, &hash);
    client.post("/api/v1/templates", &json!({"hash": hash})).expect(423);
    client.put(&format!("/api/v1/templates/{hash}")).expect(204);
    client.put(&format!("/api/v1/templates/{}", free_hash())).expect(404);
    // The engine may be named.
    client.post(&format!("/{}/api/v1/templates", engine.name()), &json!({"hash": hash})).expect(423);
    client.post("/sqlite/api/v1/templates", &json!({"hash": hash})).expect(400);
}

fn tests(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let hash = free_hash();
    let base = format!("/api/v1/templates/{hash}/tests");
    client.get(&base).expect(404);
    make(&broker, &mut client, &hash);
    for (method, path) in [("POST", "/unlock"), ("DELETE", ""), ("POST", "/recreate")] {
        let test = client.get(&base).expect(200);
        let id = test["id"].as_u64().expect("a number");
        assert_eq!(test["database"]["templateHash"], hash);
        let url = url(engine, &test["database"]["config"]);
        assert_eq!(sql::rows(&url, "tags"), Some(1), "{method} {path}");
        sql::execute(&url, "DELETE FROM tags");
        client.ask(method, &format!("{base}/{id}{path}"), "").expect(204);
        client.ask(method, &format!("{base}/{id}{path}"), "").expect(404);
        client.ask(method, &format!("{base}/x{path}"), "").expect(400);
        client.ask(method, &format!("/api/v1/templates/{}/tests/{id}{path}", free_hash()), "").expect(404);
    }
    // Of one connection, they are not lost with another.
    let test = broker.client().get(&base).expect(200);
    let url = url(engine, &test["database"]["config"]);
    assert_eq!(sql::rows(&url, "tags"), Some(1));
}

fn what_is_out_is_told_of(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let hash = free_hash();
    make(&broker, &mut client, &hash);
    let test = client.get(&format!("/api/v1/templates/{hash}/tests")).expect(200);
    let status = client.get("/v1/status").expect(200);
    let [lease] = &status["leases"].as_array().expect("leases")[..] else { panic!("{status}") };
    assert_eq!(lease["database"], test["database"]["config"]["database"]);
    assert_eq!(
        (&lease["id"], &lease["engine"]),
        (&Value::Null, &json!(engine.name())),
        "it is given back by another path"
    );
    assert_eq!(lease["note"], format!("IntegreSQL: test {} of template {hash}", test["id"]));
    assert!(lease["held_ms"].is_number(), "{lease}");
    client.delete(&format!("/api/v1/templates/{hash}/tests/{}", test["id"])).expect(204);
    assert!(broker.leased().is_empty());
}

/// How many databases of the template there are at once.
fn limit(client: &mut Connection, hash: &str) -> u64 {
    let pools = client.get("/v1/status").expect(200);
    let pool = pools["pools"].as_array().expect("pools").iter().find(|pool| pool["template"] == hash);
    pool.and_then(|pool| pool["limit"].as_u64()).expect("a limit")
}

/// Most clients never do.
fn databases_that_nobody_gives_back(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let hash = free_hash();
    make(&broker, &mut client, &hash);
    for _ in 0..limit(&mut client, &hash) + 3 {
        let test = client.get(&format!("/api/v1/templates/{hash}/tests")).expect(200);
        let url = url(engine, &test["database"]["config"]);
        assert_eq!(sql::number(&url, "SELECT COUNT(*) FROM tags"), 1);
        sql::execute(&url, "DELETE FROM tags");
    }
}

/// Who was given one has time to connect before it may be taken away.
fn a_database_is_left_to_whoever_has_it_at_first(engine: Engine) {
    let broker = Broker::with(engine, ONE);
    let mut client = broker.client();
    let hash = free_hash();
    make(&broker, &mut client, &hash);
    let base = format!("/api/v1/templates/{hash}/tests");
    let asked = Instant::now();
    for _ in 0..2 {
        client.get(&base).expect(200);
    }
    assert!(asked.elapsed() >= Duration::from_millis(250), "it was taken away after {:?}", asked.elapsed());
}

/// Each of them gets one, though none of the others asks again.
fn more_wait_than_there_are_databases(engine: Engine) {
    let broker = Broker::with(engine, FEW);
    let mut client = broker.client();
    let hash = free_hash();
    make(&broker, &mut client, &hash);
    let mut waiting: Vec<Connection> = (0..5 * limit(&mut client, &hash)).map(|_| broker.client()).collect();
    for client in &mut waiting {
        client.begin("GET", &format!("/api/v1/templates/{hash}/tests"), "");
    }
    for mut client in waiting {
        client.answer().expect("an answer").expect(200);
    }
}

fn whoever_goes_away_while_he_waits_ends_nobody_elses(engine: Engine) {
    let broker = Broker::with(engine, ONE);
    let mut client = broker.client();
    let hash = free_hash();
    make(&broker, &mut client, &hash);
    assert_eq!(limit(&mut client, &hash), 1);
    let base = format!("/api/v1/templates/{hash}/tests");
    let test = client.get(&base).expect(200);
    let url = url(engine, &test["database"]["config"]);
    sql::while_connected(&url, || {
        sql::execute(&url, "DELETE FROM tags");
        let started = Instant::now();
        // A database is left alone at first, and then asked for its sessions each time.
        while started.elapsed() < Duration::from_secs(1) {
            let mut gone = broker.client();
            gone.begin("GET", &base, "");
            client.get("/v1/status").expect(200);
            drop(gone);
        }
        assert_eq!(sql::rows(&url, "tags"), Some(0), "it was not put back");
    });
    // Before, whoever is connected would be ended.
    client.delete(&format!("{base}/{}", test["id"])).expect(204);
}

/// Nor does it when the same database is somebody else's by then.
fn a_late_unlock_ends_nobody_elses(engine: Engine) {
    let broker = Broker::with(engine, ONE);
    let mut client = broker.client();
    let hash = free_hash();
    make(&broker, &mut client, &hash);
    let base = format!("/api/v1/templates/{hash}/tests");
    let [first, second] = [(); 2].map(|()| client.get(&base).expect(200));
    assert_eq!(first["database"]["config"], second["database"]["config"]);
    client.delete(&format!("{base}/{}", first["id"])).expect(404);
    client.delete(&format!("{base}/{}", second["id"])).expect(204);
}

fn a_test_waits_for_its_template(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let hash = free_hash();
    client.post("/api/v1/templates", &json!({"hash": hash})).expect(200);
    let mut waiting = broker.client();
    waiting.begin("GET", &format!("/api/v1/templates/{hash}/tests"), "");
    client.put(&format!("/api/v1/templates/{hash}")).expect(204);
    waiting.answer().expect("an answer").expect(200);

    // One that is given up meanwhile is not there.
    let hash = free_hash();
    client.post("/api/v1/templates", &json!({"hash": hash})).expect(200);
    waiting.begin("GET", &format!("/api/v1/templates/{hash}/tests"), "");
    client.delete(&format!("/api/v1/templates/{hash}")).expect(204);
    waiting.answer().expect("an answer").expect(404);
}

fn administration(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let hash = free_hash();
    client.delete("/api/v1/admin/templates").expect(204);
    make(&broker, &mut client, &hash);
    client.get(&format!("/api/v1/templates/{hash}/tests")).expect(200);
    client.delete("/api/v1/admin/templates").expect(204);
    client.get(&format!("/api/v1/templates/{hash}/tests")).expect(404);
    make(&broker, &mut client, &hash);
    eventually("it can be used again", || client.get(&format!("/api/v1/templates/{hash}/tests")).status == 200);
}
