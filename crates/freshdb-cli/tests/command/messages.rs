//! Help, and what is said of wrong arguments.

use std::process::Command;

fn told(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(arguments)
        .env_remove("FRESHDB_MYSQL_URL")
        .env_remove("FRESHDB_MARIADB_URL")
        .env_remove("FRESHDB_POSTGRES_URL")
        .env("COLUMNS", "100")
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}[{}]", text(&output.stdout), text(&output.stderr), output.status.code().expect("a code"))
}

#[test]
fn help() {
    insta::assert_snapshot!(told(&["--help"]));
    insta::assert_snapshot!(told(&["run", "--help"]));
    insta::assert_snapshot!(told(&["serve", "--help"]));
    insta::assert_snapshot!(told(&["gc", "--help"]));
    insta::assert_snapshot!(told(&["status", "--help"]));
    insta::assert_snapshot!(told(&["doctor", "--help"]));
    insta::assert_snapshot!(told(&["diff", "--help"]));
}

#[test]
fn wrong_arguments() {
    for arguments in [
        &["run"][..],
        &["run", "--mysql"],
        &["run", "--mysql", "--"],
        &["run", "--oracle", "--", "pytest"],
        &["run", "--schema-command", "alembic upgrade head", "--", "pytest"],
        &["serve", "--listen", "somewhere"],
        &["serve", "--listen", "192.0.2.1:80"],
        &["serve", "--token-file", "/nowhere"],
        &["gc"],
        &["diff", "--list", "a_test"],
        &["diff", "--rows", "many"],
        &["run", "--watch", "migrations", "--", "pytest"],
    ] {
        insta::assert_snapshot!(told(arguments));
    }
}

/// With what is allowed, whichever way it is wrong.
#[test]
fn numbers_that_no_option_takes() {
    for (command, option, range) in [
        ("run", "connections", "a whole number from 1 to 262143"),
        ("serve", "connections", "a whole number from 1 to 262143"),
        ("diff", "rows", "a whole number from 0 to 4294967295"),
    ] {
        for number in ["-1", "4294967296", "18446744073709551615", "99999999999999999999999", "1.5", "many", ""] {
            let whole = [command, &format!("--{option}"), number, "--", "true"];
            let said = told(if command == "run" { &whole } else { &whole[..3] });
            let expected = format!("'--{option} <NUMBER>': it is {range}\n");
            assert!(said.contains(&expected) && said.ends_with("[2]"), "{command} {number}: {said}");
        }
    }
    for number in ["0", "262144", "4294967295"] {
        let said = told(&["run", "--connections", number, "--", "true"]);
        assert!(said.contains("it is a whole number from 1 to 262143\n") && said.ends_with("[2]"), "{number}: {said}");
    }
}

/// The smallest and the largest.
#[test]
fn numbers_that_an_option_takes() {
    let schema = tempfile::NamedTempFile::with_suffix(".sql").expect("a file");
    let schema = schema.path().to_str().expect("text");
    for number in ["1", "262143"] {
        let said = told(&["run", "--quiet", "--sqlite", "--schema", schema, "--connections", number, "--", "true"]);
        assert_eq!(said, "[0]", "{number}");
    }
    for rows in ["0", "4294967295"] {
        let said = told(&["diff", "--rows", rows, "no such test"]);
        assert!(said.ends_with("[1]"), "{rows}: {said}");
    }
    for port in ["-1", "65536", "18446744073709551615"] {
        let said = told(&["serve", "--sqlite", "--listen", &format!("127.0.0.1:{port}")]);
        assert!(said.contains("is no address to listen on") && said.ends_with("[2]"), "{port}: {said}");
    }
}

/// It is the cause, however far it came, and not that nothing is installed.
#[test]
fn too_few_files() {
    let said = |limit: u32| {
        let output = Command::new("/bin/sh")
            .args(["-c", r#"ulimit -n "$1" && exec "$2" run --quiet --postgres -- true"#, "sh", &limit.to_string()])
            .arg(env!("CARGO_BIN_EXE_freshdb"))
            .env_remove("FRESHDB_POSTGRES_URL")
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for limit in 8.. {
        let said = said(limit);
        if said.contains("did not start: it ended") {
            // It is the server's turn to say so.
            assert!(said.contains("file descriptors"), "{limit}: {said}");
            break;
        }
        assert!(said.to_lowercase().contains("too many open files"), "{limit}: {said}");
        assert!(!said.contains("there is no"), "{limit}: {said}");
    }
}

/// The system would end it without a word.
#[test]
fn too_large_a_file() {
    let output = Command::new("/bin/sh")
        .args(["-c", r#"ulimit -f 8 && exec "$1" doctor --sqlite"#, "sh", env!("CARGO_BIN_EXE_freshdb")])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("SQLite       CANNOT BE USED: "), "{output:?}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn shells_are_told_what_can_be_completed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = told(&["completions", shell]);
        assert!(script.ends_with("[0]"), "{script}");
        for word in ["freshdb", "run", "serve", "doctor", "schema-command"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        assert!(!script.contains("__start"), "{shell} offers what is freshdb's own");
    }
    insta::assert_snapshot!(told(&["completions", "tcsh"]));
}

/// Each command has a section, and what is freshdb's own has none.
#[test]
fn the_manual_page_has_every_command() {
    let page = told(&["man"]);
    assert!(page.starts_with(".ie") && page.ends_with("[0]"), "{page}");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    for section in ["NAME", "RUN", "SERVE", "STATUS", "DOCTOR", "DIFF", "GC"] {
        assert!(sections.contains(&section), "{section} is not in {sections:?}");
    }
    assert!(!page.contains("__start"), "{page}");
    assert!(!page.contains("(1)"), "there is no other page: {page}");
}
