//! The schema: made once, by whomever, and checked by everyone. These tests start from an empty database.

use std::time::Duration;

use freshdb::test::Lease;
use tags_api::database::{Database, DatabaseUrl, Options};

use crate::harness::{elsewhere, hold_migrations};

/// A process of the service's: each migrates by itself.
async fn open(lease: &Lease) -> Database {
    open_with(lease, &Options::default()).await
}

async fn open_with(lease: &Lease, options: &Options) -> Database {
    let url = DatabaseUrl::parse(&lease.url().reveal()).expect("a URL");
    Database::open(url, options).await.expect("the database opens")
}

#[freshdb::test(flavor = "multi_thread")]
async fn of_many_that_migrate_at_once_one_does_the_work(lease: Lease) {
    let mut migrations = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let process = open(&lease).await;
        migrations.spawn(async move { process.migrate().await });
    }
    let mut applied = Vec::new();
    while let Some(migrated) = migrations.join_next().await {
        applied.extend(migrated.expect("no panic").expect("the schema is made"));
    }
    assert_eq!(applied, ["m20261122_000001_create_tags"]);
    open(&lease).await.require_schema().await.expect("the schema is there");
}

/// One that does not come to its end, such as one whose network has fallen silent, does not hold up the others for ever.
#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn who_migrates_is_not_waited_for_without_end(lease: Lease) {
    let process = open_with(&lease, &Options { migration_wait: Duration::from_secs(1), ..Options::default() }).await;
    let other = hold_migrations(&lease).await;
    let sentence = process.migrate().await.expect_err("the other one migrates").to_string();
    let shown = DatabaseUrl::parse(&lease.url().reveal()).expect("a URL");
    assert_eq!(sentence, format!("cannot migrate {shown}: another process has been migrating it for 1s"));
    other.close().await;
    process.migrate().await.expect("its turn has come");
}

/// That it waits no longer for another process is said of nothing else: what its statements wait for is the server's matter.
#[freshdb::test(flavor = "multi_thread", on = [postgres])]
async fn a_migration_that_has_begun_waits_for_others_as_the_server_says(lease: Lease) {
    let wait = Duration::from_millis(500);
    let process = open_with(&lease, &Options { migration_wait: wait, ..Options::default() }).await;
    let mut other = test_support::Client::connect(&lease.url().reveal()).await;
    // A second table of this name waits until it is certain whether there is the first.
    other.execute("BEGIN; CREATE TABLE tags (id INTEGER)").await;
    let migration = tokio::spawn(async move { process.migrate().await });
    // Not in that transaction, in which the list of sessions stays as it was first seen.
    let mut observer = elsewhere(&lease).observer().await;
    let waits_for_long = "SELECT count(*) FROM pg_stat_activity \
                          WHERE datname = current_database() AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '1s'";
    test_support::eventually("the migration waits for more than a second, or has failed", async || {
        migration.is_finished() || observer.number(waits_for_long).await > 0
    })
    .await;
    drop(observer);
    other.execute("ROLLBACK").await;
    other.close().await;
    let applied = migration.await.expect("no panic").expect("its turn has come");
    assert_eq!(applied, ["m20261122_000001_create_tags"]);
}

#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn a_server_that_is_behind_is_left_alone(lease: Lease) {
    let process = open(&lease).await;
    for _ in 0..2 {
        let error = process.require_schema().await.expect_err("the schema is behind");
        let sentence = error.to_string();
        assert!(sentence.ends_with("is behind: it lacks m20261122_000001_create_tags"), "{sentence}");
        assert!(sentence.contains(":***@"), "the password is not shown: {sentence}");
        assert_eq!(error.hint(), Some("run `tags-api migrate`, or start with `--migrate`"));
    }
}

/// The version before the one that has migrated the database keeps working while it is replaced.
#[freshdb::test]
async fn a_schema_that_is_ahead_is_no_error(lease: Lease) {
    let process = open(&lease).await;
    process.migrate().await.expect("the schema is made");
    elsewhere(&lease)
        .execute("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99990101_000001_later', 1)")
        .await;
    process.require_schema().await.expect("no error");
    assert_eq!(process.migrate().await, Ok(vec![]));
}

/// Someone else's table `tags` is not taken over, nor changed.
#[freshdb::test]
async fn a_table_that_is_not_the_services_is_said(lease: Lease) {
    elsewhere(&lease).execute("CREATE TABLE tags (id INTEGER)").await;
    let error = open(&lease).await.migrate().await.expect_err("the table is there");
    assert!(error.to_string().contains("already exists"), "{error}");
    elsewhere(&lease).execute("INSERT INTO tags (id) VALUES (1)").await;
    // The lock on migrations is free again.
    open(&lease).await.migrate().await.expect_err("the table is still there");
}
