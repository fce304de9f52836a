//! Leases: taken, given back, and lost with the connection over which they were taken.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use test_support::Engine;

use crate::harness::{Broker, eventually, sql, text};

on_every_engine!(
    a_lease_is_pristine,
    a_lease_ends_with_its_connection,
    a_lease_may_outlive_its_connection,
    anybody_may_give_a_lease_back,
    nobody_gets_what_another_has,
    where_it_is_is_told_in_parts,
    what_cannot_be_leased,
);

on_every_engine!([sqlite] a_body_that_nobody_wants_costs_no_lease);

on_every_engine!([mysql, mariadb, postgres] by_a_socket_it_is_told_where_that_is);

fn a_lease_is_pristine(engine: Engine) {
    let schema = tempfile::NamedTempFile::with_suffix(".sql").expect("a file");
    std::fs::write(&schema, "CREATE TABLE tags (name VARCHAR(20)); INSERT INTO tags VALUES ('seed');")
        .expect("written");
    let broker = Broker::with(engine, &["--schema", schema.path().to_str().expect("text")]);
    let mut client = broker.client();
    for round in 0..5 {
        let lease = client.post("/v1/leases", &json!({"note": round.to_string()})).expect(201);
        let url = text(&lease["url"]);
        assert_eq!(sql::rows(&url, "tags"), Some(1), "round {round}");
        assert_eq!(sql::rows(&url, "others"), None, "round {round}");
        sql::execute(&url, "INSERT INTO tags VALUES ('more')");
        if round % 2 == 1 {
            sql::execute(&url, "CREATE TABLE others (name VARCHAR(20))");
        }
        let report = client.delete(&format!("/v1/leases/{}?wait=true", text(&lease["id"]))).expect(200);
        assert!(report["kept"] == false && report["sessions"] == json!([]), "{report}");
        assert!(report["touched"].is_u64() != report["changed"].is_string(), "{report}");
    }
}

fn a_lease_ends_with_its_connection(engine: Engine) {
    let broker = Broker::of(engine);
    for mut client in [broker.client(), broker.local_client()] {
        client.post("/v1/leases", &json!({"note": "of one that dies"})).expect(201);
        client.post("/v1/leases", &json!({"note": "another"})).expect(201);
        assert_eq!(broker.leased(), ["of one that dies", "another"]);
        drop(client);
        eventually("both are back", || broker.leased().is_empty());
    }
}

/// While a test runs, nobody asks for anything.
/// There are clients that send it behind the head, in another packet.
fn a_body_that_nobody_wants_costs_no_lease(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    client.post("/v1/leases", &json!({"note": "goes on"})).expect(201);
    let other = client.post("/v1/leases", &json!({"note": "ends"})).expect(201);
    let token = client.token.clone().expect("a token");
    let long = "x".repeat(1 << 20);
    for (method, path, body, status) in [
        ("DELETE", format!("/v1/leases/{}", text(&other["id"])), "{}", 204),
        ("PUT", "/v1/templates/sqlite/none".to_owned(), "{}", 404),
        ("POST", "/v1/nothing".to_owned(), "{}", 404),
        ("PATCH", "/v1/leases".to_owned(), "{}", 405),
        ("POST", "/v1/leases".to_owned(), &long, 413),
    ] {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: broker\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        client.send(head.as_bytes());
        // Whoever answers the head alone has done so by then.
        std::thread::sleep(Duration::from_millis(100));
        client.send(body.as_bytes());
        assert_eq!(client.answer().expect("an answer").status, status, "{method} {path}");
        client.get("/v1/status").expect(200);
        assert_eq!(broker.leased(), ["goes on"], "{method} {path}");
    }
}

#[test]
fn a_connection_that_waits_is_not_closed() {
    let broker = Broker::of(Engine::Sqlite);
    let mut client = broker.client();
    client.post("/v1/leases", &json!({"note": "long"})).expect(201);
    // As long as strangers may stay, and longer: this one comes later.
    let mut stranger = broker.client();
    stranger.send(b"GET /v1/status HTTP/1.1\r\n");
    assert!(stranger.answer().is_none(), "it was closed");
    assert_eq!(broker.leased(), ["long"]);
    client.get("/v1/status").expect(200);
}

/// As those send it that have a connection for each request: `file_get_contents` of PHP, `urllib` of Python, `Net::HTTP.post` of Ruby.
#[test]
fn a_lease_that_would_end_with_the_answer_is_refused() {
    let broker = Broker::of(Engine::Sqlite);
    let ask = |path: &str, version: &str, header: &str, body: &str| {
        let mut client = broker.client();
        let (token, length) = (&broker.token, body.len());
        client.send(
            format!(
                "POST {path} HTTP/{version}\r\nhost: b\r\nauthorization: Bearer {token}\r\n{header}content-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        );
        (client.answer().expect("an answer"), client)
    };
    for (version, header) in [
        ("1.1", "Connection: close\r\n"),
        ("1.1", "connection: TE, Close\r\n"),
        ("1.0", ""),
        ("1.0", "connection: te\r\n"),
    ] {
        let refusal = ask("/v1/leases", version, header, r#"{"note": "lost"}"#).0.expect(400);
        assert_eq!(
            refusal,
            json!({
                "error": "the request closes its connection, and the lease would end with that",
                "hint": "leave the connection open for as long as the database is in use, or take the lease with `\"hold\": \"until_given_back\"`",
            }),
            "{version} {header:?}"
        );
        let held = ask("/v1/leases", version, header, r#"{"note": "held", "hold": "until_given_back"}"#).0.expect(201);
        assert_eq!(broker.leased(), ["held"], "{version} {header:?}");
        broker.client().delete(&format!("/v1/leases/{}", text(&held["id"]))).expect(204);
        let refusal = ask("/v1/templates", version, header, r#"{"hash": "of one"}"#).0.expect(400);
        assert_eq!(
            refusal,
            json!({
                "error": "the request closes its connection, and the template, which is empty, would be discarded with that",
                "hint": "leave the connection open until the template is filled",
            }),
            "{version} {header:?}"
        );
    }
    let (answer, client) = ask("/v1/leases", "1.0", "connection: Keep-Alive\r\n", r#"{"note": "kept"}"#);
    answer.expect(201);
    assert_eq!(broker.leased(), ["kept"]);
    drop(client);
    // One that is there is told of to anybody.
    let mut client = broker.client();
    client.post("/v1/templates", &json!({"hash": "of one"})).expect(201);
    client.put("/v1/templates/sqlite/of%20one").expect(204);
    let answer = ask("/v1/templates", "1.1", "connection: close\r\n", r#"{"hash": "of one"}"#).0;
    assert_eq!(answer.expect(200), json!({"state": "ready"}));
}

/// Clients that open a new connection of their own accord are told that it is their doing.
#[test]
fn who_has_lost_a_lease_with_its_connection_is_told_so() {
    let broker = Broker::of(Engine::Sqlite);
    let mut owner = broker.client();
    let lost = text(&owner.post("/v1/leases", &json!({"note": "lost"})).expect(201)["id"]);
    drop(owner);
    eventually("it is back", || broker.leased().is_empty());
    let mut client = broker.client();
    let ended = json!({
        "error": format!("lease {lost} has ended, for the connection over which it was taken was closed"),
        "hint": "leave that open for as long as the database is in use, or take the lease with `\"hold\": \"until_given_back\"`",
    });
    for (method, path, body) in [
        ("DELETE", "", ""),
        ("DELETE", "", ""),
        ("GET", "/sessions", ""),
        ("GET", "/changes", ""),
        ("PUT", "/outcome", r#"{"outcome": "failed"}"#),
    ] {
        assert_eq!(client.ask(method, &format!("/v1/leases/{lost}{path}"), body).expect(404), ended, "{method} {path}");
    }
    // It says nothing of those that were given back, or never were.
    let given_back = text(&client.post("/v1/leases", &json!({})).expect(201)["id"]);
    client.delete(&format!("/v1/leases/{given_back}")).expect(204);
    for id in [&*given_back, "99"] {
        let refusal = client.delete(&format!("/v1/leases/{id}")).expect(404);
        assert_eq!(refusal, json!({"error": "there is no such lease, or it has ended"}), "{id}");
    }
}

fn a_lease_may_outlive_its_connection(engine: Engine) {
    let broker = Broker::of(engine);
    let wanted = json!({"note": "held", "hold": "until_given_back"});
    let id = text(&broker.client().post("/v1/leases", &wanted).expect(201)["id"]);
    let mut other = broker.client();
    other.post("/v1/leases", &json!({"note": "not"})).expect(201);
    drop(other);
    eventually("the other one is back", || broker.leased() == ["held"]);
    broker.client().delete(&format!("/v1/leases/{id}")).expect(204);
    assert!(broker.leased().is_empty());
}

fn anybody_may_give_a_lease_back(engine: Engine) {
    let broker = Broker::of(engine);
    let mut owner = broker.client();
    let lease = owner.post("/v1/leases", &json!({})).expect(201);
    let path = format!("/v1/leases/{}", text(&lease["id"]));
    let report = broker.local_client().delete(&format!("{path}?keep=true&wait=true")).expect(200);
    assert_eq!(report["kept"], true);
    for _ in 0..2 {
        owner.delete(&path).expect(404);
    }
    // As it was left, and nobody's.
    assert_eq!(sql::rows(&text(&lease["url"]), "tags"), None);
}

fn nobody_gets_what_another_has(engine: Engine) {
    let broker = Broker::of(engine);
    let databases = std::thread::scope(|scope| {
        let take = |number: usize| {
            let mut client = if number.is_multiple_of(2) { broker.client() } else { broker.local_client() };
            let lease = client.post("/v1/leases", &json!({"note": number.to_string()})).expect(201);
            (client, text(&lease["url"]))
        };
        let taken: Vec<_> = (0..8).map(|number| scope.spawn(move || take(number))).collect();
        let taken: Vec<_> = taken.into_iter().map(|taken| taken.join().expect("a lease")).collect();
        assert_eq!(broker.leased().len(), 8);
        taken.into_iter().map(|(_, database)| database).collect::<std::collections::HashSet<_>>()
    });
    assert_eq!(databases.len(), 8);
}

fn where_it_is_is_told_in_parts(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    let lease = client.post("/v1/leases", &json!({"engine": engine.name()})).expect(201);
    assert_eq!(lease["engine"], engine.name());
    assert!(lease["connections"].as_u64().is_some_and(|connections| connections > 0), "{lease}");
    assert!(lease["waited_ms"].as_f64().is_some_and(|waited| waited >= 0.0), "{lease}");
    let url = text(&lease["url"]);
    if engine == Engine::Sqlite {
        assert_eq!(format!("sqlite://{}", text(&lease["path"])), url);
        assert!(lease.get("host").is_none(), "{lease}");
    } else {
        let part = |name: &str| text(&lease[name]);
        let expected =
            format!("{}:{}@{}:{}/{}", part("user"), part("password"), part("host"), lease["port"], part("database"));
        assert!(url.ends_with(&expected), "{url} is not of {expected}");
    }
    let status = client.get("/v1/status").expect(200);
    assert!(
        !status
            .to_string()
            .contains(lease.get("password").map_or("no password", |password| password.as_str().expect("text")))
    );
}

/// A server of yours, whose URL names its socket; what stands before the parameters is nobody's address.
fn by_a_socket_it_is_told_where_that_is(engine: Engine) {
    let place = tempfile::tempdir().expect("a directory");
    // Servers that root starts belong to another user.
    std::fs::set_permissions(place.path(), Permissions::from_mode(0o777)).expect("permissions");
    let variable = format!("FRESHDB_{}_URL", engine.name().to_uppercase());
    let environment = [("FRESHDB_RUN_DIR", place.path().to_str().expect("text")), (&*variable, "")];
    let private = Broker::in_environment(engine, &[], &environment);
    let by_tcp = private.client().post("/v1/leases", &json!({})).expect(201);
    let socket = sockets(place.path(), engine).pop().expect("it has one");
    let (password, port) = (text(&by_tcp["password"]), &by_tcp["port"]);
    let url = match engine {
        Engine::Postgres => {
            let directory = socket.parent().expect("a directory").display();
            format!("postgres://postgres:{password}@freshdb.invalid:1/postgres?host={directory}&port={port}")
        }
        _ => format!("{}://root:{password}@freshdb.invalid:1/?socket={}", engine.name(), socket.display()),
    };
    let broker = Broker::in_environment(engine, &[], &[(&variable, &url)]);
    let mut client = broker.client();
    let lease = client.post("/v1/leases", &json!({})).expect(201);
    if engine == Engine::Postgres {
        assert_eq!((lease["host"].as_str(), &lease["port"]), (socket.parent().and_then(|path| path.to_str()), port));
        assert!(lease["socket"].is_null(), "{lease}");
    } else {
        assert_eq!(lease["socket"].as_str(), socket.to_str());
        assert!(lease["host"].is_null() && lease["port"].is_null(), "{lease}");
    }
    assert_eq!(lease["password"], by_tcp["password"]);
}

/// Those of servers.
fn sockets(place: &Path, engine: Engine) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).expect("a directory").map(|entry| entry.expect("it is there")) {
        let kind = entry.file_type().expect("it is there");
        let name = entry.file_name().into_string().expect("text");
        if kind.is_dir() {
            found.extend(sockets(&entry.path(), engine));
        } else if kind.is_socket() && name != "broker.sock" && (engine != Engine::Mysql || !name.starts_with("mysqlx"))
        {
            found.push(entry.path());
        }
    }
    found
}

fn what_cannot_be_leased(engine: Engine) {
    let broker = Broker::of(engine);
    let mut client = broker.client();
    for (wanted, status, said) in [
        (json!({"engine": "oracle"}), 400, "no engine `oracle`"),
        (json!({"engine": 1}), 400, "expected a string"),
        (json!({"engines": "mysql"}), 400, "unknown field `engines`"),
        (json!({"hold": "for ever"}), 400, "unknown variant"),
        (json!({"note": "x".repeat(1001)}), 400, "more than 1000 bytes"),
        (json!({"template": "nobody's"}), 404, "no such template"),
        (json!([1]), 400, "invalid"),
    ] {
        let refusal = client.post("/v1/leases", &wanted).expect(status);
        assert!(text(&refusal["error"]).contains(said), "{wanted}: {refusal}");
    }
    for path in ["/v1/leases/1", "/v1/leases/x", "/v1/leases/-1", "/v1/leases/99999999999999999999999"] {
        client.delete(path).expect(404);
    }
    client.delete("/v1/leases/1?wait=maybe").expect(400);
    client.get("/v1/leases").expect(405);
    client.get("/nothing").expect(404);
    assert!(broker.leased().is_empty());
}
