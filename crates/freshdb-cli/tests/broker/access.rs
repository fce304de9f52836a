//! Who is let in, and what those get who ask for nonsense.

use serde_json::json;
use test_support::Engine;

use crate::harness::{Broker, text};

#[test]
fn without_the_token_nobody_is_told_anything() {
    let broker = Broker::of(Engine::Sqlite);
    let requests = [
        ("GET", "/v1/status", ""),
        ("GET", "/v1/openapi.json", ""),
        ("GET", "/nothing", ""),
        ("POST", "/v1/leases", "{}"),
        ("POST", "/v1/leases", "{"),
        ("DELETE", "/v1/leases/1", ""),
        ("PUT", "/v1/leases/1/outcome", r#"{"outcome": "failed"}"#),
        ("GET", "/v1/leases/1/changes", ""),
        ("GET", "/v1/leases/1/sessions", ""),
        ("PUT", "/v1/templates/sqlite/x", ""),
        ("POST", "/api/v1/templates", r#"{"hash":"x"}"#),
        ("DELETE", "/api/v1/admin/templates", ""),
    ];
    let wrong = broker.token.replace(|letter: char| letter.is_ascii_digit(), "x");
    for token in [None, Some(String::new()), Some(wrong)] {
        for mut client in [broker.client(), broker.local_client()] {
            client.token.clone_from(&token);
            for (method, path, body) in requests {
                let refusal = client.ask(method, path, body).expect(401);
                assert_eq!(refusal, json!({"error": "the token is missing, or is another one"}), "{method} {path}");
            }
        }
    }
    assert!(broker.leased().is_empty());
}

#[test]
fn the_token_may_stand_in_front_of_the_path() {
    let broker = Broker::of(Engine::Sqlite);
    let mut client = broker.client();
    client.token = None;
    client.get(&format!("/{}/v1/status", broker.token)).expect(200);
    client.get(&format!("/{}x/v1/status", broker.token)).expect(401);
}

/// Those that go by this header, as Node's `fetch`, close a connection after four seconds without, and lose its leases.
#[test]
fn clients_are_told_that_the_connection_stays() {
    let broker = Broker::of(Engine::Sqlite);
    let mut client = broker.client();
    let answer = client.post("/v1/leases", &json!({}));
    assert!(answer.head.contains("\r\nkeep-alive: timeout=86400\r\n"), "{}", answer.head);
    client.token = None;
    let refusal = client.get("/v1/status");
    assert!(!refusal.head.contains("keep-alive: "), "{}", refusal.head);
}

#[test]
fn the_description_has_what_every_request_may_be_refused_with() {
    let broker = Broker::of(Engine::Sqlite);
    let document = broker.client().get("/v1/openapi.json").expect(200);
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let of_bodies: &[u16] = if operation["requestBody"].is_null() { &[] } else { &[415] };
            for status in [401, 413].iter().chain(of_bodies) {
                let refusal = &operation["responses"][status.to_string()]["content"]["application/json"]["schema"];
                assert_eq!(refusal, &json!({"$ref": "#/components/schemas/Refusal"}), "{method} {path} {status}");
            }
        }
    }
}

#[test]
fn whatever_is_wrong_with_a_request_is_described() {
    let broker = Broker::of(Engine::Sqlite);
    let mut client = broker.client();
    for (method, path) in [
        ("DELETE", "/v1/leases/%ff"),
        ("PUT", "/v1/leases/%ff/outcome"),
        ("GET", "/v1/leases/%ff/changes"),
        ("GET", "/v1/leases/%ff/sessions"),
        ("PUT", "/v1/templates/sqlite/%ff"),
        ("DELETE", "/v1/templates/sqlite/%ff"),
        ("DELETE", "/v1/leases/1?nobody=knows"),
    ] {
        client.ask(method, path, "").expect(400);
    }
    let too_much = "x".repeat(5 << 20);
    for (method, path) in [("GET", "/v1/status"), ("DELETE", "/v1/leases/1"), ("POST", "/v1/leases")] {
        let mut client = broker.client();
        // It may be cut off before it has heard that.
        client.begin(method, path, &too_much);
        if let Some(answer) = client.answer() {
            answer.expect(413);
        }
    }
}

/// In a script that has one set of servers for several commands, and in tests that run freshdb.
#[test]
fn brokers_of_one_run_are_there_at_once_and_one_after_the_other() {
    let process = std::process::id().to_string();
    let begin = || Broker::in_environment(Engine::Sqlite, &[], &[("FRESHDB_RUN", &process)]);
    let brokers = [begin(), begin()];
    let mut databases = brokers.each_ref().map(|broker| {
        let mut client = broker.local_client();
        let lease = client.post("/v1/leases", &json!({"engine": "sqlite"})).expect(201);
        (client, text(&lease["url"]))
    });
    let [(_, one), (_, other)] = &databases;
    let directory = |url: &str| url.rsplit_once('/').map(|(directory, _)| directory.to_owned());
    assert_eq!(directory(one), directory(other), "they share the run's server");
    assert_ne!(one, other);
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_freshdb")).arg("status").output().expect("it runs");
    let said = String::from_utf8_lossy(&status.stdout);
    for broker in &brokers {
        assert!(said.contains(&format!("broker at {}\n", broker.socket)), "{said}");
    }
    for (client, _) in &mut databases {
        client.finish();
    }
    drop(brokers);
    drop(begin());
}

#[test]
fn other_machines_are_not_listened_to() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["serve", "--sqlite", "--listen", "0.0.0.0:0"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("which other machines reach") && said.contains("hint: use 127.0.0.1"), "{said}");
}

/// What is no request gets a 4xx or a closed connection, and costs the others nothing.
#[test]
fn nonsense_costs_nothing() {
    let broker = Broker::of(Engine::Sqlite);
    let token = format!("authorization: Bearer {}\r\n", broker.token);
    let post = |length: &str, body: &str| {
        format!("POST /v1/leases HTTP/1.1\r\nhost: b\r\n{token}content-type: application/json\r\n{length}\r\n{body}")
            .into_bytes()
    };
    let mut nonsense: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n".to_vec(),
        format!("GET /v1/status HTTP/9.9\r\n{token}\r\n").into_bytes(),
        format!("GET /{} HTTP/1.1\r\nhost: b\r\n{token}\r\n", "a".repeat(1 << 20)).into_bytes(),
        format!("GET / HTTP/1.1\r\nhost: b\r\n{token}{}\r\n", "x: y\r\n".repeat(10_000)).into_bytes(),
        post("content-length: 100000\r\n", &"x".repeat(100_000)),
        post("content-length: -1\r\n", "{}"),
        post("content-length: 1\r\ncontent-length: 2\r\n", "{}"),
        post("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
        post("content-length: 6\r\n", "\"\u{ff}\u{fe}"),
        post("content-length: 40\r\n", &"[".repeat(40)),
    ];
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..300 {
        let mut request = post("content-length: 21\r\n", r#"{"engine": "sqlite" }"#);
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..request.len());
            match random.u8(..3) {
                0 => request[at] = random.u8(..),
                1 => drop(request.remove(at)),
                _ => request.insert(at, random.u8(..)),
            }
        }
        // So that it ends: otherwise it is slow, and not nonsense.
        request.extend(b"\r\n\r\n");
        nonsense.push(request);
    }
    for request in nonsense {
        let mut client = broker.client();
        client.send(&request);
        client.finish();
        if let Some(answer) = client.answer() {
            let is_fine = (400..500).contains(&answer.status) || answer.status == 201 || answer.status == 200;
            assert!(is_fine, "{answer:?} to {:?}, of the seed {seed}", String::from_utf8_lossy(&request));
        }
    }
    let mut client = broker.client();
    client.post("/v1/leases", &json!({})).expect(201);
    drop(client);
    crate::harness::eventually("nothing is left", || broker.leased().is_empty());
}

/// Whoever says nothing, or speaks slowly, holds nobody up, and is not listened to for ever.
#[test]
fn the_slow_hold_nobody_up() {
    let broker = Broker::of(Engine::Sqlite);
    let mut slow: Vec<_> = (0..100).map(|_| broker.client()).collect();
    for client in &mut slow {
        client.send(b"POST /v1/leases HTTP/1.1\r\nhost: b\r\n");
    }
    let (mut silent, mut refused) = (broker.client(), broker.local_client());
    refused.token = None;
    refused.get("/v1/status").expect(401);
    let mut client = broker.client();
    for _ in 0..20 {
        let lease = client.post("/v1/leases", &json!({})).expect(201);
        client.delete(&format!("/v1/leases/{}", lease["id"].as_str().expect("text"))).expect(204);
    }
    for client in slow.iter_mut().chain([&mut silent, &mut refused]) {
        client.end();
    }
    client.get("/v1/status").expect(200);
}
