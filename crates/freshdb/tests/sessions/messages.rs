//! What people read when something is in the way: the fact, the cause, and a hint where it is no guess.

use std::net::Ipv6Addr;
use std::time::Duration;

use freshdb::{Engine, EngineOptions, Error, Verdict};
use insta::assert_snapshot;
use sqlx::AssertSqlSafe;
use test_support::{DEADLINE, Proxy, Weather, eventually};

use crate::harness::{CLOSE, driven_runtime, number, patient, runtime_of_a_test};

/// Both forms of an error: `{}`, and `{:?}` as `unwrap` shows it.
fn both(error: impl std::fmt::Display + std::fmt::Debug) -> String {
    redacted(&format!("{error}\n--- {{:?}}\n{error:?}"))
}

/// Without what differs from run to run: numbers of connections, ages, ports, lines, and the names of databases.
fn redacted(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let length = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        shown.push_str(before);
        shown.push('#');
        rest = &from[length..];
    }
    shown.push_str(rest);
    shown.replace("#.#.#.#:#", "<server>")
}

with_every_driver! {
    [postgres]
    async fn a_closed_engine(_database: &TestDatabase, open: Open) {
        let engine = open("postgres://u:secret@db/tags", patient());
        engine.close(CLOSE).await.expect("nothing leaks");
        assert_snapshot!(both(engine.session().await.expect_err("it is closed")), @r#"
        the engine of `postgres://u@db:#/tags` is closed
        --- {:?}
        the engine of `postgres://u@db:#/tags` is closed
        hint: close the engine after the last of its users has ended
        "#);
    }
}

with_every_driver! {
    [sqlite]
    async fn an_exhausted_engine(_database: &TestDatabase, open: Open) {
        let engine = open("sqlite::memory:", EngineOptions::new().acquire_timeout(Duration::from_secs(1)));
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("SELECT  1\n, 2").execute(&mut tx).await.expect("it works");
        assert_snapshot!(both(engine.session().await.expect_err("it is in use")), @r#"
        no session of `sqlite::memory:` became free within #.# s: all # are in use
          transaction: open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ? , ?
        --- {:?}
        no session of `sqlite::memory:` became free within #.# s: all # are in use
          transaction: open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ? , ?
        hint: a session is free again when it is dropped; if all of these are at work, raise `max_connections`
        "#);
        assert_snapshot!(both(engine.begin().await.expect_err("it is in use")), @r#"
        no transaction on `sqlite::memory:` could begin within #.# s: another one is open
          transaction: open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ? , ?
        --- {:?}
        no transaction on `sqlite::memory:` could begin within #.# s: another one is open
          transaction: open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ? , ?
        hint: SQLite has one writer at a time: keep what is done inside a transaction short
        "#);
    }
}

with_every_driver! {
    [postgres]
    async fn sessions_that_leak(database: &TestDatabase, open: Open) {
        // A server that is busy may not say in time what a session is doing.
        let leaks = loop {
            let engine = open(database.url(), patient());
            let session = engine.session().await.expect("a session");
            let mut lent = engine.session().await.expect("a session");
            sqlx::query("SELECT 2").execute(&mut *lent).await.expect("it works");
            let mut tx = engine.begin().await.expect("a transaction");
            sqlx::query("SELECT 1").execute(&mut tx).await.expect("it works");
            let leaks = engine.close(Duration::from_secs(1)).await.expect_err("three leak");
            drop((session, lent, tx));
            if leaks.sessions().iter().all(|session| session.state().is_some()) {
                break leaks;
            }
        };
        assert_snapshot!(both(leaks), @r#"
        # sessions of `postgres://postgres@<server>/freshdb_test_#_#` were still open after #.# s
          session #: idle, open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: none
          session #: idle, open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ?
          transaction #: idle in transaction, open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ?
        --- {:?}
        # sessions of `postgres://postgres@<server>/freshdb_test_#_#` were still open after #.# s
          session #: idle, open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: none
          session #: idle, open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ?
          transaction #: idle in transaction, open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: SELECT ?
        hint: drop each session, or await the task that owns it, before the engine is closed
        "#);
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    async fn what_leaks_is_described_whatever_others_execute(database: &TestDatabase, open: Open) {
        let other = open(database.url(), patient());
        let statement = format!("{} -- 🦀", database.long_statement());
        let mut session = other.session().await.expect("a session");
        let executing = tokio::spawn(async move {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut session).await.map(drop)
        });
        let mut observer = database.observer().await;
        eventually("it is executed", async || observer.statements_running().await >= 1).await;
        // A server that is busy may not say in time what a session is doing.
        eventually("it is described", async || {
            let engine = open(database.url(), patient());
            let session = engine.session().await.expect("a session");
            let leaks = engine.close(Duration::from_millis(100)).await.expect_err("one leaks");
            drop(session);
            leaks.sessions()[0].state().is_some()
        })
        .await;
        assert!(observer.statements_running().await >= 1, "it was executed for half a minute, and described after that");
        executing.abort();
        drop(executing.await);
    }
}

with_every_driver! {
    [sqlite]
    async fn a_session_that_leaks_and_did_nothing(_database: &TestDatabase, open: Open) {
        let engine = open("sqlite::memory:", patient());
        let session = engine.session().await.expect("a session");
        assert_snapshot!(both(engine.close(Duration::from_secs(1)).await.expect_err("one leaks")), @r#"
        # session of `sqlite::memory:` was still open after #.# s
          session: open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: none
        --- {:?}
        # session of `sqlite::memory:` was still open after #.# s
          session: open for #.# s
            opened at crates/freshdb/tests/sessions/messages.rs:#:#
            last statement: none
        hint: drop each session, or await the task that owns it, before the engine is closed
        "#);
        drop(session);
    }
}

with_every_driver! {
    [postgres]
    async fn a_session_that_was_cut_off(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        let mut session = engine.session().await.expect("a session");
        let sleep = sqlx::query("SELECT pg_sleep(60)").execute(&mut session);
        assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
        let error = sqlx::query("SELECT 1").execute(&mut session).await.expect_err("it is cut off");
        assert_snapshot!(both(Error::within(&error).expect("one of ours")), @r#"
        the session opened at crates/freshdb/tests/sessions/messages.rs:#:# cannot be used any more: a statement on it was dropped before its answer came
        --- {:?}
        the session opened at crates/freshdb/tests/sessions/messages.rs:#:# cannot be used any more: a statement on it was dropped before its answer came
        hint: drop the session together with the statement, and take a new one
        "#);

        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("SELECT 1 / 0").execute(&mut tx).await.expect_err("it fails");
        assert_snapshot!(both(tx.commit().await.expect_err("it was undone")), @r#"
        the transaction cannot go on: it was undone before (division by zero)
        --- {:?}
        the transaction cannot go on: it was undone before (division by zero)
        hint: return the error of a statement in a transaction instead of going on, or undo it by a savepoint
        "#);
    }
}

with_every_driver! {
    [mysql]
    /// The driver would wait for ever for an answer to what it has not sent.
    async fn a_statement_that_lacks_values(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        let mut tx = engine.begin().await.expect("a transaction");
        let error = sqlx::query("SELECT ?").execute(&mut tx).await.expect_err("it lacks a value");
        assert_eq!(Verdict::of(&error), Verdict::Refused);
        let rolled_back = tokio::time::timeout(DEADLINE, tx.rollback()).await.expect("nobody waits for the driver");
        assert_snapshot!(both(rolled_back.expect_err("it is of no use")), @r#"
        the session opened at crates/freshdb/tests/sessions/messages.rs:#:# cannot be used any more: a statement on it had more or fewer values than places
        --- {:?}
        the session opened at crates/freshdb/tests/sessions/messages.rs:#:# cannot be used any more: a statement on it had more or fewer values than places
        hint: bind as many values as the statement has places, and take a new session
        "#);
        assert_eq!(number(&engine, "SELECT 1").await.expect("another connection"), 1);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql]
    /// The driver does not know vectors, and would take the rest of their rows for the answer to what is executed next.
    async fn an_answer_that_the_driver_does_not_understand(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        let create = "CREATE TABLE vectors (id INTEGER, place VECTOR(2)); INSERT INTO vectors VALUES (1, TO_VECTOR('[1, 2]')), (2, TO_VECTOR('[3, 4]'))";
        sqlx::raw_sql(create).execute(&engine).await.expect("a table");
        for prepares in [true, false] {
            let mut tx = engine.begin().await.expect("a transaction");
            let sql = "SELECT id, place FROM vectors";
            let done = if prepares { sqlx::query(sql).execute(&mut tx).await } else { sqlx::raw_sql(sql).execute(&mut tx).await };
            let error = done.expect_err("the driver does not know the type");
            assert_eq!(Verdict::of(&error), Verdict::Refused, "the next attempt would end so too: {error:?}");
            let next = tokio::time::timeout(DEADLINE, number(&mut tx, "SELECT 1")).await.expect("nobody waits for the driver");
            next.expect_err("it is of no use");
            let rolled_back = tokio::time::timeout(DEADLINE, tx.rollback()).await.expect("nobody waits for the driver");
            insta::allow_duplicates! {
                assert_snapshot!(both(rolled_back.expect_err("it is of no use")), @r#"
                the session opened at crates/freshdb/tests/sessions/messages.rs:#:# cannot be used any more: the driver did not understand an answer on it
                --- {:?}
                the session opened at crates/freshdb/tests/sessions/messages.rs:#:# cannot be used any more: the driver did not understand an answer on it
                hint: drop the session, and take a new one
                "#);
            }
        }
        assert_eq!(number(&engine, "SELECT 1").await.expect("another connection"), 1);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [sqlite]
    /// The driver refuses it by itself, and nothing is the matter with the connection.
    async fn a_statement_whose_places_the_driver_does_not_know(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        let mut session = engine.session().await.expect("a session");
        sqlx::raw_sql("CREATE TEMPORARY TABLE mine (id INTEGER)").execute(&mut session).await.expect("a table");
        for sql in ["SELECT :name", "SELECT @name", "SELECT $name"] {
            let error = sqlx::query(sql).bind(1).execute(&mut session).await.expect_err("the driver has numbers alone");
            assert_eq!(Verdict::of(&error), Verdict::Refused, "{sql}: {error:?}");
        }
        drop(session);
        assert_eq!(number(&engine, "SELECT COUNT(*) FROM mine").await.expect("the same connection"), 0);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// Whoever reads the log of a service whose password is wrong does not learn it.
    async fn no_message_tells_a_password(database: &TestDatabase, open: Open) {
        let mut url = url::Url::parse(database.url()).expect("a URL");
        url.set_password(Some("s3cr3t-and-wrong")).expect("a password");
        let engine = open(url.as_str(), patient());
        let error = engine.session().await.expect_err("it is refused");
        assert!(error.is_connect(), "{error:?}");
        let shown = format!("{error} {error:?} {engine:?} {} {:?}", engine.target(), patient());
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}

with_every_driver! {
    /// What one user of the engine writes is not for the others: whoever gets no session is told what kind of statement is in the way.
    async fn no_message_tells_the_values_of_anothers_statement(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1).acquire_timeout(Duration::from_millis(500)));
        let mut held = None;
        // Unoptimised, a first connection can take longer than that; it is kept.
        eventually("there is a session", async || {
            held = engine.session().await.ok();
            held.is_some()
        })
        .await;
        let mut holder = held.expect("a session");
        let sql = "SELECT 's3cr3t', 'it''s s3cr3t' /* s3cr3t's */, 4711081547110815 -- s3cr3t";
        sqlx::query(sql).execute(&mut holder).await.expect("it works");
        let error = engine.session().await.expect_err("it is in use");
        let told = format!("{error}{error:?}{:?}{:?}", error.holders(), engine.open_sessions());
        assert!(told.contains("last statement: SELECT ?, ? , ?\n"), "{told}");
        // To whoever asks for it, it is told as it is.
        assert_eq!(error.holders()[0].last_statement(), Some(sql));
        let leaks = engine.close(Duration::from_millis(1)).await.expect_err("one leaks");
        let told = format!("{told}{leaks}{leaks:?}");
        assert!(!told.contains("s3cr3t") && !told.contains("4711081547110815"), "{told}");
        drop(holder);
    }
}

with_every_driver! {
    // It may be what a client has sent.
    [sqlite]
    async fn a_label_is_shown_in_one_short_line(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        let session = engine.session().await.expect("a session");
        let label = format!("GET /first\n    last statement: none\n{}", "/x".repeat(30_000));
        session.label(label.clone());
        let error = engine.close(Duration::ZERO).await.expect_err("the session is open");
        let told = error.to_string();
        assert!(told.contains("opened for GET /first last statement: none /x/x") && told.len() < 1000, "{told}");
        assert_eq!(engine.open_sessions()[0].label(), Some(&*label));
        drop(session);
    }
}

/// Drivers of other languages have parameters that sqlx does not know, and would log with their values: libpq's `sslpassword` is one.
#[test]
fn the_log_tells_no_value_of_a_parameter_that_the_driver_does_not_know() {
    test_support::begin_log();
    let mut engine = Engine::<sqlx::Postgres>::lazy("postgres://u@db/tags?sslpassword=unkn0wn&application_name=a%26b");
    assert_eq!(engine.expect("an engine").target(), "postgres://u@db:5432/tags");
    engine = Engine::lazy("postgres://u@db/?ssl%70assword=unkn0wn&dbname=other&&%FF=unkn0wn&unkn0wn&options[a.b]=c");
    assert_eq!(engine.expect("an engine").target(), "postgres://u@db:5432/other");
    let engine = Engine::<sqlx::MySql>::lazy("mysql://u@db/tags?sslpassword=unkn0wn").expect("an engine");
    assert_eq!(engine.target(), "mysql://u@db:3306/tags");
    let options =
        freshdb::PgEngine::driver_options("postgres://u@db/tags?sslpassword=unkn0wn&user=v").expect("options");
    assert_eq!(options.get_username(), "v");
    assert!(!test_support::warned(&["unkn0wn"]));
    assert!(test_support::warned(&["sslpassword"]));
    assert!(!test_support::warned(&["application_name"]) && !test_support::warned(&["options[a.b]"]));
}

/// What else stands in the URL is not where the driver goes.
#[test]
fn a_server_that_is_reached_by_a_socket_is_shown_with_it() {
    for (url, target) in [
        ("mysql://u:secret@db:1/tags?socket=/run/a%20b/mysqld.sock", "mysql://u@db:1/tags?socket=/run/a b/mysqld.sock"),
        ("mariadb://u@localhost/tags?socket=/run/m.sock", "mysql://u@localhost:3306/tags?socket=/run/m.sock"),
    ] {
        assert_eq!(Engine::<sqlx::MySql>::lazy(url).expect("an engine").target(), target);
    }
    for url in ["postgres://u:secret@%2Frun%2Fpg:1/tags", "postgres://u:secret@db:1/tags?host=/run/pg"] {
        let engine = Engine::<sqlx::Postgres>::lazy(url).expect("an engine");
        assert!(engine.target().ends_with("/tags?host=/run/pg"), "{}", engine.target());
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    async fn a_server_at_an_ipv6_address(database: &TestDatabase, open: Open) {
        let proxy = Proxy::at(Ipv6Addr::LOCALHOST.into(), database.server_address()).await;
        let engine = open(&database.url_through_ipv6(proxy.port), patient());
        let session = engine.session().await.expect("a session");
        let error = engine.close(Duration::ZERO).await.expect_err("the session is open");
        let address = format!("@[::1]:{}/", proxy.port);
        assert!(error.to_string().contains(&address), "{error}");
        drop(session);
    }
}

with_every_driver! {
    [postgres]
    async fn a_server_that_is_away(database: &TestDatabase, open: Open) {
        let proxy = Proxy::before(database.server_address()).await;
        let engine = open(&database.url_through(proxy.port), patient());
        proxy.set(Weather::Cut);
        let error = engine.session().await.expect_err("nobody answers");
        let text = redacted(&format!("{error}"));
        assert_snapshot!(text, @r"cannot connect to `postgres://postgres@<server>/freshdb_test_#_#`");
        assert!(format!("{error:?}").contains("\n  caused by: "), "{error:?}");
    }
}

with_every_driver! {
    [postgres]
    async fn a_commit_that_is_in_doubt(database: &TestDatabase, open: Open) {
        let proxy = Proxy::before(database.server_address()).await;
        let engine = open(&database.url_through(proxy.port), patient());
        let tx = engine.begin().await.expect("a transaction");
        proxy.set(Weather::Stall);
        let (committed, ()) = tokio::join!(tx.commit(), async { proxy.drop_connections() });
        let error = committed.expect_err("there is no answer");
        assert_snapshot!(error, @"the connection was lost before COMMIT was answered: the transaction is stored, or it is not");
        let told = format!("{error:?}");
        let (fact, rest) = told.split_once("\n  caused by: ").expect("a cause");
        assert_eq!(fact, error.to_string());
        assert!(rest.ends_with("\nhint: look in the database for what it stores; what may be done twice can be run again, and `Tx::run` does so"), "{told}");
        let behind = sqlx::Error::from(error).to_string();
        assert!(behind.contains("or it is not: error communicating with database: "), "{behind}");
    }
}

with_every_driver! {
    [postgres]
    /// Not the server's fault, and no reason to distrust the other connections.
    async fn a_place_that_came_late(database: &TestDatabase, open: Open) {
        let proxy = Proxy::before(database.server_address()).await;
        // What is left of it has to be long enough for a busy machine to begin with.
        let limit = Duration::from_secs(6);
        let options = EngineOptions::new().max_connections(1).acquire_timeout(limit).max_lifetime(Duration::ZERO);
        let engine = open(&database.url_through(proxy.port), options);
        let session = engine.session().await.expect("a session");
        proxy.set(Weather::Stall);
        let late = async {
            tokio::time::sleep(limit * 7 / 10).await;
            drop(session);
        };
        let error = tokio::join!(engine.session(), late).0.expect_err("there is no time left");
        assert_snapshot!(redacted(&format!("{error:?}")), @r"
        cannot connect to `postgres://postgres@<server>/freshdb_test_#_#`
          caused by: error communicating with database: no answer within #.# s, after #.# s of waiting for a place
          caused by: no answer within #.# s, after #.# s of waiting for a place
        ");
        assert_eq!(engine.stats().losses, 0);
    }
}

#[test]
fn options_that_cannot_be_kept() {
    let error = Engine::<sqlx::Postgres>::lazy("u:s3cr3t@db").expect_err("it is no URL");
    assert_snapshot!(both(error), @r#"
    the database URL is not one of PostgreSQL's, which begin with `postgres://` or `postgresql://`
    --- {:?}
    the database URL is not one of PostgreSQL's, which begin with `postgres://` or `postgresql://`
    "#);
    let error = Engine::<sqlx::MySql>::lazy("postgres://u:s3cr3t@db/tags").expect_err("it is another database's");
    assert_snapshot!(both(error), @r#"
    the database URL is not one of MySQL's or MariaDB's, which begin with `mysql://` or `mariadb://`
    --- {:?}
    the database URL is not one of MySQL's or MariaDB's, which begin with `mysql://` or `mariadb://`
    "#);
    // sqlx would make a file of that name.
    let error = Engine::<sqlx::Sqlite>::lazy("postgres://u:s3cr3t@db/tags").expect_err("it is another database's");
    assert_snapshot!(both(error), @r#"
    the database URL is not one of SQLite's, which begin with `sqlite://`
    --- {:?}
    the database URL is not one of SQLite's, which begin with `sqlite://`
    "#);
    for url in
        ["tags.db", ":memory:", "sqlite:tags.db", "/var/lib/a:b.db", "file:tags.db?mode=ro", "file:///tmp/tags.db"]
    {
        assert!(Engine::<sqlx::Sqlite>::lazy(url).is_ok(), "{url}");
    }
    let runtime = runtime_of_a_test();
    let error = EngineOptions::new().runtime(runtime.handle().clone()).lazy::<sqlx::Sqlite>("sqlite::memory:");
    assert_snapshot!(both(error.expect_err("it stands still")), @r#"
    an engine cannot be bound to a current-thread runtime, which stands still while it is not driven
    --- {:?}
    an engine cannot be bound to a current-thread runtime, which stands still while it is not driven
    "#);
}

#[test]
fn a_runtime_that_has_ended() {
    let runtime = driven_runtime();
    let engine = EngineOptions::new().runtime(runtime.handle().clone()).lazy::<sqlx::Sqlite>("sqlite::memory:");
    let engine = engine.expect("an engine");
    drop(runtime);
    let error = futures_executor::block_on(engine.session()).expect_err("there is no runtime");
    assert_snapshot!(both(error), @r#"
    the runtime to which the engine of `sqlite::memory:` is bound has ended
    --- {:?}
    the runtime to which the engine of `sqlite::memory:` is bound has ended
    hint: bind an engine only to a runtime that outlives it, or leave out `EngineOptions::runtime`
    "#);
}
