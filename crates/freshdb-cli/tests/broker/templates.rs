//! Templates that clients fill.

use serde_json::json;
use test_support::Engine;

use crate::harness::{Broker, eventually, sql, text};

on_every_engine!(
    one_fills_it_and_the_others_wait,
    whoever_goes_away_has_discarded_it,
    one_that_was_discarded_is_filled_anew,
    one_that_is_discarded_goes_to_whoever_waits,
    one_that_was_discarded_stays_so_until_it_is_filled,
    of_one_that_was_discarded_no_connection_is_left,
    what_is_no_template,
);

// SQLite's server goes with the broker.
on_every_engine!([mysql, mariadb, postgres] a_later_broker_finds_it);

/// A hash that nobody else has used on this server.
fn free_hash() -> String {
    format!("{:016x}", fastrand::u64(..))
}

const CREATE: &str = "CREATE TABLE tags (name VARCHAR(20)); INSERT INTO tags VALUES ('seed')";

fn one_fills_it_and_the_others_wait(engine: Engine) {
    let broker = Broker::of(engine);
    let hash = free_hash();
    let (wanted, path) = (json!({"hash": hash}), format!("/v1/templates/{}/{hash}", engine.name()));
    let mut first = broker.client();
    let empty = first.post("/v1/templates", &wanted).expect(201);
    assert_eq!(empty["state"], "empty");
    let mut second = broker.local_client();
    second.begin("POST", "/v1/templates", &wanted.to_string());
    first.post("/v1/leases", &json!({"template": hash})).expect(409);
    sql::execute(&text(&empty["url"]), CREATE);
    first.put(&path).expect(204);
    assert_eq!(second.answer().expect("an answer").expect(200)["state"], "ready");
    first.put(&path).expect(204);
    for client in [&mut first, &mut second] {
        let lease = client.post("/v1/leases", &json!({"template": hash})).expect(201);
        assert_eq!(sql::rows(&text(&lease["url"]), "tags"), Some(1));
    }
}

fn whoever_goes_away_has_discarded_it(engine: Engine) {
    let broker = Broker::of(engine);
    let wanted = json!({"hash": free_hash()});
    let mut first = broker.client();
    let empty = first.post("/v1/templates", &wanted).expect(201);
    sql::execute(&text(&empty["url"]), CREATE);
    let mut second = broker.client();
    second.begin("POST", "/v1/templates", &wanted.to_string());
    drop(first);
    let empty = second.answer().expect("an answer").expect(201);
    assert_eq!(sql::rows(&text(&empty["url"]), "tags"), None, "it is another one");
}

fn one_that_was_discarded_is_filled_anew(engine: Engine) {
    let broker = Broker::of(engine);
    let hash = free_hash();
    let (wanted, path) = (json!({"hash": hash}), format!("/v1/templates/{}/{hash}", engine.name()));
    let mut client = broker.client();
    for is_filled in [false, true] {
        let empty = client.post("/v1/templates", &wanted).expect(201);
        sql::execute(&text(&empty["url"]), CREATE);
        if is_filled {
            client.put(&path).expect(204);
        }
        client.delete(&path).expect(204);
        client.post("/v1/leases", &json!({"template": hash})).expect(404);
        client.put(&path).expect(404);
    }
    let empty = client.post("/v1/templates", &wanted).expect(201);
    assert_eq!(sql::rows(&text(&empty["url"]), "tags"), None);
}

/// What is discarded is the one that was asked to be, and not the next, which another has meanwhile.
fn one_that_is_discarded_goes_to_whoever_waits(engine: Engine) {
    let broker = Broker::of(engine);
    let hash = free_hash();
    let (wanted, path) = (json!({"hash": hash}), format!("/v1/templates/{}/{hash}", engine.name()));
    let (mut filling, mut waiting) = (broker.client(), broker.client());
    let mut empty = filling.post("/v1/templates", &wanted).expect(201);
    for _ in 0..20 {
        waiting.begin("POST", "/v1/templates", &wanted.to_string());
        filling.delete(&path).expect(204);
        empty = waiting.answer().expect("an answer").expect(201);
        std::mem::swap(&mut filling, &mut waiting);
    }
    sql::execute(&text(&empty["url"]), CREATE);
    filling.put(&path).expect(204);
    waiting.post("/v1/leases", &json!({"template": hash})).expect(201);
}

fn one_that_was_discarded_stays_so_until_it_is_filled(engine: Engine) {
    let broker = Broker::of(engine);
    let hash = free_hash();
    let (wanted, path) = (json!({"hash": hash}), format!("/v1/templates/{}/{hash}", engine.name()));
    let mut client = broker.client();
    let empty = client.post("/v1/templates", &wanted).expect(201);
    sql::execute(&text(&empty["url"]), CREATE);
    client.put(&path).expect(204);
    client.delete(&path).expect(204);
    client.post("/v1/templates", &wanted).expect(201);
    drop(client);
    let mut client = broker.client();
    let empty = client.post("/v1/templates", &wanted).expect(201);
    assert_eq!(sql::rows(&text(&empty["url"]), "tags"), None);
    client.put(&path).expect(204);
    assert_eq!(client.post("/v1/templates", &wanted).expect(200)["state"], "ready");
}

/// But for those of what is leased still, which goes on as it was.
fn of_one_that_was_discarded_no_connection_is_left(engine: Engine) {
    let broker = Broker::of(engine);
    let hash = free_hash();
    let (wanted, path) = (json!({"hash": hash}), format!("/v1/templates/{}/{hash}", engine.name()));
    let mut client = broker.client();
    client.get("/v1/status").expect(200);
    let before = broker.descriptors();
    let empty = client.post("/v1/templates", &wanted).expect(201);
    sql::execute(&text(&empty["url"]), CREATE);
    client.put(&path).expect(204);
    let [first, second] = [(); 2].map(|()| client.post("/v1/leases", &json!({"template": hash})).expect(201));
    client.delete(&format!("/v1/leases/{}?wait=true", text(&first["id"]))).expect(200);

    client.delete(&path).expect(204);
    sql::execute(&text(&second["url"]), "DELETE FROM tags");
    let put_back = client.delete(&format!("/v1/leases/{}?wait=true", text(&second["id"]))).expect(200);
    assert_eq!((&put_back["touched"], &put_back["changed"]), (&json!(1), &json!(null)));
    eventually("its connections are closed", || broker.descriptors() <= before);
}

fn a_later_broker_finds_it(engine: Engine) {
    let wanted = json!({"hash": free_hash()});
    {
        let broker = Broker::of(engine);
        let mut client = broker.client();
        let empty = client.post("/v1/templates", &wanted).expect(201);
        sql::execute(&text(&empty["url"]), CREATE);
        client.put(&format!("/v1/templates/{}/{}", engine.name(), text(&wanted["hash"]))).expect(204);
    }
    let broker = Broker::of(engine);
    let mut client = broker.client();
    assert_eq!(client.post("/v1/templates", &wanted).expect(200)["state"], "ready");
    let lease = client.post("/v1/leases", &json!({"template": wanted["hash"]})).expect(201);
    assert_eq!(sql::rows(&text(&lease["url"]), "tags"), Some(1));
    // And makes it anew when it is told to.
    {
        let broker = Broker::with(engine, &["--rebuild"]);
        let mut client = broker.client();
        client.post("/v1/templates", &wanted).expect(201);
        let path = format!("/v1/templates/{}/{}", engine.name(), text(&wanted["hash"]));
        client.put(&path).expect(204);
        client.delete(&path).expect(204);
    }
    // And does not find what was discarded.
    let broker = Broker::of(engine);
    broker.client().post("/v1/templates", &wanted).expect(201);
    eventually("nobody has it", || broker.leased().is_empty());
}

fn what_is_no_template(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    for wanted in [json!({}), json!({"hash": ""}), json!({"hash": "x".repeat(201)}), json!({"hash": 1})] {
        client.post("/v1/templates", &wanted).expect(400);
    }
    let path = format!("/v1/templates/{}/{}", engine.name(), free_hash());
    client.put(&path).expect(404);
    client.delete(&path).expect(404);
    client.put("/v1/templates/oracle/x").expect(400);
}
