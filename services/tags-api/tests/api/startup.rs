//! How the command ends that cannot use its database: one sentence, a way out, and never the password.

use std::process::{Command, Stdio};

use freshdb::test::{Kind, Lease};
use url::Url;

use crate::harness::elsewhere;

/// What `tags-api ARGUMENTS --database-url URL` writes to standard error as it fails.
fn failure(arguments: &[&str], url: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tags-api"));
    command.args(arguments).arg("--database-url").arg(url).env_clear().stdin(Stdio::null());
    let output = command.output().expect("the command runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    let password = Url::parse(url).expect("a URL").password().expect("a password").to_owned();
    assert!(!said.contains(&password), "the password is shown: {said}");
    said
}

#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn a_wrong_password_is_said(lease: Lease) {
    let mut url = Url::parse(&lease.url().reveal()).expect("a URL");
    url.set_password(Some("wrong-password")).expect("a password");
    let said = failure(&[], url.as_str());
    let shown = url.as_str().replace("wrong-password", "***");
    assert!(said.starts_with(&format!("error: cannot open {shown}: ")), "{said}");
    let reason = if lease.kind() == Kind::Postgres { "password authentication failed" } else { "Access denied" };
    assert!(said.contains(reason), "{said}");
    assert!(said.ends_with("\nhint: see that the user and the password in the URL are right\n"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn a_missing_database_is_said(lease: Lease) {
    let mut url = Url::parse(&lease.url().reveal()).expect("a URL");
    url.set_path("not_there");
    let said = failure(&["migrate"], url.as_str());
    let (fact, hint) = match lease.kind() {
        Kind::Postgres => (r#"database "not_there" does not exist"#, r#"create it: CREATE DATABASE "not_there""#),
        _ => ("Unknown database 'not_there'", "create it: CREATE DATABASE `not_there`"),
    };
    assert!(said.starts_with("error: cannot open ") && said.contains(fact), "{said}");
    assert!(said.ends_with(&format!("\nhint: {hint}\n")), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn a_schema_that_is_behind_is_said(lease: Lease) {
    let said = failure(&["--listen", "127.0.0.1:0"], &lease.url().reveal());
    assert!(said.contains("is behind: it lacks m20261122_000001_create_tags\n"), "{said}");
    assert!(said.ends_with("hint: run `tags-api migrate`, or start with `--migrate`\n"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[freshdb::test(on = [postgres])]
async fn an_encoding_that_cannot_hold_tags_is_said(lease: Lease) {
    let name = format!("{}_latin1", lease.name());
    elsewhere(&lease).execute(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")).await;
    let mut url = Url::parse(&lease.url().reveal()).expect("a URL");
    url.set_path(&name);
    let said = failure(&["migrate"], url.as_str());
    elsewhere(&lease).execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    assert!(said.contains("its encoding is LATIN1, in which most tags cannot be stored"), "{said}");
}
