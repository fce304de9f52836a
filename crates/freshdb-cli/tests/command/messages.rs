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
}

#[test]
fn wrong_arguments() {
    for arguments in [
        &["run"][..],
        &["run", "--mysql"],
        &["run", "pytest"],
        &["run", "--oracle", "--", "pytest"],
        &["run", "--schema-command", "alembic upgrade head", "--", "pytest"],
        &["serve", "--listen", "somewhere"],
        &["serve", "--listen", "192.0.2.1:80"],
        &["serve", "--token-file", "/nowhere"],
        &["gc"],
    ] {
        insta::assert_snapshot!(told(arguments));
    }
}
