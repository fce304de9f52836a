//! A test whose engine cannot be had fails, and says what is missing; one that is not wanted is left out, and that is said too.
//!
//! What fails here are tests of this program's own, which it runs in another process, in an environment that is empty but for what a
//! test sets.

use std::process::Command;

use freshdb::test::{Lease, schema};

const ENGINES: [&str; 3] = ["mysql", "mariadb", "postgres"];

#[freshdb::test(schema = schema::sql("CREATE TABLE tags (tag_id VARCHAR(50) PRIMARY KEY)"))]
#[ignore = "it is run by the tests of this file"]
async fn wanted(lease: Lease) {
    drop(lease);
}

#[freshdb::test(on = [postgres])]
#[ignore = "it is run by the tests of this file"]
#[should_panic]
async fn meant_to_panic() {
    panic!("as it should");
}

#[freshdb::test]
#[ignore = "it is run by the tests of this file"]
async fn of_postgres_alone(pool: sqlx::PgPool) {
    drop(pool);
}

#[freshdb::test]
#[ignore = "it is run by the tests of this file"]
async fn of_mysql_and_mariadb(engine: freshdb::MySqlEngine) {
    drop(engine);
}

#[freshdb::test(on = [sqlite], schema = schema::sql("CREATE TABLE tags (tag_id VARCHAR(50) PRIMARY KEY)"))]
#[ignore = "it is run by the tests of this file"]
async fn writes_and_fails(engine: freshdb::SqliteEngine) {
    let mut session = engine.session().await.expect("a session");
    sqlx::query("INSERT INTO tags VALUES ('x')").execute(&mut session).await.expect("it is inserted");
    panic!("it fails");
}

#[freshdb::test(on = [sqlite])]
#[ignore = "it is run by the tests of this file"]
async fn loses_its_database_and_fails(lease: Lease) {
    std::fs::remove_file(lease.url().path().expect("a file")).expect("it is removed");
    panic!("it fails");
}

/// What the harness printed, on both streams, and whether all tests have passed.
#[derive(Debug)]
struct Run {
    passed: bool,
    stdout: String,
    stderr: String,
}

fn run(tests: &str, variables: &[(&str, &str)]) -> Run {
    let nothing = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    // One after another, for the sake of the order of what they print.
    command.args(["--ignored", "--test-threads=1", tests]);
    command.env_clear().env("FRESHDB_CACHE_DIR", nothing.path()).env("FRESHDB_PROGRAM_DIRS", nothing.path());
    let output = command.envs(variables.iter().copied()).output().expect("a process");
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).expect("text");
        let text = text.replace(&*nothing.path().to_string_lossy(), "/nothing/here");
        // How long it took is nobody's business here.
        let lines = text.lines().map(|line| line.split("; finished in").next().unwrap_or(line).to_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    Run { passed: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What the harness shows of a test that failed.
fn shown_of_failure(run: &Run) -> &str {
    assert!(!run.passed, "{run:?}");
    let (_, shown) = run.stdout.split_once("---- ").expect("the output of a test that failed");
    shown.split("\n\n\n").next().unwrap_or(shown)
}

#[test]
fn a_server_that_is_not_installed_is_named_with_what_to_do() {
    for engine in ENGINES {
        let run = run(&format!("wanted::{engine}"), &[]);
        insta::assert_snapshot!(format!("not_installed_{engine}"), shown_of_failure(&run));
    }
}

/// To have no database is not the panic that it is meant to have.
#[test]
fn a_test_that_is_meant_to_panic_fails_without_its_server_and_can_be_skipped() {
    let without = run("meant_to_panic::postgres", &[]);
    assert!(shown_of_failure(&without).contains("has no PostgreSQL database"), "{without:?}");
    let skipped = run("meant_to_panic::postgres", &[("FRESHDB_SKIP", "postgres")]);
    assert!(skipped.passed, "{skipped:?}");
    assert!(skipped.stderr.contains("was SKIPPED"), "{skipped:?}");
}

#[test]
fn sqlite_needs_no_server() {
    let run = run("wanted::sqlite", &[]);
    assert!(run.passed, "{run:?}");
}

/// As in a container whose user has no directory to write to.
#[test]
fn what_cannot_be_written_down_is_told_all_the_same() {
    let run = run("writes_and_fails", &[("FRESHDB_CACHE_DIR", "/dev/null/cache")]);
    let told = shown_of_failure(&run);
    assert!(told.contains("\n  wrote: tags: 1 inserted; failed to write `/dev/null/cache/changes-of-user"), "{told}");
    assert!(told.contains(".json`: set FRESHDB_CACHE_DIR to a directory that can be written\n"), "{told}");
}

#[test]
fn what_is_not_known_is_said_to_be() {
    let run = run("loses_its_database_and_fails", &[]);
    let told = shown_of_failure(&run);
    assert!(told.contains("\n  wrote: not known: "), "{told}");
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    // Nobody may listen on port 1 but root, who does not.
    let variables = [("FRESHDB_POSTGRES_URL", "postgres://tester:secret@127.0.0.1:1/postgres")];
    let run = run("wanted::postgres", &variables);
    insta::assert_snapshot!(shown_of_failure(&run));
}

#[test]
fn a_skipped_engine_is_said_past_the_harness_and_counts_as_passed() {
    let run = run("wanted::mysql", &[("FRESHDB_SKIP", "mysql")]);
    assert!(run.passed, "{run:?}");
    insta::assert_snapshot!(run.stderr, @"warning: test `wanted::mysql` was SKIPPED: FRESHDB_SKIP names mysql");
    insta::assert_snapshot!(run.stdout.trim(), @r"
    running 1 test
    test wanted::mysql ... ok

    test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 24 filtered out
    ");
}

#[test]
fn a_skipped_engine_leaves_the_others_alone() {
    let run = run("wanted::", &[("FRESHDB_SKIP", "mysql,mariadb")]);
    assert!(!run.passed, "{run:?}");
    let results: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("test wanted")).collect();
    insta::assert_snapshot!(results.join("\n"), @r"
    test wanted::mariadb ... ok
    test wanted::mysql ... ok
    test wanted::postgres ... FAILED
    test wanted::sqlite ... ok
    ");
}

#[test]
fn a_variable_that_cannot_be_used_fails_every_test() {
    let run = run("wanted::", &[("FRESHDB_SKIP", "mysql,oracle")]);
    let results: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("test wanted")).collect();
    insta::assert_snapshot!(results.join("\n"), @r"
    test wanted::mariadb ... FAILED
    test wanted::mysql ... FAILED
    test wanted::postgres ... FAILED
    test wanted::sqlite ... FAILED
    ");
    insta::assert_snapshot!(shown_of_failure(&run), @r"
    wanted::mariadb stdout ----
    error: test `wanted::mariadb` has no MariaDB database: the variable FRESHDB_SKIP names `oracle`, which is no engine
      test: crates/freshdb/tests/unavailable/main.rs:14
    hint: the engines are sqlite, mysql, mariadb, postgres

    ---- wanted::mysql stdout ----
    error: test `wanted::mysql` has no MySQL database: the variable FRESHDB_SKIP names `oracle`, which is no engine
      test: crates/freshdb/tests/unavailable/main.rs:14
    hint: the engines are sqlite, mysql, mariadb, postgres

    ---- wanted::postgres stdout ----
    error: test `wanted::postgres` has no PostgreSQL database: the variable FRESHDB_SKIP names `oracle`, which is no engine
      test: crates/freshdb/tests/unavailable/main.rs:14
    hint: the engines are sqlite, mysql, mariadb, postgres

    ---- wanted::sqlite stdout ----
    error: test `wanted::sqlite` has no SQLite database: the variable FRESHDB_SKIP names `oracle`, which is no engine
      test: crates/freshdb/tests/unavailable/main.rs:14
    hint: the engines are sqlite, mysql, mariadb, postgres
    ");
}

#[test]
fn an_argument_of_another_engine_is_named_with_what_to_do() {
    insta::assert_snapshot!(shown_of_failure(&run("of_postgres_alone::sqlite", &[])), @r"
    of_postgres_alone::sqlite stdout ----
    error: test `of_postgres_alone::sqlite` did not begin: cannot make the argument `sqlx_core::pool::Pool<sqlx_postgres::database::Postgres>`
      caused by: it is PostgreSQL's, and the test runs on SQLite
      test: crates/freshdb/tests/unavailable/main.rs:27
      kept: no, its directory ends with the tests
    hint: say `on = [postgres]` in `#[freshdb::test(…)]`, or take what is there on every engine: `freshdb::OrmEngine`, `sea_orm::DatabaseConnection`, or the bare `freshdb::test::Lease`
    ");
    insta::assert_snapshot!(shown_of_failure(&run("of_mysql_and_mariadb::sqlite", &[])), @r"
    of_mysql_and_mariadb::sqlite stdout ----
    error: test `of_mysql_and_mariadb::sqlite` did not begin: cannot make the argument `freshdb::engine::Engine<sqlx_mysql::database::MySql>`
      caused by: it is MySQL's or MariaDB's, and the test runs on SQLite
      test: crates/freshdb/tests/unavailable/main.rs:33
      kept: no, its directory ends with the tests
    hint: say `on = [mysql, mariadb]` in `#[freshdb::test(…)]`, or take what is there on every engine: `freshdb::OrmEngine`, `sea_orm::DatabaseConnection`, or the bare `freshdb::test::Lease`
    ");
}
