//! Databases of the broker in Rust: by freshdb-databases, and by `#[freshdb::test]`, which takes them by itself.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use freshdb::test::{Case, run};
use freshdb_databases::broker::{self, Outcome, Template};
use freshdb_databases::schema::{self, Schema};
use freshdb_databases::{Config, Kind, Target};
use futures_executor::block_on;
use serde_json::{Value, json};
use test_support::Engine;

use crate::harness::{Broker, eventually, sql};

on_every_engine!(
    a_template_is_made_once_and_its_databases_are_pristine,
    a_lease_ends_with_whoever_has_it,
    a_schema_that_fails_is_told_to_each,
    tests_take_databases_by_themselves,
    a_failed_test_that_left_much_open_has_failed,
);

on_every_engine!(
    [mysql, mariadb, postgres]
    who_is_connected_is_told,
    sessions_stay_for_their_own_process_alone,
);

fn kind(engine: Engine) -> Kind {
    Kind::ALL.into_iter().find(|kind| kind.name() == engine.name()).expect("a kind")
}

/// As another process has it.
fn client(broker: &Broker) -> broker::Broker {
    let config = Config::from_env().expect("a configuration").with_broker(&broker.socket, &broker.token);
    broker::Broker::of(&config).expect("a broker")
}

fn tables() -> Arc<dyn Schema> {
    Arc::new(schema::sql("CREATE TABLE words (word VARCHAR(20)); INSERT INTO words VALUES ('seed')"))
}

fn template(client: &broker::Broker, engine: Engine) -> Template {
    block_on(client.template(kind(engine), tables())).expect("a template")
}

fn lease(template: &Template) -> broker::Lease {
    block_on(template.lease("a test")).expect("a lease")
}

fn a_template_is_made_once_and_its_databases_are_pristine(engine: Engine) {
    let broker = Broker::of(engine);
    let made = Arc::new(AtomicU32::new(0));
    // On a server that outlives this, an earlier run's would be found.
    let version = format!("counted {:016x}", fastrand::u64(..));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (client, made, version) = (client(&broker), made.clone(), version.clone());
            std::thread::spawn(move || {
                assert!(block_on(client.has(kind(engine))).expect("an answer"));
                let schema = schema::from_fn(version, move |target: Target| {
                    made.fetch_add(1, Ordering::SeqCst);
                    async move { tables().apply(&target).await }
                });
                let template = block_on(client.template(kind(engine), Arc::new(schema))).expect("a template");
                for _ in 0..5 {
                    let lease = lease(&template);
                    assert_eq!(lease.url().kind(), kind(engine));
                    let url = lease.url().reveal();
                    assert_eq!(sql::rows(&url, "words"), Some(1));
                    sql::execute(&url, "INSERT INTO words VALUES ('more')");
                    assert_eq!(sql::rows(&url, "words"), Some(2));
                    block_on(lease.give_back(Outcome::Passed)).expect("given back");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
    let other = if engine == Engine::Sqlite { Kind::Mysql } else { Kind::Sqlite };
    assert!(!block_on(client(&broker).has(other)).expect("an answer"));
}

fn a_lease_ends_with_whoever_has_it(engine: Engine) {
    let broker = Broker::of(engine);
    let template = template(&client(&broker), engine);
    let leases = [lease(&template), lease(&template)];
    assert_ne!(leases[0].name(), leases[1].name());
    assert_eq!(broker.leased(), ["a test", "a test"]);
    drop(leases);
    eventually("they are back", || broker.leased().is_empty());

    let left = lease(&template);
    drop(broker);
    let error = block_on(left.give_back(Outcome::Passed)).expect_err("there is no broker").to_string();
    assert!(error.contains("the connection to the broker was lost"), "{error}");
    let error = format!("{:?}", block_on(template.lease("late")).expect_err("there is no broker"));
    assert!(error.contains("FRESHDB_BROKER") && error.contains("freshdb run"), "{error}");
}

fn a_schema_that_fails_is_told_to_each(engine: Engine) {
    let broker = Broker::of(engine);
    for client in [client(&broker), client(&broker)] {
        let wrong = Arc::new(schema::sql("CREATE TABLE words (word;"));
        let error = format!("{:?}", block_on(client.template(kind(engine), wrong)).expect_err("it is wrong"));
        assert!(error.contains("the schema could not be applied"), "{error}");
        assert!(!error.contains(&broker.token), "{error}");
        // It is of use still.
        drop(lease(&template(&client, engine)));
    }
    let config = Config::from_env().expect("a configuration").with_broker(&broker.socket, "another token");
    let stranger = broker::Broker::of(&config).expect("a broker");
    let error = block_on(stranger.has(kind(engine))).expect_err("it is a stranger").to_string();
    assert!(error.contains("the token is missing, or is another one"), "{error}");
}

/// A connection, and the server's number for it.
async fn connection(url: &str) -> (test_support::Client, u64) {
    let mut client = test_support::Client::connect(url).await;
    let session = client.session().await;
    (client, session)
}

fn who_is_connected_is_told(engine: Engine) {
    let broker = Broker::of(engine);
    let lease = lease(&template(&client(&broker), engine));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (other, id) = connection(&lease.url().reveal()).await;
        let sessions = lease.sessions().await.expect("an answer");
        let here = sessions.iter().filter(|session| session.database.as_deref() == Some(lease.name()));
        assert_eq!(here.map(|session| session.id).collect::<Vec<_>>(), [id], "{sessions:?}");
        other.close().await;
    });
}

fn sessions_stay_for_their_own_process_alone(engine: Engine) {
    let broker = Broker::of(engine);
    let (own, other) = (client(&broker), client(&broker));
    let (own, other) = (template(&own, engine), template(&other, engine));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // One database, so that whoever comes next has it.
    runtime.block_on(async {
        let first = own.lease("first").await.expect("a lease");
        let name = first.name().to_owned();
        let (mut session, id) = connection(&first.url().reveal()).await;
        session.have_it_counted().await;
        assert_eq!(first.give_back_with(Outcome::Passed, &[id]).await.expect("given back"), None);
        let again = own.lease("again").await.expect("a lease");
        assert_eq!(again.name(), name, "the database that was put back last");
        assert_eq!(session.number("SELECT COUNT(*) FROM words").await, 1, "it is connected still");
        session.have_it_counted().await;
        assert_eq!(again.give_back_with(Outcome::Passed, &[id]).await.expect("given back"), None);

        // Of whatever database the other one gets, nobody else is on it.
        let others = other.lease("other").await.expect("a lease");
        let sessions = others.sessions().await.expect("an answer");
        assert!(sessions.iter().all(|session| session.database.as_deref() != Some(others.name())), "{sessions:?}");
        others.give_back(Outcome::Passed).await.expect("given back");
    });
}

/// More than a request may have, in many texts and in one.
fn a_failed_test_that_left_much_open_has_failed(engine: Engine) {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("report.html");
    run_child(engine, directory.path(), &report, "rust::tests_that_leave_much_open");
    let leases = leases_of(&report);
    let of = |name: &str| leases.iter().map(|lease| lease[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("outcome"), [json!("failed"), json!("failed"), json!("failed")]);
    for lease in &leases {
        let failure = lease["failure"].as_str().expect("a failure");
        assert!(failure.starts_with("it is not so") && failure.ends_with('…'), "{failure}");
        assert!(lease["wrote"].as_str().is_some_and(|wrote| wrote.ends_with(": 1 inserted")), "{lease}");
    }
    let last = |lease: &Value| {
        let leaks = lease["leaks"].as_array().expect("leaks");
        leaks.iter().filter_map(Value::as_str).rfind(|leak| leak.contains(" more")).expect("a number").to_owned()
    };
    // As many as there are, whatever fits.
    let told = leases[0]["leaks"].as_array().map_or(0, Vec::len);
    let more: usize = last(&leases[0]).split(' ').nth(1).and_then(|more| more.parse().ok()).expect("a number");
    assert!((370..400).contains(&more) && told + more >= 401, "{told} and {more}");
    assert_eq!(last(&leases[1]), "and 351 more");
    let text = last(&leases[2]);
    let (lines, more) = (text.lines().count() - 1, text.lines().last().expect("a line"));
    assert_eq!(more, format!("  and {} more lines", 1000 - lines));
}

/// The tests above, under `freshdb run`.
#[test]
#[ignore = "run by the test above, under `freshdb run`"]
fn tests_that_leave_much_open() {
    let (config, kind) = (Config::from_env().expect("a configuration"), child_kind());
    let client = broker::Broker::of(&config).expect("a broker");
    let template = block_on(client.template(kind, tables())).expect("a template");
    let long = (0..400).map(|number| format!("{number} {}", "\u{1}é\u{10ffff}".repeat(1000))).collect();
    let many = (0..400).map(|number| format!("session {number}")).collect();
    let lines = vec![(0..1000).map(|number| format!("session {number}")).collect::<Vec<_>>().join("\n")];
    for leaks in [long, many, lines] {
        let lease = lease(&template);
        sql::execute(&lease.url().reveal(), "INSERT INTO words VALUES ('wrong')");
        let failure = format!("it is not so{}", "\u{1}".repeat(100_000));
        let wrote = block_on(lease.tell_failure(&failure, &leaks)).expect("it is heard");
        assert!(wrote.is_some_and(|wrote| wrote.ends_with(": 1 inserted")));
        block_on(lease.give_back(Outcome::Failed)).expect("given back");
    }
}

const CHILD: &str = "FRESHDB_TEST_CHILD_ENGINE";

fn child_kind() -> Kind {
    let engine = std::env::var(CHILD).expect("it is set");
    Kind::ALL.into_iter().find(|kind| kind.name() == engine).expect("a kind")
}

/// Runs one of this program's tests under `freshdb run`.
fn run_child(engine: Engine, cache: &Path, report: &Path, test: &str) {
    let child = std::env::current_exe().expect("this program");
    let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["run", "--quiet", &format!("--{}", engine.name()), "--report"])
        .arg(report)
        .arg("--")
        .arg(child)
        .args(["--ignored", "--exact", test])
        .env(CHILD, engine.name())
        .env("FRESHDB_CACHE_DIR", cache)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What a user has: tests that know nothing of any broker.
#[test]
#[ignore = "run by the test below, under `freshdb run`"]
fn tests_of_a_user() {
    let kind = child_kind();
    for name in ["first", "second"] {
        let schema = || schema::sql("CREATE TABLE words (word VARCHAR(20))");
        run(Case::new(name, kind), schema, async |lease: freshdb::test::Lease| {
            let mut client = test_support::Client::connect(&lease.url().reveal()).await;
            assert_eq!(client.number("SELECT COUNT(*) FROM words").await, 0);
            client.execute("INSERT INTO words VALUES ('mine')").await;
            client.close().await;
        });
    }
    let failing = std::panic::catch_unwind(|| {
        let schema = || schema::sql("CREATE TABLE words (word VARCHAR(20))");
        run(Case::new("third", kind), schema, async |lease: freshdb::test::Lease| {
            let mut client = test_support::Client::connect(&lease.url().reveal()).await;
            client.execute("INSERT INTO words VALUES ('wrong')").await;
            client.close().await;
            Err::<(), _>("it is not so".to_owned())
        });
    });
    assert!(failing.is_err());
}

fn tests_take_databases_by_themselves(engine: Engine) {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("report.html");
    run_child(engine, directory.path(), &report, "rust::tests_of_a_user");
    let leases = leases_of(&report);
    let of = |name: &str| leases.iter().map(|lease| lease[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("note"), [json!("first"), json!("second"), json!("third")]);
    assert_eq!(of("outcome"), [json!("passed"), json!("passed"), json!("failed")]);
    assert!(leases[0]["wrote"].is_null());
    assert!(leases[2]["wrote"].as_str().is_some_and(|wrote| wrote.ends_with(": 1 inserted")), "{}", leases[2]);
    assert_eq!(leases[2]["failure"], r#"it failed: "it is not so""#);
    let changes = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["diff", "--json", "third"])
        .env("FRESHDB_CACHE_DIR", directory.path())
        .output()
        .expect("it runs");
    let changes: Value = serde_json::from_slice(&changes.stdout).expect("JSON");
    assert_eq!(changes["tables"][0]["inserted"], 1, "{changes}");
}

fn leases_of(report: &Path) -> Vec<Value> {
    let page = std::fs::read_to_string(report).expect("a report");
    let (_, rest) = page.split_once(r#"id="data">"#).expect("the data");
    let data: Value = serde_json::from_str(rest.split_once("</script>").expect("their end").0).expect("JSON");
    data["leases"].as_array().expect("leases").clone()
}
