//! The schema: made once, by whomever, and checked by everyone.

use tags_api::database::{Database, DatabaseUrl, Options};

use test_support::TestDatabase;

async fn open(database: &TestDatabase) -> Database {
    let url = DatabaseUrl::parse(database.url()).expect("a URL");
    Database::open(url, &Options::default()).await.expect("the database opens")
}

on_every_engine! {
    async fn of_many_that_migrate_at_once_one_does_the_work(database: &TestDatabase) {
        let mut migrations = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let process = open(database).await;
            migrations.spawn(async move { process.migrate().await });
        }
        let mut applied = Vec::new();
        while let Some(migrated) = migrations.join_next().await {
            applied.extend(migrated.expect("no panic").expect("the schema is made"));
        }
        assert_eq!(applied, ["m20261122_000001_create_tags"]);
        open(database).await.require_schema().await.expect("the schema is there");
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn a_server_that_is_behind_is_left_alone(database: &TestDatabase) {
        let process = open(database).await;
        for _ in 0..2 {
            let error = process.require_schema().await.expect_err("the schema is behind");
            let sentence = error.to_string();
            assert!(sentence.ends_with("is behind: it lacks m20261122_000001_create_tags"), "{sentence}");
            assert!(sentence.contains(":***@"), "the password is not shown: {sentence}");
            assert_eq!(error.hint(), Some("run `tags-api migrate`, or start with `--migrate`"));
        }
    }
}

on_every_engine! {
    /// The version before the one that has migrated the database keeps working while it is replaced.
    async fn a_schema_that_is_ahead_is_no_error(database: &TestDatabase) {
        let process = open(database).await;
        process.migrate().await.expect("the schema is made");
        database.execute("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99990101_000001_later', 1)").await;
        process.require_schema().await.expect("no error");
        assert_eq!(process.migrate().await, Ok(vec![]));
    }
}

on_every_engine! {
    /// Someone else's table `tags` is not taken over, nor changed.
    async fn a_table_that_is_not_the_services_is_said(database: &TestDatabase) {
        database.execute("CREATE TABLE tags (id INTEGER)").await;
        let error = open(database).await.migrate().await.expect_err("the table is there");
        assert!(error.to_string().contains("already exists"), "{error}");
        database.execute("INSERT INTO tags (id) VALUES (1)").await;
        // The lock on migrations is free again.
        open(database).await.migrate().await.expect_err("the table is still there");
    }
}
