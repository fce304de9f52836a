//! A server that takes no writes: it was made so, or the address leads to a replica.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use freshdb_databases::Kind;
use futures_util::future::join_all;
use serde_json::json;
use tags_api::database::{Database, DatabaseUrl, Options};
use tags_api::http::Limits;
use test_support::{DEADLINE, Engine, TestDatabase, eventually};
use url::Url;

use crate::harness::{Answer, Client, Setup, TestApp, own_server, schema};

async fn post(app: &TestApp, tag_id: &str) -> Answer {
    app.post_tags(&json!({ "tags": [{ "tag_id": tag_id }] })).await
}

/// Holds that the service says of its database that it takes no writes, and still reads.
async fn check_is_read_only(app: &TestApp) {
    let answer = post(app, "refused").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json, json!({ "detail": "The database is read-only" }));
    let answer = app.delete("before").await;
    assert_eq!(answer.json, json!({ "detail": "The database is read-only" }));
    let answer = app.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json, json!({ "status": "unavailable", "detail": "the database is read-only" }));
    assert_eq!(app.tag_ids("").await, ["before"]);
}

/// A user without special rights is refused, and the service is ready again when the server is.
async fn check_follows_the_server(kind: Kind) {
    let (server, _place) = own_server(kind).await;
    let mut administrator = test_support::Client::connect(&server.url().reveal()).await;
    administrator.execute("CREATE DATABASE tags").await;
    let (user, read_only, writable): (&[&str], &[&str], &[&str]) = match kind {
        Kind::Postgres => (
            &["CREATE ROLE tags LOGIN PASSWORD 'tags'", "ALTER DATABASE tags OWNER TO tags"],
            &["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"],
            &["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"],
        ),
        _ => (
            &["CREATE USER tags IDENTIFIED BY 'tags'", "GRANT ALL ON tags.* TO tags"],
            &["SET GLOBAL read_only = ON"],
            &["SET GLOBAL read_only = OFF"],
        ),
    };
    for sql in user {
        administrator.execute(sql).await;
    }
    let mut url = Url::parse(&server.url().reveal()).expect("a URL");
    url.set_username("tags").expect("a user");
    url.set_password(Some("tags")).expect("a password");
    url.set_path("tags");
    let options = Options { pool_wait: DEADLINE / 2, ..Options::default() };
    let database = Database::open(DatabaseUrl::parse(url.as_str()).expect("a URL"), &options).await.expect("it opens");
    database.migrate().await.expect("a schema");
    let elsewhere = TestDatabase::at(Engine::named(kind.name()), url.as_str());
    let app = TestApp::of(database.clone(), elsewhere, Limits::default());
    app.store(&["before"]).await;
    assert_eq!(app.get("/readyz").await.status, StatusCode::OK);

    // An administrator may write when others may not, and so may reset what is set.
    administrator
        .execute(if kind == Kind::Postgres { "SET default_transaction_read_only = off" } else { "DO 0" })
        .await;
    for sql in read_only {
        administrator.execute(sql).await;
    }
    // PostgreSQL's processes read their settings when they get to it.
    eventually("it takes no writes", async || app.get("/readyz").await.status != StatusCode::OK).await;
    check_is_read_only(&app).await;
    for sql in writable {
        administrator.execute(sql).await;
    }
    eventually("it takes writes", async || app.get("/readyz").await.status == StatusCode::OK).await;
    app.store(&["after"]).await;

    administrator.close().await;
    database.close(DEADLINE).await.expect("nothing leaks");
    server.stop().await.expect("it stops");
}

mod a_server_that_takes_no_writes_is_not_ready {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn mysql() {
        check_follows_the_server(Kind::Mysql).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn mariadb() {
        check_follows_the_server(Kind::Mariadb).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres() {
        check_follows_the_server(Kind::Postgres).await;
    }
}

/// A user who has no more rights than the service needs is refused, and by the setting of a session even an administrator.
async fn check_is_seen_with_few_rights(kind: Kind, of_sessions: &str) {
    let (server, _place) = own_server(kind).await;
    let mut administrator = test_support::Client::connect(&server.url().reveal()).await;
    administrator.execute("CREATE DATABASE tags").await;
    let mut administrators = Url::parse(&server.url().reveal()).expect("a URL");
    administrators.set_path("tags");
    let options = Options { pool_wait: DEADLINE / 2, ..Options::default() };
    let open = async |url: &Url| {
        let url = DatabaseUrl::parse(url.as_str()).expect("a URL");
        Database::open(url, &options).await.expect("it opens")
    };
    open(&administrators).await.migrate().await.expect("a schema");
    for sql in [
        "INSERT INTO tags.tags (tag_id) VALUES ('before')",
        "CREATE USER app IDENTIFIED BY 'app'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON tags.tags TO app",
        "GRANT SELECT ON tags.seaql_migrations TO app",
    ] {
        administrator.execute(sql).await;
    }
    let mut apps = administrators.clone();
    apps.set_username("app").expect("a user");
    apps.set_password(Some("app")).expect("a password");
    for (url, variable) in [(&apps, "read_only"), (&apps, of_sessions), (&administrators, of_sessions)] {
        administrator.execute(&format!("SET GLOBAL {variable} = ON")).await;
        let database = open(url).await;
        let elsewhere = TestDatabase::at(Engine::named(kind.name()), url.as_str());
        let app = TestApp::of(database.clone(), elsewhere, Limits::default());
        check_is_read_only(&app).await;
        administrator.execute(&format!("SET GLOBAL {variable} = OFF")).await;
        eventually("it takes writes", async || app.get("/readyz").await.status == StatusCode::OK).await;
        database.close(DEADLINE).await.expect("nothing leaks");
    }
    administrator.close().await;
    server.stop().await.expect("it stops");
}

mod that_no_writes_are_taken_is_seen_with_few_rights {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn mysql() {
        check_is_seen_with_few_rights(Kind::Mysql, "transaction_read_only").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn mariadb() {
        check_is_seen_with_few_rights(Kind::Mariadb, "tx_read_only").await;
    }
}

/// One that cannot be opened to write is opened to read.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_file_that_takes_no_writes_is_not_ready(setup: Setup) {
    setup.elsewhere.execute("PRAGMA journal_mode = WAL; INSERT INTO tags VALUES ('before', NULL)").await;
    for how in ["mode=ro", "immutable=1"] {
        let url = format!("{}?{how}", setup.elsewhere.url());
        let app = setup.app_at(&url, &setup.options(), Limits::default()).await;
        check_is_read_only(&app).await;
    }
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_file_that_cannot_be_read_is_not_ready(setup: Setup) {
    let app = setup.app(&setup.options(), Limits::default()).await;
    assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
    setup.elsewhere.execute("DROP TABLE seaql_migrations").await;
    let answer = app.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.json, json!({ "status": "unavailable", "detail": "the database refused a statement" }));
}

/// Who holds the file shows that it takes writes; and nobody who writes waits because of the question.
#[freshdb::test(schema = schema(), on = [sqlite], flavor = "multi_thread")]
async fn a_file_that_another_writes_is_ready(app: TestApp) {
    let lock = app.elsewhere.lock_tags().await;
    let asked = Instant::now();
    for _ in 0..10 {
        assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "it does not wait: {:?}", asked.elapsed());
    lock.release().await;
    let asking = async {
        for _ in 0..200 {
            assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
        }
    };
    let writing = async {
        for number in 0..50 {
            app.store(&[&number.to_string()]).await;
        }
    };
    tokio::join!(asking, writing);
    assert_eq!(app.tag_ids("").await.len(), 50);
}

/// Connections that were made while the address led to a replica go on to lead there. PostgreSQL has a setting for new sessions alone.
#[freshdb::test(schema = schema(), on = [postgres], flavor = "multi_thread")]
async fn connections_to_a_replica_are_not_kept(setup: Setup) {
    let set =
        |change: &str| format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {change}', current_database()); END $$");
    let mut administrator = test_support::Client::connect(setup.elsewhere.url()).await;
    administrator.execute("INSERT INTO tags VALUES ('before')").await;
    administrator.execute(&set("SET default_transaction_read_only = on")).await;
    let app = setup.app(&setup.options(), Limits::default()).await;
    check_is_read_only(&app).await;
    join_all((0..3).map(|_| app.get("/api/tag"))).await;

    administrator.execute(&set("RESET default_transaction_read_only")).await;
    administrator.close().await;
    let tags: Vec<String> = (0..2 * app.database.stats().limit).map(|number| format!("{number}")).collect();
    // All of them are made anew once a second.
    eventually("no connection is left that may not write", async || {
        let answers = join_all(tags.iter().map(|tag| post(&app, tag))).await;
        answers.iter().all(|answer| answer.status == StatusCode::CREATED)
    })
    .await;
    assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
}
