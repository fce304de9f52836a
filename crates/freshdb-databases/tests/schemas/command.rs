//! Programs that make the schema.

use freshdb_databases::schema::{self, Command, Schema};
use test_support::eventually;

use crate::harness::{apply, directory, fingerprint, refusal, target, told, write};

fn shell(script: &str) -> Command {
    schema::command("sh").args(["-c", script]).version("1")
}

/// Whether there is a process of this number.
fn lives(pid: &str) -> bool {
    // One that has ended and that nobody has asked after is listed as a zombie.
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

on_every_engine! {
    async fn is_given_the_url(database: &TestDatabase) {
        let directory = directory(&[]);
        let expected = target(database).url().reveal();
        let out = directory.path().join("out");
        let write = |name: &str| format!("printf '%s' \"${name}\" >> {}", out.display());
        apply(shell(&write("DATABASE_URL")), database).await.expect("the schema");
        assert_eq!(std::fs::read_to_string(&out).expect("it wrote"), expected);

        let both = shell(&format!("{}; {}", write("A"), write("B"))).url_in("A").url_in("B");
        apply(both, database).await.expect("the schema");
        assert_eq!(std::fs::read_to_string(&out).expect("it wrote"), expected.repeat(3));
    }
}

on_every_engine! {
    async fn says_what_it_wrote_last_but_not_the_password(database: &TestDatabase) {
        let (message, _) = refusal(shell("echo first >&2; echo cannot connect to $DATABASE_URL; exit 3"), database).await;
        let url = target(database).url().clone();
        // The two outputs may arrive in either order.
        assert!(message.contains(" ended with code 3; its last lines are:\n") && message.contains("first"), "{message}");
        assert!(message.contains(&format!("cannot connect to {url}")), "{message}");
        let password = url::Url::parse(&url.reveal()).expect("a URL").password().map(ToOwned::to_owned);
        if database.engine.name() != "sqlite" {
            assert!(!message.contains(&password.expect("the tests' servers have passwords")), "{message}");
        }
    }
}

on_every_engine! {
    [sqlite] async fn says_how_it_ended_or_why_it_did_not_start(database: &TestDatabase) {
        let (message, _) = refusal(shell("exit 1"), database).await;
        assert_eq!(message, "`sh -c exit 1` ended with code 1; it wrote nothing");
        let (message, _) = refusal(shell("kill -9 $$"), database).await;
        assert_eq!(message, "`sh -c kill -9 $$` was ended: signal: 9 (SIGKILL); it wrote nothing");
        let (message, _) = refusal(schema::command("no-such-program").version("1"), database).await;
        assert!(message.starts_with("the program `no-such-program` cannot be started: No such file"), "{message}");
        let (message, hint) = refusal(shell("true").current_dir("/no/such"), database).await;
        assert!(message.starts_with("the program `sh` cannot be started: "), "{message}");
        assert_eq!(hint.as_deref(), Some("its directory `/no/such` is not there"));
    }
}

on_every_engine! {
    [sqlite] async fn has_arguments_variables_a_directory_and_no_input(database: &TestDatabase) {
        let directory = directory(&[]);
        let script = directory.path().join("make it");
        test_support::write_script(
            &script,
            "#!/bin/sh\ncat\nprintf '%s|%s|%s|%s' \"$1\" \"$2\" \"$X\" \"$PWD\" > out\n",
        );
        let command = schema::command(&script).arg("a b").args(["*"]).env("X", "$Y").current_dir(directory.path());
        apply(command.version("1"), database).await.expect("the schema");
        let out = std::fs::read_to_string(directory.path().join("out")).expect("it wrote");
        assert_eq!(out, format!("a b|*|$Y|{}", directory.path().display()));
    }
}

on_every_engine! {
    [sqlite] async fn is_killed_with_its_children_when_nobody_awaits_it(database: &TestDatabase) {
        let directory = directory(&[]);
        let pids = directory.path().join("pids");
        let schema = shell(&format!("sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display()));
        let target = target(database);
        let running = tokio::spawn(async move { schema.apply(&target).await });
        eventually("the program runs", async || pids.exists()).await;
        let pids = std::fs::read_to_string(pids).expect("it wrote");
        let pids: Vec<_> = pids.split_whitespace().collect();
        assert!(pids.len() == 2 && pids.iter().all(|pid| lives(pid)), "{pids:?}");

        running.abort();
        assert!(running.await.expect_err("it is no more").is_cancelled());
        eventually("the program and its child are gone", async || !pids.iter().any(|pid| lives(pid))).await;
    }
}

on_every_engine! {
    [sqlite] async fn leaves_nothing_running_behind(database: &TestDatabase) {
        let directory = directory(&[]);
        let out = directory.path().join("pid");
        // The child holds the outputs, too.
        apply(shell(&format!("sleep 600 & echo $! > {}", out.display())), database).await.expect("the schema");
        let pid = std::fs::read_to_string(out).expect("it wrote");
        eventually("the child is gone", async || !lives(pid.trim())).await;
    }
}

on_every_engine! {
    [sqlite] async fn writes_as_much_as_it_likes(database: &TestDatabase) {
        let (message, _) = refusal(shell("i=0; while [ $i -lt 20000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; exit 1"), database).await;
        // The two outputs may arrive in either order.
        assert!(message.contains("out 19999") || message.contains("err 19999"), "{message}");
        assert!(message.len() < 2000, "{} bytes", message.len());
    }
}

on_every_engine! {
    [sqlite] async fn files_that_change_meanwhile_make_it_fail(database: &TestDatabase) {
        for (script, path) in [("echo b > 1.sql", "1.sql"), ("rm 2.sql", "2.sql"), ("mkdir more", "more")] {
            let directory = directory(&[("1.sql", "a"), ("2.sql", "a")]);
            let schema = schema::command("sh").args(["-c", script]).current_dir(directory.path()).watch(directory.path());
            assert_eq!(fingerprint(&schema), fingerprint(&schema));
            let (message, hint) = refusal(schema, database).await;
            let path = directory.path().join(path);
            assert_eq!(message, format!("`{}` changed while `sh -c {script}` made the schema", path.display()));
            assert_eq!(hint.as_deref(), Some("try again, or watch no files that the program writes itself"));
        }
    }
}

on_every_engine! {
    [sqlite] async fn what_python_compiles_meanwhile_is_no_change(database: &TestDatabase) {
        let directory = directory(&[("versions/1.py", "a")]);
        let python = "mkdir -p versions/__pycache__ && echo b > versions/__pycache__/1.cpython-311.pyc";
        let schema = || schema::command("sh").args(["-c", python]).current_dir(directory.path()).watch(directory.path());
        let (first, before) = (schema(), fingerprint(&schema()));
        assert_eq!(fingerprint(&first), before);
        apply(first, database).await.expect("the schema");
        assert!(directory.path().join("versions/__pycache__").exists());
        assert_eq!(fingerprint(&schema()), before);
    }
}

#[test]
fn a_fingerprint_tells_every_change() {
    let directory = directory(&[("1.sql", "a"), ("more/2.sql", "b"), ("one", "x"), (".git/x", "x")]);
    let path = directory.path();
    let of = || fingerprint(&schema::command("x").arg("y").watch(path));
    let mut seen = vec![of()];
    write(path, ".git/x", "y");
    assert_eq!(of(), seen[0], "what is hidden is no part of it");
    let elsewhere = crate::harness::directory(&[("1.sql", "a"), ("more/2.sql", "b"), ("one", "x")]);
    assert_eq!(fingerprint(&schema::command("x").arg("y").watch(elsewhere.path())), seen[0], "nor where it is");

    let mut changed = |what: &str, now| {
        assert!(!seen.contains(&now), "no difference: {what}");
        seen.push(now);
    };
    write(path, "more/2.sql", "c");
    changed("another content", of());
    std::fs::rename(path.join("more/2.sql"), path.join("more/3.sql")).expect("renamed");
    changed("another name", of());
    std::fs::rename(path.join("more/3.sql"), path.join("3.sql")).expect("renamed");
    changed("in another directory", of());
    let command = || schema::command("x").arg("y").watch(path);
    changed("one file of them", fingerprint(&schema::command("x").arg("y").watch(path.join("one"))));
    changed("another program", fingerprint(&schema::command("z").arg("y").watch(path)));
    changed("another argument", fingerprint(&command().arg("")));
    changed("another version", fingerprint(&command().version("2")));
    changed("a variable", fingerprint(&command().env("a", "b")));
    changed("another variable", fingerprint(&command().env("ab", "")));
    changed("another variable for the URL", fingerprint(&command().url_in("ab")));
    changed("another directory", fingerprint(&command().current_dir("x")));
}

#[test]
fn something_must_tell_when_it_is_another() {
    let mut fingerprint = freshdb_databases::Fingerprint::new();
    let (message, hint) =
        told(&schema::command("make").arg("db").fingerprint(&mut fingerprint).expect_err("it is refused"));
    assert_eq!(message, "nothing tells when the schema that `make db` makes is another");
    assert!(hint.is_some());
    let (message, _) =
        told(&schema::command("make").watch("not/there").fingerprint(&mut fingerprint).expect_err("it is refused"));
    assert!(message.starts_with("the watched file `not/there` cannot be read: No such file"), "{message}");
}
