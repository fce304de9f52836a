//! Which of the tests that failed `diff` shows, and servers that cannot be reached.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use freshdb_databases::{Changes, Config, Fingerprint};
use serde_json::json;

/// With servers that nobody reaches.
fn command(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshdb"));
    command
        .args(arguments)
        .env("FRESHDB_CACHE_DIR", cache)
        .env("FRESHDB_MYSQL_URL", "mysql://root@127.0.0.1:1")
        .env("FRESHDB_POSTGRES_URL", "postgres://postgres@127.0.0.1:1/postgres")
        .env_remove("FRESHDB_MARIADB_URL");
    command
}

fn freshdb(cache: &Path, arguments: &[&str]) -> Output {
    command(cache, arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_whole_name_comes_before_a_part_of_one() {
    let cache = tempfile::tempdir().expect("a directory");
    let config = Config::from_env().expect("a configuration").with_cache_dir(cache.path());
    for (at, note) in ["tests::test_post", "tests::test_post_twice"].iter().enumerate() {
        let database = format!("freshdb_s_{at}");
        let changes = json!({
            "engine": "sqlite", "database": database, "note": note, "at_ms": at, "schema": [], "tables": [],
        });
        serde_json::from_value::<Changes>(changes).expect("changes").store(&config).expect("stored");
    }
    for (name, found) in [
        ("tests::test_post", "tests::test_post"),
        ("freshdb_s_0", "tests::test_post"),
        ("test_post", "tests::test_post_twice"),
        ("twice", "tests::test_post_twice"),
    ] {
        let shown = text(&freshdb(cache.path(), &["diff", name]).stdout);
        assert_eq!(shown.lines().next(), Some(found), "{name}: {shown}");
    }
}

#[test]
fn the_checkout_that_one_is_in_comes_first() {
    let cache = tempfile::tempdir().expect("a directory");
    let config = Config::from_env().expect("a configuration").with_cache_dir(cache.path());
    let checkouts = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let [here, there] = checkouts.each_ref().map(|checkout| {
        std::fs::write(checkout.path().join("Cargo.lock"), "").expect("a file");
        checkout.path().canonicalize().expect("a path")
    });
    let store = |at: u64, checkout: &Path, note: &str| {
        let digest = Fingerprint::new().add("checkout", &*checkout.to_string_lossy()).digest();
        let changes = json!({
            "engine": "sqlite", "database": format!("freshdb_s_{}_0_{at}", &digest[..6]), "note": note, "at_ms": at,
            "schema": [], "tables": [],
        });
        serde_json::from_value::<Changes>(changes).expect("changes").store(&config).expect("stored");
    };
    let output = |arguments: &[&str]| {
        let output = command(cache.path(), arguments).current_dir(&here).output().expect("it runs");
        (text(&output.stdout), text(&output.stderr))
    };
    let first = |(stdout, _): (String, String)| stdout.lines().next().map(str::to_owned);
    store(1, &there, "other");
    let (shown, said) = output(&["diff"]);
    assert!(shown.starts_with("other\n") && said.ends_with("; this one is of another\n"), "{shown}{said}");
    store(2, &here, "one");
    store(3, &here, "another");
    store(4, &there, "one");
    assert_eq!((first(output(&["diff"])).as_deref(), &*output(&["diff"]).1), (Some("another"), ""));
    assert!(output(&["diff", "one"]).0.contains("_2 of sqlite"), "{:?}", output(&["diff", "one"]));
    assert_eq!(first(output(&["diff", "other"])).as_deref(), Some("other"), "a whole name");
    let notes =
        |(stdout, _): (String, String)| -> Vec<String> { stdout.lines().step_by(2).map(str::to_owned).collect() };
    assert_eq!(notes(output(&["diff", "--list"])), ["another", "one"]);
    let said = output(&["diff", "--list"]).1;
    assert_eq!(said, "freshdb: 2 of other checkouts: `freshdb diff --list --everything` lists them, too\n");
    assert_eq!(notes(output(&["diff", "--list", "--everything"])), ["one", "another", "one", "other"]);
    assert_eq!(output(&["diff", "--list", "--everything"]).1, "");
}

/// Of what could not be written, and of what others were writing when they were killed.
#[test]
fn no_part_is_left() {
    let cache = tempfile::tempdir().expect("a directory");
    let config = Config::from_env().expect("a configuration").with_cache_dir(cache.path());
    let store = |at: u64| {
        let changes = json!({
            "engine": "sqlite", "database": "freshdb_s_0", "note": "", "at_ms": at, "schema": [], "tables": [],
        });
        serde_json::from_value::<Changes>(changes).expect("changes").store(&config)
    };
    let directory = store(1).expect("stored").parent().expect("a directory").to_owned();
    for (name, age) in [("old", Duration::from_hours(2)), ("new", Duration::from_mins(1))] {
        let part = File::create(directory.join(format!("0000000000000-freshdb_s_0.{name}"))).expect("a file");
        part.set_modified(SystemTime::now() - age).expect("a time");
    }
    // Nothing takes the place of this, and no number is higher.
    let highest = directory.join(format!("{}-freshdb_s_0.json", u64::MAX));
    std::fs::create_dir_all(highest.join("in")).expect("a directory");
    store(2).expect_err("it is in the way");
    std::fs::remove_dir_all(highest).expect("it is there");
    store(3).expect("stored");
    let entries = std::fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("it is there"));
    let mut left: Vec<_> = entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
    left.sort();
    let [begun, stored @ ..] = &left[..] else { panic!("{left:?}") };
    assert_eq!(begun, "0000000000000-freshdb_s_0.new", "somebody may be writing it");
    assert_eq!(stored, [1, 3].map(|at| format!("{at:013}-freshdb_s_0.json")), "{left:?}");
}

#[test]
fn the_next_server_is_cleaned_when_one_cannot_be_reached() {
    let cache = tempfile::tempdir().expect("a directory");
    let output = freshdb(cache.path(), &["gc"]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{said}");
    for server in ["mysql://root@127.0.0.1:1", "postgres://postgres@127.0.0.1:1"] {
        assert!(said.contains(server), "{said}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_may_have_it() {
    let cache = tempfile::tempdir().expect("a directory");
    let output = freshdb(cache.path(), &["diff", "freshdb_s_0"]);
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("127.0.0.1:1"), "{}", text(&output.stderr));
}
