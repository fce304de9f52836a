//! What the command that is run finds, and how its end is told.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

fn freshdb(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_freshdb")).args(arguments).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_exit_code_is_the_commands() {
    for code in [0, 1, 7, 125, 255] {
        let output = freshdb(&["run", "--quiet", "--", "sh", "-c", &format!("echo out; echo err >&2; exit {code}")]);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (b"out\n".as_slice(), b"err\n".as_slice()));
    }
    for (signal, code) in [("TERM", 143), ("KILL", 137)] {
        let output = freshdb(&["run", "--", "sh", "-c", &format!("kill -s {signal} $$")]);
        assert_eq!(output.status.code(), Some(code), "{signal}: {}", said(&output));
    }
}

/// As beside a program that has the system forget what it started.
#[test]
fn the_exit_code_is_the_commands_where_ends_of_processes_are_ignored() {
    let mut command = Command::new("env");
    command.args(["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_freshdb"), "run", "--quiet", "--postgres", "--"]);
    let output = command.args(["sh", "-c", "exit 7"]).env_remove("FRESHDB_POSTGRES_URL").output().expect("it runs");
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(7), ""));
}

#[test]
fn a_filter_of_the_log_that_is_none_is_said() {
    for (filter, is_said) in [("freshdb=debgu", true), ("error", false), ("", false)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshdb"));
        let output = command.args(["run", "--", "true"]).env("FRESHDB_LOG", filter).output().expect("it runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(said.contains("FRESHDB_LOG is not understood, and is passed over"), is_said, "{filter}: {said}");
    }
}

#[test]
fn a_private_postgresql_has_no_tls() {
    let run = |mode: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshdb"));
        command.args(["run", "--quiet", "--postgres", "--", "true"]).env("PGSSLMODE", mode);
        command.env_remove("FRESHDB_POSTGRES_URL").output().expect("it runs")
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let output = run(mode);
        assert_eq!(output.status.code(), Some(125), "{mode}");
        insta::allow_duplicates!(insta::assert_snapshot!(said(&output), @r"
        freshdb: error: a private PostgreSQL has no TLS, without which PGSSLMODE lets nobody connect
        freshdb: hint: unset PGSSLMODE, or set FRESHDB_POSTGRES_URL to the URL of a server that has TLS
        "));
    }
    let output = run("prefer");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// As with `freshdb run … 2>&1 | head -1`.
#[test]
fn nobody_need_listen() {
    for (arguments, code) in [
        (&["run", "--sqlite", "--", "echo", "it runs"][..], 0),
        (&["run", "--schema", "nowhere.sql", "--", "echo", "it runs"], 125),
        (&["run", "--report", "/nowhere/report.html", "--", "echo", "it runs"], 2),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(arguments)
            // Which names no run, of which the log warns.
            .env("FRESHDB_RUN", "1:1")
            .stderr(writer)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(output.stdout == b"it runs\n", code == 0, "{arguments:?}");
    }
}

#[test]
fn a_command_that_cannot_be_run() {
    let output = freshdb(&["run", "--", "no-such-command-anywhere"]);
    assert_eq!(output.status.code(), Some(127), "{}", said(&output));
    assert!(said(&output).contains("cannot run `no-such-command-anywhere`"), "{}", said(&output));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).expect("permissions");
    let output = freshdb(&["run", "--", file.path().to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(126), "{}", said(&output));
}

/// As where another version is installed meanwhile. The command is started by way of freshdb's own program.
#[test]
fn a_program_that_is_gone_meanwhile_is_not_taken_for_the_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("freshdb");
    let run = |what: &str| {
        test_support::copy_program(env!("CARGO_BIN_EXE_freshdb"), &program);
        Command::new(&program)
            .args(["run", "--quiet", "--sqlite", "--schema-command", what, "--watch", "/dev/null", "--rebuild"])
            .args(["--", "echo", "it runs"])
            .current_dir(directory.path())
            .output()
            .expect("it runs")
    };
    for what in ["rm freshdb", "rm freshdb; echo >freshdb"] {
        let output = run(what);
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(0), b"it runs\n".as_slice()),
            "{}",
            said(&output)
        );
    }
    let output = run("chmod a-x freshdb");
    let said = said(&output);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{said}");
    let expected = format!("error: cannot start freshdb's own program `{}`", program.display());
    assert!(said.contains(&expected) && said.contains("Permission denied") && !said.contains("echo"), "{said}");
}

#[test]
fn the_command_finds_the_broker_and_its_arguments_are_its_own() {
    // Before it, `--` may be left out, as with env or nice.
    for before in [&["run", "--sqlite", "--"][..], &["run", "--sqlite"]] {
        let command = [
            "sh",
            "-c",
            r#"test -S "$FRESHDB_BROKER" && test -n "$FRESHDB_BROKER_TOKEN" && echo "$FRESHDB_BROKER_URL" "$@""#,
            "sh",
            "--mysql",
            "-x",
            "--",
            "",
            "a b",
        ];
        let output = freshdb(&[before, &command].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.starts_with("http://127.0.0.1:") && text.ends_with(" --mysql -x --  a b\n"),
            "{before:?}: {text}{}",
            said(&output)
        );
        assert!(said(&output).contains("freshdb: SQLite files in sqlite:///"), "{}", said(&output));
    }
}

/// What `freshdb serve` prints is read by a shell, in whichever directory the socket is.
#[test]
fn a_shell_executes_nothing_of_what_serve_prints() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("it's a b;touch executed $(touch executed)");
    std::fs::create_dir(&data).expect("a directory");
    let script = r#"
        "$0" serve --quiet --sqlite >broker.env & trap "kill $!" EXIT
        while kill -0 $! && ! grep -q TOKEN= broker.env; do sleep 0.05; done
        . ./broker.env
        test -S "$FRESHDB_BROKER" && echo "$FRESHDB_BROKER"
    "#;
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_freshdb")])
        .current_dir(directory.path())
        .env("FRESHDB_RUN_DIR", &data)
        .output()
        .expect("it runs");
    let socket = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(socket.starts_with(data.to_str().expect("text")), "{socket}{}", said(&output));
    assert!(!directory.path().join("executed").exists(), "{socket}");
}

/// One that somebody else has set stays.
#[test]
fn a_run_in_a_run_has_an_integresql_of_its_own() {
    let script = r#"echo "$INTEGRESQL_CLIENT_BASE_URL"; echo "$FRESHDB_BROKER_URL/$FRESHDB_BROKER_TOKEN/api""#;
    let inner = r#"exec "$0" run --sqlite -- sh -c "$1""#;
    let urls = |set: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshdb"));
        command.args(["run", "--sqlite", "--", "sh", "-c", inner, env!("CARGO_BIN_EXE_freshdb"), script]);
        command.env_remove("INTEGRESQL_CLIENT_BASE_URL");
        command.envs(set.map(|url| ("INTEGRESQL_CLIENT_BASE_URL", url)));
        let output = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (found, own) = text.trim_end().split_once('\n').unwrap_or_else(|| panic!("{text}{}", said(&output)));
        (found.to_owned(), own.to_owned())
    };
    let (found, own) = urls(None);
    assert_eq!(found, own);
    assert_eq!(urls(Some("http://integresql:5000/api")).0, "http://integresql:5000/api");
}

#[test]
fn a_schema_that_cannot_be_applied_ends_it_before_the_command() {
    let file = tempfile::NamedTempFile::with_suffix(".sql").expect("a file");
    std::fs::write(file.path(), "CREATE TABLE tags (;").expect("written");
    let path = file.path().to_str().expect("text");
    let output = freshdb(&["run", "--sqlite", "--schema", path, "--", "echo", "it runs"]);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    assert!(output.stdout.is_empty() && said(&output).contains("the schema could not be applied"), "{}", said(&output));
    assert!(said(&output).contains(&format!("statement 1 of `{path}` fails")), "{}", said(&output));
    std::fs::write(file.path(), b"INSERT INTO tags VALUES ('\xff');").expect("written");
    let output = freshdb(&["run", "--sqlite", "--schema", path, "--", "echo", "it runs"]);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    assert!(said(&output).contains(&format!("cannot read the schema `{path}`")), "{}", said(&output));
    assert!(
        said(&output).contains("hint: write it as UTF-8; ") && said(&output).contains("--hex-blob"),
        "{}",
        said(&output)
    );
    let output = freshdb(&["run", "--sqlite", "--schema", "nowhere.sql", "--", "echo", "it runs"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(said(&output).contains("cannot read the schema `nowhere.sql`"), "{}", said(&output));
}

on_every_server!(a_schema_that_takes_long_is_not_recited, a_command_that_made_its_schema_elsewhere_is_told_of);

#[test]
fn a_command_that_made_its_schema_in_another_file_is_told_of() {
    a_command_that_made_its_schema_elsewhere_is_told_of("sqlite");
}

/// As one whose configuration has the URL of the database that one develops on. It says that all went well.
fn a_command_that_made_its_schema_elsewhere_is_told_of(engine: &str) {
    let tables = tempfile::NamedTempFile::with_suffix(".sql").expect("a file");
    std::fs::write(&tables, "CREATE TABLE tags (name VARCHAR(20))").expect("written");
    let tables = ["--schema", tables.path().to_str().expect("text")];
    let run = |schema: &[&str]| {
        let command = ["--schema-command", "exit 0", "--watch", "/dev/null", "--rebuild", "--", "true"];
        let output = freshdb(&[&["run", "--quiet", &format!("--{engine}")], schema, &command].concat());
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        said(&output)
    };
    let expected = "`/bin/sh -c exit 0` made no table in the database that DATABASE_URL names: it may have another one from its configuration\n";
    let said = run(&[]);
    assert!(said.ends_with(expected) && said.lines().count() == 1, "{said}");
    assert_eq!(run(&tables), "");
}

fn a_schema_that_takes_long_is_not_recited(engine: &str) {
    let file = tempfile::NamedTempFile::with_suffix(".sql").expect("a file");
    let sleep = if engine == "postgres" { "pg_sleep(1.2)" } else { "SLEEP(1.2)" };
    std::fs::write(file.path(), format!("SELECT {sleep}; SELECT {}", std::process::id())).expect("written");
    let path = file.path().to_str().expect("text");
    let output = freshdb(&["run", "--quiet", "--rebuild", &format!("--{engine}"), "--schema", path, "--", "true"]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
}

/// A hint for programmers in Rust is of no use to whoever runs a command.
#[test]
fn what_a_schema_is_made_of_and_is_not_there_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("schema")).expect("a directory");
    std::fs::write(directory.path().join("schema/1.sql"), b"\xff").expect("written");
    std::fs::create_dir(directory.path().join("schema/2.sql")).expect("a directory");
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(["run", "--sqlite"])
            .args(arguments)
            .args(["--", "echo", "it runs"])
            .current_dir(directory.path())
            .output()
            .expect("it runs")
    };
    for (arguments, path) in [
        (&["--schema-command", "true", "--watch", "nowhere"][..], "nowhere"),
        (&["--schema", "schema"], "schema/1.sql"),
    ] {
        let output = run(arguments);
        let said = said(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{said}");
        assert!(said.contains(&format!("`{}`", directory.path().join(path).display())), "{said}");
        assert!(!said.contains("CARGO") && !said.contains("Rust"), "{said}");
    }
    std::fs::remove_file(directory.path().join("schema/1.sql")).expect("removed");
    let said = said(&run(&["--schema", "schema"]));
    assert!(said.contains("/schema/2.sql` cannot be read") && !said.contains("CARGO"), "{said}");
}

/// With a schema or without: nothing is called ready that did not answer.
#[test]
fn a_server_that_is_not_there_ends_it_before_the_command() {
    for (engine, url) in [
        ("mysql", "mysql://root:secret@127.0.0.1:1"),
        ("mariadb", "mariadb://root:secret@127.0.0.1:1"),
        ("postgres", "postgres://postgres:secret@127.0.0.1:1"),
    ] {
        let variable = format!("FRESHDB_{}_URL", engine.to_uppercase());
        let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(["run", &format!("--{engine}"), "--", "echo", "it runs"])
            .env(&variable, url)
            .output()
            .expect("it runs");
        let said = said(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{said}");
        let hint = format!("hint: start it, or unset {variable}, and a private one is started");
        for expected in ["error: cannot use the server `", ":***@127.0.0.1:1", "caused by: ", &hint] {
            assert!(said.contains(expected), "{expected} is not in {said}");
        }
        assert!(!said.contains("secret") && !said.contains("ready in"), "{said}");
    }
}

/// Their protocol is one, and drivers connect to either.
#[test]
fn mysql_and_mariadb_are_told_apart() {
    for (engine, other, title) in [("mysql", "mariadb", "MySQL"), ("mariadb", "mysql", "MariaDB")] {
        let (own, others) = (engine.to_uppercase(), other.to_uppercase());
        let script = format!(
            r#"export FRESHDB_{others}_URL="{other}:${{FRESHDB_{own}_URL#*:}}"; exec "$0" run --{other} -- echo it runs"#
        );
        let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
            .args(["run", "--quiet", &format!("--{engine}"), "--", "sh", "-c", &script])
            .arg(env!("CARGO_BIN_EXE_freshdb"))
            .env_remove(format!("FRESHDB_{own}_URL"))
            .output()
            .expect("it runs");
        let said = said(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{said}");
        assert!(said.contains(&format!("` is {title}, and not ")), "{said}");
        assert!(said.contains(&format!("hint: name it in FRESHDB_{own}_URL, as `{engine}://…`")), "{said}");
    }
}

on_every_server!(a_server_that_was_asked_for_is_there_and_gone_afterwards);

fn a_server_that_was_asked_for_is_there_and_gone_afterwards(engine: &str) {
    let variable = format!("FRESHDB_{}_URL", engine.to_uppercase());
    let output = Command::new(env!("CARGO_BIN_EXE_freshdb"))
        .args(["run", &format!("--{engine}"), "--", "sh", "-c", &format!("echo ${variable}")])
        .env_remove(&variable)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let url = String::from_utf8(output.stdout.clone()).expect("text");
    let address = url.trim().split('@').nth(1).expect("an address").split('/').next().expect("a port").to_owned();
    assert!(std::net::TcpStream::connect(&address).is_err(), "{address} still listens");
    let password = url.split([':', '@']).nth(2).expect("a password");
    assert!(!said(&output).contains(password), "{}", said(&output));
}
