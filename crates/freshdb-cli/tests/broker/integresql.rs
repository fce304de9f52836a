//! `IntegreSQL`'s interface, row by row as its own handlers answer.

use serde_json::{Value, json};
use test_support::Engine;

use crate::harness::{Broker, Connection, eventually, sql, text};

on_every_engine!(
    [mysql, mariadb, postgres]
    templates,
    tests,
    databases_that_nobody_gives_back,
    a_test_waits_for_its_template,
    administration,
);

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

/// Most clients never do.
fn databases_that_nobody_gives_back(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let hash = free_hash();
    make(&broker, &mut client, &hash);
    let pools = client.get("/v1/status").expect(200);
    let pool = pools["pools"].as_array().expect("pools").iter().find(|pool| pool["template"] == hash.as_str());
    let limit = pool.and_then(|pool| pool["limit"].as_u64()).expect("a limit");
    for _ in 0..limit + 3 {
        let test = client.get(&format!("/api/v1/templates/{hash}/tests")).expect(200);
        let url = url(engine, &test["database"]["config"]);
        assert_eq!(sql::number(&url, "SELECT COUNT(*) FROM tags"), 1);
        sql::execute(&url, "DELETE FROM tags");
    }
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
