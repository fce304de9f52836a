//! How a test ended, what it did to its database, and the report of a run.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use test_support::Engine;

use crate::harness::{Broker, eventually, sql, text};

on_every_engine!(
    what_a_failed_test_did_is_told_and_written_down,
    what_has_changed_looks_changed,
    no_comparison_is_taken_for_somebody_who_is_connected,
    a_report_has_every_lease,
);

const SCHEMA: &str = "CREATE TABLE tags (name VARCHAR(20) PRIMARY KEY, uses INTEGER); \
    INSERT INTO tags VALUES ('seed', 1), ('other', 2);";

fn schema() -> tempfile::NamedTempFile {
    let schema = tempfile::NamedTempFile::with_suffix(".sql").expect("a file");
    std::fs::write(&schema, SCHEMA).expect("written");
    schema
}

fn command(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshdb"));
    command.args(arguments).env("FRESHDB_CACHE_DIR", cache);
    command
}

fn freshdb(cache: &Path, arguments: &[&str]) -> Output {
    command(cache, arguments).output().expect("it runs")
}

/// As a person sees it, without what differs from run to run.
fn shown(cache: &Path, arguments: &[&str], database: &str) -> String {
    let output = freshdb(cache, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text").replace(database, "DATABASE");
    // Each engine writes a table's name in its own way.
    let text = text.replace("`tags`", "tags").replace("public.tags", "tags").replace('\'', "");
    let (before, rest) = text.split_once(", ").expect("an age");
    let (_, rest) = rest.split_once(" ago").expect("an age");
    format!("{before}{rest}")
}

/// As in a container whose user has no directory to write to.
#[test]
fn what_cannot_be_written_down_is_told_all_the_same() {
    let schema = schema();
    let arguments = ["--schema", schema.path().to_str().expect("text")];
    let broker = Broker::in_environment(Engine::Sqlite, &arguments, &[("FRESHDB_CACHE_DIR", "/dev/null/cache")]);
    let mut client = broker.client();
    let lease = client.post("/v1/leases", &json!({})).expect(201);
    sql::execute(&text(&lease["url"]), "DELETE FROM tags");
    let path = format!("/v1/leases/{}/outcome", text(&lease["id"]));
    let refusal = client.ask("PUT", &path, r#"{"outcome": "failed"}"#).expect(503);
    let told = text(&refusal["error"]);
    assert!(told.starts_with("failed to write `/dev/null/cache/"), "{told}");
    assert!(told.ends_with("\n  what was to be written: tags: 2 deleted"), "{told}");
    assert_eq!(refusal["hint"], "set FRESHDB_CACHE_DIR to a directory that can be written");
}

fn what_a_failed_test_did_is_told_and_written_down(engine: Engine) {
    let (schema, cache) = (schema(), tempfile::tempdir().expect("a directory"));
    let environment = [("FRESHDB_CACHE_DIR", cache.path().to_str().expect("text"))];
    let broker = Broker::in_environment(engine, &["--schema", schema.path().to_str().expect("text")], &environment);
    let mut client = broker.client();
    let lease = client.post("/v1/leases", &json!({"note": "tests::a_failure"})).expect(201);
    let (id, url) = (text(&lease["id"]), text(&lease["url"]));
    let path = format!("/v1/leases/{id}");
    assert_eq!(client.get(&format!("{path}/changes")).expect(200)["tables"], json!([]));
    sql::execute(&url, "INSERT INTO tags VALUES ('new\u{7}', NULL)");
    sql::execute(&url, "UPDATE tags SET uses = 20 WHERE name = 'other'; DELETE FROM tags WHERE name = 'seed'");

    let changes = client.get(&format!("{path}/changes")).expect(200);
    let table = &changes["tables"][0];
    assert_eq!(
        (&table["inserted"], &table["changed"], &table["deleted"]),
        (&json!(1), &json!(1), &json!(1)),
        "{changes}"
    );
    assert_eq!(changes["note"], "tests::a_failure");
    let told = client
        .ask("PUT", &format!("{path}/outcome"), r#"{"outcome": "failed", "failure": "it is not so"}"#)
        .expect(200);
    assert!(
        text(&told["changes"]).ends_with("tags: 1 inserted, 1 changed, 1 deleted")
            || text(&told["changes"]).ends_with("`tags`: 1 inserted, 1 changed, 1 deleted"),
        "{told}"
    );
    // One that passed is not compared.
    assert_eq!(
        client.ask("PUT", &format!("{path}/outcome"), r#"{"outcome": "passed"}"#).expect(200),
        json!({"changes": null})
    );
    for wrong in ["", "{}", r#"{"outcome": "lost"}"#, r#"{"outcome": "failed", "leaks": 1}"#] {
        client.ask("PUT", &format!("{path}/outcome"), wrong).expect(400);
    }
    let refusal =
        client.ask("PUT", &format!("{path}/outcome"), r#"{"outcome": "failed", "reason": "none"}"#).expect(400);
    assert!(text(&refusal["error"]).contains("unknown field `reason`"), "{refusal}");
    client.delete(&format!("{path}?staying=x")).expect(400);
    client.delete(&format!("{path}?outcome=lost")).expect(400);
    client.delete(&format!("{path}?wait=true&outcome=failed")).expect(200);
    client.ask("PUT", &format!("{path}/outcome"), r#"{"outcome": "failed"}"#).expect(404);
    client.get(&format!("{path}/changes")).expect(404);
    client.get("/v1/leases/x/changes").expect(404);
    let name = text(&changes["database"]);
    let kept = client.post("/v1/leases", &json!({"note": "kept"})).expect(201);
    sql::execute(&text(&kept["url"]), "DELETE FROM tags");
    client.delete(&format!("/v1/leases/{}?keep=true&wait=true", text(&kept["id"]))).expect(200);
    drop(client);
    drop(broker);

    // The database is put back, or gone with its server, and what was done to it can be looked at.
    let expected = format!(
        "tests::a_failure\nDATABASE of {}\n\ntags: 1 inserted, 1 changed, 1 deleted\n      name     uses\n  + new\\u{{7}}   NULL\n  ~ other    2 → 20\n  - seed        1\n",
        engine.name()
    );
    // The control character stands in quotes on SQLite alone, and is a character wider or not.
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for arguments in [&["diff"][..], &["diff", "a_failure"], &["diff", &name]] {
        assert_eq!(squeeze(&shown(cache.path(), arguments, &name)), squeeze(&expected), "{arguments:?}");
    }
    let less = shown(cache.path(), &["diff", "--rows", "1"], &name);
    assert!(less.contains("and 2 more; --rows shows more"), "{less}");
    let document: Value = serde_json::from_slice(&freshdb(cache.path(), &["diff", "--json"]).stdout).expect("JSON");
    assert_eq!(document["tables"], changes["tables"]);
    let listed = shown(cache.path(), &["diff", "--list"], &name);
    assert!(
        listed.starts_with("tests::a_failure\n  DATABASE of") && listed.ends_with("1 inserted, 1 changed, 1 deleted\n"),
        "{listed}"
    );
    // Kept on a server that is still there; SQLite's files went with the broker.
    if let Some(kept) = kept["database"].as_str() {
        let nothing_stored = tempfile::tempdir().expect("a directory");
        // It is looked for on each, whether the others can be reached or not.
        let others = [
            ("mysql", "FRESHDB_MYSQL_URL", "mysql://root@127.0.0.1:1"),
            ("postgres", "FRESHDB_POSTGRES_URL", "postgres://postgres@127.0.0.1:1"),
        ];
        let others = others.into_iter().filter(|(other, ..)| *other != engine.name());
        let kept = command(nothing_stored.path(), &["diff", "--json", kept])
            .envs(others.map(|(_, variable, url)| (variable, url)))
            .output()
            .expect("it runs");
        let kept: Value = serde_json::from_slice(&kept.stdout).expect("JSON");
        assert_eq!((&kept["note"], &kept["tables"][0]["deleted"]), (&json!("kept"), &json!(2)), "{kept}");
    }
    let missing = freshdb(cache.path(), &["diff", "no such test"]);
    assert_eq!((missing.status.code(), missing.stdout.len()), (Some(1), 0));
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(!said.contains('\u{7}'));
    // `--list` does not have what was kept.
    assert!(said.contains("a database that was kept is found by its whole name"), "{said}");
}

fn what_has_changed_looks_changed(engine: Engine) {
    let long = |end: &str| format!("'{}{end}'", "a".repeat(5000));
    let middle = |end: &str| format!("'{}{end}{}'", "b".repeat(60), "c".repeat(200));
    let (before, after) = ([long("x"), long("y")], [middle("x"), middle("y")]);
    let values = [
        ["NULL", "'NULL'"],
        ["'a'", "''"],
        ["'a'", "'a '"],
        ["'a b'", "'a  b'"],
        [&before[0], &before[1]],
        [&after[0], &after[1]],
        ["'a'", &before[0]],
    ];
    let schema = tempfile::NamedTempFile::with_suffix(".sql").expect("a file");
    let inserts =
        values.iter().enumerate().map(|(id, [before, _])| format!("INSERT INTO words VALUES ({id}, {before});"));
    let tables = format!(
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT); {}\nCREATE TABLE keyless (word TEXT);\n\
         INSERT INTO keyless VALUES ({});",
        inserts.collect::<String>(),
        before[0]
    );
    std::fs::write(schema.path(), tables).expect("written");
    let cache = tempfile::tempdir().expect("a directory");
    let environment = [("FRESHDB_CACHE_DIR", cache.path().to_str().expect("text"))];
    let broker = Broker::in_environment(engine, &["--schema", schema.path().to_str().expect("text")], &environment);
    let mut client = broker.client();
    let lease = client.post("/v1/leases", &json!({"note": "changed"})).expect(201);
    let url = text(&lease["url"]);
    for (id, [_, after]) in values.iter().enumerate() {
        sql::execute(&url, &format!("UPDATE words SET word = {after} WHERE id = {id}"));
    }
    sql::execute(&url, &format!("UPDATE keyless SET word = {}", before[1]));
    client.ask("PUT", &format!("/v1/leases/{}/outcome", text(&lease["id"])), r#"{"outcome": "failed"}"#).expect(200);

    let document: Value = serde_json::from_slice(&freshdb(cache.path(), &["diff", "--json"]).stdout).expect("JSON");
    let tables = document["tables"].as_array().expect("tables");
    let rows = |name: &str| {
        let table = tables.iter().find(|table| text(&table["table"]).contains(name)).expect("it has changed");
        table["rows"].as_array().expect("rows").clone()
    };
    let (words, keyless) = (rows("words"), rows("keyless"));
    assert_eq!(words.len(), values.len(), "{document}");
    for (id, row) in words.iter().enumerate() {
        assert_ne!(row["before"][1], row["after"][1], "{row}");
        let is_cut = [4, 6].contains(&id);
        assert_eq!(row["cut"], if is_cut { json!(["word"]) } else { Value::Null }, "{row}");
    }
    let after = text(&words[4]["after"][1]);
    assert!(after.starts_with('…') && after.contains("ay") && after.contains(" characters, SHA-256 "), "{after}");
    assert_eq!(keyless.len(), 2, "{keyless:?}");
    let side = |row: &Value| if row["before"].is_null() { text(&row["after"][0]) } else { text(&row["before"][0]) };
    assert_ne!(side(&keyless[0]), side(&keyless[1]));

    let shown = String::from_utf8(freshdb(cache.path(), &["diff"]).stdout).expect("text");
    for expected in ["NULL → 'NULL'", "'a' → ''", "'a' → 'a '", "a b", "a  b"] {
        assert!(shown.contains(expected), "{expected} is not in {shown}");
    }
    for line in shown.lines().filter(|line| line.contains('→')) {
        let (before, after) = line.split_once(" → ").expect("a change");
        // The first column is the key.
        let before = before.trim().split_once(char::is_whitespace).expect("a sign").1.trim();
        let before = before.split_once(char::is_whitespace).expect("a key").1.trim();
        assert_ne!(before, after, "{shown}");
        assert!(line.chars().count() < 200, "{line}");
    }
    let unpaired: Vec<&str> =
        shown.lines().filter(|line| line.starts_with("  + ") || line.starts_with("  - ")).collect();
    assert!(unpaired.len() == 2 && unpaired[0][4..] != unpaired[1][4..], "{shown}");
}

/// While one compares, and when it has been done.
fn no_comparison_is_taken_for_somebody_who_is_connected(engine: Engine) {
    let (schema, cache) = (schema(), tempfile::tempdir().expect("a directory"));
    let environment = [("FRESHDB_CACHE_DIR", cache.path().to_str().expect("text"))];
    let broker = Broker::in_environment(engine, &["--schema", schema.path().to_str().expect("text")], &environment);
    let (mut client, mut other) = (broker.client(), broker.client());
    for _ in 0..20 {
        let lease = client.post("/v1/leases", &json!({})).expect(201);
        sql::execute(&text(&lease["url"]), "DELETE FROM tags");
        let path = format!("/v1/leases/{}", text(&lease["id"]));
        // The server may still see whoever wrote.
        eventually("nobody is connected", || client.get(&format!("{path}/sessions")).expect(200) == json!([]));
        client.begin("PUT", &format!("{path}/outcome"), r#"{"outcome": "failed"}"#);
        for _ in 0..10 {
            assert_eq!(other.get(&format!("{path}/sessions")).expect(200), json!([]), "meanwhile");
        }
        client.answer().expect("an answer").expect(200);
        let report = client.delete(&format!("{path}?wait=true")).expect(200);
        assert_eq!(report["sessions"], json!([]), "{report}");
    }
}

/// Asks the broker as any client would.
const ASK: &str = r#"
import http.client, json, os
broker = http.client.HTTPConnection(os.environ["FRESHDB_BROKER_URL"].removeprefix("http://"))
def ask(method, path, body=None):
    headers = {"authorization": "Bearer " + os.environ["FRESHDB_BROKER_TOKEN"], "content-type": "application/json"}
    broker.request(method, path, body=json.dumps(body) if body else None, headers=headers)
    answer = broker.getresponse()
    text = answer.read()
    assert answer.status < 300, text
    return json.loads(text or "null")
"#;

fn a_report_has_every_lease(engine: Engine) {
    let (schema, directory) = (schema(), tempfile::tempdir().expect("a directory"));
    let report = directory.path().join("report.html");
    let script = r#"
first, second, third = (ask("POST", "/v1/leases", {"note": note})["id"] for note in ["</script>first", "second", "third"])
ask("PUT", f"/v1/leases/{first}/outcome",
    {"outcome": "failed", "failure": "it <b>is not</b> so", "connect_ms": 0.001, "close_ms": 1e9, "leaks": ["a task"]})
ask("DELETE", f"/v1/leases/{first}?wait=true")
ask("DELETE", f"/v1/leases/{second}?outcome=passed")
# The third ends with the connection, and the fourth with the run.
ask("POST", "/v1/leases", {"note": "fourth", "hold": "until_given_back"})
"#;
    let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["run", &format!("--{}", engine.name()), "--schema", schema.path().to_str().expect("text"), "--report"])
        .arg(&report)
        .args(["--", "python3", "-c", &format!("{ASK}{script}")])
        .env("FRESHDB_CACHE_DIR", directory.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("freshdb: the report is `"), "{said}");
    let data = data_of(&report);
    let leases = data["leases"].as_array().expect("leases");
    let of = |name: &str| leases.iter().map(|lease| lease[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("note"), ["</script>first", "second", "third", "fourth"]);
    assert_eq!(of("outcome"), [json!("failed"), json!("passed"), Value::Null, Value::Null]);
    assert_eq!(of("worker"), ["1"; 4]);
    assert_eq!(leases[0]["failure"], "it <b>is not</b> so");
    assert_eq!(leases[0]["leaks"], json!(["a task"]));
    assert!(of("wrote").iter().all(Value::is_null), "none of them wrote");
    let names = |lease: &Value| {
        let phases = lease["phases"].as_array().expect("phases").clone();
        phases.iter().map(|phase| text(&phase[0])).collect::<Vec<_>>()
    };
    // What cannot have been is left out.
    for lease in leases {
        assert_eq!(names(lease), ["acquire", "body", "reset"], "{lease}");
        assert!(lease["touched"].is_u64() || lease["changed"].is_string(), "{lease}");
    }
    assert_eq!((&data["exit_code"], &data["engines"][0]["engine"]), (&json!(0), &json!(engine.name())));
    assert!(text(&data["command"]).starts_with("python3 -c "));
}

on_every_engine!([mysql, mariadb] a_database_that_was_altered_is_told_as_sql_writes_it);

fn a_database_that_was_altered_is_told_as_sql_writes_it(engine: Engine) {
    let (schema, cache) = (schema(), tempfile::tempdir().expect("a directory"));
    let environment = [("FRESHDB_CACHE_DIR", cache.path().to_str().expect("text"))];
    let broker = Broker::in_environment(engine, &["--schema", schema.path().to_str().expect("text")], &environment);
    let mut client = broker.client();
    let lease = client.post("/v1/leases", &json!({"note": "alters"})).expect(201);
    sql::execute(&text(&lease["url"]), "ALTER DATABASE COLLATE utf8mb4_bin");
    client.ask("PUT", &format!("/v1/leases/{}/outcome", text(&lease["id"])), r#"{"outcome": "failed"}"#).expect(200);
    let shown = String::from_utf8(freshdb(cache.path(), &["diff"]).stdout).expect("text");
    let (_, altered) = shown.split_once("database itself: altered\n").unwrap_or_else(|| panic!("{shown}"));
    let lines: Vec<&str> = altered.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    for (line, sign) in lines.iter().zip(["-", "+"]) {
        let begin = format!("  {sign} CREATE DATABASE /*!40100 DEFAULT CHARACTER SET ");
        assert!(
            line.starts_with(&begin) && line.ends_with(" */") && line.contains("utf8mb4_bin") == (sign == "+"),
            "{shown}"
        );
    }
    let document: Value = serde_json::from_slice(&freshdb(cache.path(), &["diff", "--json"]).stdout).expect("JSON");
    for side in ["before", "after"] {
        assert!(
            text(&document["schema"][0][side]).starts_with("CREATE DATABASE /*!40100 DEFAULT CHARACTER SET "),
            "{document}"
        );
    }
}

/// What the page of a run shows.
fn data_of(report: &Path) -> Value {
    let page = std::fs::read_to_string(report).expect("a report");
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).expect("the data");
    let (data, _) = rest.split_once("</script>").expect("their end");
    serde_json::from_str(data).expect("JSON")
}

/// As where a fixture ends well after its test has failed.
#[test]
fn a_test_that_has_failed_stays_failed() {
    let (schema, directory) = (schema(), tempfile::tempdir().expect("a directory"));
    let report = directory.path().join("report.html");
    let script = r#"
first, second, third = (ask("POST", "/v1/leases", {"note": note})["id"] for note in ["first", "second", "third"])
ask("PUT", f"/v1/leases/{first}/outcome", {"outcome": "failed", "failure": "it is not so", "leaks": ["a task"] * 60})
ask("PUT", f"/v1/leases/{first}/outcome", {"outcome": "passed", "close_ms": 0.0})
ask("DELETE", f"/v1/leases/{first}?wait=true&outcome=passed")
ask("PUT", f"/v1/leases/{second}/outcome", {"outcome": "passed"})
ask("DELETE", f"/v1/leases/{second}?wait=true&outcome=failed")
ask("PUT", f"/v1/leases/{third}/outcome", {"outcome": "skipped"})
ask("DELETE", f"/v1/leases/{third}?wait=true&outcome=passed")
"#;
    let output = command(directory.path(), &["run", "--quiet", "--sqlite", "--schema"])
        .arg(schema.path())
        .arg("--report")
        .arg(&report)
        .args(["--", "python3", "-c", &format!("{ASK}{script}")])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let data = data_of(&report);
    let leases = data["leases"].as_array().expect("leases");
    let outcomes: Vec<_> = leases.iter().map(|lease| lease["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("failed"), json!("failed"), json!("skipped")]);
    assert_eq!(leases[0]["failure"], "it is not so");
    let leaks = leases[0]["leaks"].as_array().expect("leaks");
    assert_eq!((leaks.len(), &leaks[50]), (51, &json!("and 10 more")));
}

/// It is made to be passed on.
#[test]
fn no_password_is_in_a_report() {
    let (schema, directory) = (schema(), tempfile::tempdir().expect("a directory"));
    let report = directory.path().join("report.html");
    let script = r#"
import sys
url, password = os.environ["FRESHDB_MYSQL_URL"], sys.argv[2]
said = f"cannot connect to {url}: the password {password} is wrong, as is http://me:other-word@host/x"
lease = ask("POST", "/v1/leases", {"engine": "sqlite", "note": said})["id"]
ask("PUT", f"/v1/leases/{lease}/outcome", {"outcome": "failed", "failure": "x" * 3900 + said * 2, "leaks": [said]})
ask("DELETE", f"/v1/leases/{lease}?wait=true")
"#;
    let output = command(directory.path(), &["run", "--quiet", "--sqlite", "--schema"])
        .arg(schema.path())
        .arg("--report")
        .arg(&report)
        .args(["--", "python3", "-c", &format!("{ASK}{script}"), "--url=postgres://me:third-word@db/x", "se@cret-word"])
        .env("FRESHDB_MYSQL_URL", "mysql://root:se%40cret-word@127.0.0.1:1")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let data = data_of(&report);
    for secret in ["cret-word", "other-word", "third-word", "se%40", "se@c"] {
        assert!(!data.to_string().contains(secret), "{secret} is in {data}");
    }
    let expected =
        "cannot connect to mysql://root:***@127.0.0.1:1: the password *** is wrong, as is http://me:***@host/x";
    assert_eq!((&data["leases"][0]["note"], &data["leases"][0]["leaks"]), (&json!(expected), &json!([expected])));
    assert!(text(&data["command"]).ends_with(" --url=postgres://me:***@db/x ***"), "{data}");
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_run() {
    let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["run", "--report", "/nowhere/report.html", "--", "echo", "it runs"])
        .output()
        .expect("it runs");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write the report `/nowhere/report.html`"), "{said}");
}

/// A link, a pipe and a file are written to, and not put another file in the place of.
#[test]
fn a_report_leaves_what_it_is_written_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let run = |report: &Path| {
        let output =
            command(directory.path(), &["run", "--report", report.to_str().expect("text"), "--", "echo", "it runs"])
                .output()
                .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let is_page = |text: &str| text.starts_with("<!DOCTYPE html>") && text.trim_end().ends_with("</html>");

    let link = place("stdout");
    std::os::unix::fs::symlink("/proc/self/fd/1", &link).expect("a link");
    let said = run(&link);
    assert!(is_page(said.strip_prefix("it runs\n").expect("the command's word comes first")), "{said}");
    assert!(link.is_symlink());

    let pipe = place("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("`mkfifo` runs").success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).expect("text")
    });
    run(&pipe);
    assert!(is_page(&reader.join().expect("it reads")));

    let (file, beside) = (place("report.html"), place("report.part"));
    std::fs::write(&file, "x".repeat(1 << 20)).expect("written");
    std::fs::write(&beside, "somebody's").expect("written");
    run(&file);
    assert!(is_page(&std::fs::read_to_string(&file).expect("text")));
    assert_eq!(std::fs::read_to_string(&beside).expect("text"), "somebody's");
}
