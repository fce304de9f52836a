//! Migrations of sqlx's.

use freshdb_databases::schema::{Schema, SqlxMigrations};
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use tempfile::TempDir;

use crate::harness::{apply, directory, fingerprint, refusal, texts, write};

fn migrations() -> TempDir {
    directory(&[
        ("2_rows.up.sql", "INSERT INTO tags VALUES ('x'); INSERT INTO tags VALUES ('y')"),
        ("2_rows.down.sql", "DELETE FROM tags"),
        ("1_tags.sql", "CREATE TABLE tags (name VARCHAR(100) NOT NULL PRIMARY KEY)"),
    ])
}

fn schema(directory: &TempDir) -> SqlxMigrations {
    SqlxMigrations::directory(directory.path()).expect("the migrations")
}

on_every_engine! {
    async fn are_applied_once_and_in_order(database: &TestDatabase) {
        let directory = migrations();
        apply(schema(&directory), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags ORDER BY name").await, ["x", "y"]);

        // sqlx itself sees that nothing is left to do, and that nothing was changed.
        apply(schema(&directory), database).await.expect("the schema again");
        assert_eq!(texts(database, "SELECT description FROM _sqlx_migrations ORDER BY version").await, ["tags", "rows"]);
    }
}

on_every_engine! {
    async fn the_one_that_fails_is_named(database: &TestDatabase) {
        let directory = migrations();
        write(directory.path(), "3_more_rows.sql", "INSERT INTO tags VALUES ('x')");
        let (message, _) = refusal(schema(&directory), database).await;
        assert!(message.starts_with("sqlx migration 3 `more rows` fails: error returned from database: "), "{message}");
    }
}

on_every_engine! {
    [postgres] async fn what_refuses_to_run_in_a_transaction_needs_a_migration_of_its_own(database: &TestDatabase) {
        let directory = migrations();
        let index = "CREATE INDEX CONCURRENTLY by_name ON tags (name)";
        write(directory.path(), "3_index.sql", index);
        let (_, hint) = refusal(schema(&directory), database).await;
        assert!(hint.expect("a hint").ends_with("whose first line is `-- no-transaction`"));
        write(directory.path(), "3_index.sql", &format!("-- no-transaction\n{index}"));
        apply(schema(&directory), database).await.expect("the schema");
    }
}

#[test]
fn a_fingerprint_tells_every_change() {
    let directory = migrations();
    let mut seen = vec![fingerprint(&schema(&directory))];
    write(directory.path(), "2_rows.down.sql", "DELETE FROM tags WHERE true");
    assert_eq!(fingerprint(&schema(&directory)), seen[0], "what takes back is no part of it");
    assert_eq!(fingerprint(&schema(&migrations())), seen[0], "nor where it is");

    let mut changed = |what: &str| {
        let now = fingerprint(&schema(&directory));
        assert!(!seen.contains(&now), "no difference: {what}");
        seen.push(now);
    };
    write(directory.path(), "1_tags.sql", "CREATE TABLE tags (name VARCHAR(200) NOT NULL PRIMARY KEY)");
    changed("another content");
    write(directory.path(), "3_more.sql", "");
    changed("one more");
    std::fs::rename(directory.path().join("3_more.sql"), directory.path().join("4_more.sql")).expect("renamed");
    changed("another version");
    write(directory.path(), "4_more.sql", "-- no-transaction\n");
    changed("without a transaction");
}

/// sqlx can be told to leave characters out of its checksum.
#[test]
fn what_the_checksum_leaves_out_makes_a_difference() {
    let migrator = |text: &'static str| {
        let migration = Migration::new(1, "tags".into(), MigrationType::Simple, text.into_sql_str(), false);
        let migration = Migration { checksum: vec![1, 2, 3].into(), ..migration };
        SqlxMigrations::new(Migrator::with_migrations(vec![migration]))
    };
    assert_ne!(fingerprint(&migrator("-- x\nDROP TABLE t;")), fingerprint(&migrator("-- x DROP TABLE t;")));
}

#[test]
fn what_holds_no_migrations_is_refused() {
    let directory = directory(&[("readme.md", "x")]);
    let error = SqlxMigrations::directory(directory.path()).expect_err("it is refused");
    assert_eq!(error.to_string(), format!("`{}` holds no sqlx migration", directory.path().display()));
    let error = SqlxMigrations::directory("not/there").expect_err("it is refused");
    assert_eq!(error.to_string(), "the directory `not/there` cannot be read");
    write(directory.path(), "x_y.sql", "");
    let error = SqlxMigrations::directory(directory.path()).expect_err("it is refused");
    assert_eq!(error.to_string(), format!("`{}` holds no sqlx migrations", directory.path().display()));
}

#[test]
fn a_migrator_may_be_borrowed() {
    static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;
    fn is_a_schema(_: &dyn Schema) {}
    is_a_schema(&SqlxMigrations::new(&MIGRATOR));
}
