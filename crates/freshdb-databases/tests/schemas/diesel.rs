//! Migrations of diesel's.

use freshdb_databases::schema::DieselMigrations;
use tempfile::TempDir;

use crate::harness::{apply, directory, fingerprint, refusal, texts, write};

const TAGS: &str = "CREATE TABLE tags (name VARCHAR(100) NOT NULL PRIMARY KEY);";

fn migrations() -> TempDir {
    directory(&[
        ("00000000000002_rows/up.sql", "INSERT INTO tags VALUES ('x'); INSERT INTO tags VALUES ('y');"),
        ("00000000000002_rows/down.sql", "DELETE FROM tags;"),
        ("00000000000001_tags/up.sql", TAGS),
        ("2026-01-01-120000_more/up.sql", "INSERT INTO tags VALUES ('z');"),
        (".hidden/up.sql", "nonsense"),
        ("schema.rs", "nonsense"),
    ])
}

fn schema(directory: &TempDir) -> DieselMigrations {
    DieselMigrations::new(directory.path())
}

on_every_engine! {
    async fn are_applied_in_order_and_recorded_as_diesel_does(database: &TestDatabase) {
        apply(schema(&migrations()), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags ORDER BY name").await, ["x", "y", "z"]);
        let recorded = "SELECT version FROM __diesel_schema_migrations WHERE run_on IS NOT NULL ORDER BY version";
        assert_eq!(texts(database, recorded).await, ["00000000000001", "00000000000002", "20260101120000"]);
    }
}

on_every_engine! {
    [sqlite] async fn what_one_says_of_the_journal_stays(database: &TestDatabase) {
        let directory = migrations();
        write(directory.path(), "0_log/up.sql", "PRAGMA journal_mode = WAL");
        write(directory.path(), "0_log/metadata.toml", "run_in_transaction = false\n");
        apply(schema(&directory), database).await.expect("the schema");
        assert_eq!(texts(database, "PRAGMA journal_mode").await, ["wal"]);
    }
}

on_every_engine! {
    async fn the_one_that_fails_is_named(database: &TestDatabase) {
        let directory = migrations();
        write(directory.path(), "2026-01-02-120000_twice/up.sql", "INSERT INTO tags VALUES ('a'); INSERT INTO tags VALUES ('x');");
        let (message, _) = refusal(schema(&directory), database).await;
        let expected = "statement 2 of the diesel migration `2026-01-02-120000_twice` fails: ";
        assert!(message.starts_with(expected), "{message}");
        // It was in a transaction.
        assert_eq!(texts(database, "SELECT name FROM tags WHERE name = 'a'").await.len(), 0);
    }
}

on_every_engine! {
    async fn its_metadata_say_whether_it_is_in_a_transaction(database: &TestDatabase) {
        let directory = migrations();
        let failing = "INSERT INTO tags VALUES ('a'); COMMIT; nonsense";
        let failing = if database.engine.name() == "postgres" { "CREATE INDEX CONCURRENTLY x ON tags (name)" } else { failing };
        write(directory.path(), "3_alone/up.sql", failing);
        write(directory.path(), "3_alone/metadata.toml", "run_in_transaction = false\n");
        let applied = apply(schema(&directory), database).await;
        if database.engine.name() == "postgres" {
            applied.expect("it is in no transaction");
            return;
        }
        let (message, _) = crate::harness::told(&applied.expect_err("nonsense"));
        // SQLite alone refuses to end a transaction that there is none of.
        let statement = if database.engine.name() == "sqlite" { 2 } else { 3 };
        assert!(message.starts_with(&format!("statement {statement} of the diesel migration `3_alone`")), "{message}");
        assert_eq!(texts(database, "SELECT name FROM tags WHERE name = 'a'").await.len(), 1);
    }
}

on_every_engine! {
    [postgres] async fn what_refuses_to_run_in_a_transaction_needs_a_migration_of_its_own(database: &TestDatabase) {
        let directory = migrations();
        write(directory.path(), "3_index/up.sql", "CREATE INDEX CONCURRENTLY x ON tags (name)");
        let (_, hint) = refusal(schema(&directory), database).await;
        assert!(hint.expect("a hint").ends_with("with `run_in_transaction = false` in its `metadata.toml`"));
    }
}

on_every_engine! {
    // As `pg_dump` begins what it writes.
    [postgres] async fn one_may_change_the_search_path(database: &TestDatabase) {
        let directory = directory(&[
            ("1_dump/up.sql", "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.tags (name TEXT);"),
            ("2_rows/up.sql", "INSERT INTO tags VALUES ('x');"),
        ]);
        apply(schema(&directory), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT version FROM __diesel_schema_migrations ORDER BY 1").await, ["1", "2"]);
    }
}

on_every_engine! {
    async fn what_is_no_migration_is_refused(database: &TestDatabase) {
        let empty = directory(&[("readme.md", "x")]);
        let (message, hint) = refusal(schema(&empty), database).await;
        assert_eq!(message, format!("`{}` holds no diesel migration", empty.path().display()));
        assert!(hint.is_some());

        let without = directory(&[("1_x/down.sql", "x")]);
        let (message, _) = refusal(schema(&without), database).await;
        assert_eq!(message, format!("`{}` is no diesel migration: it holds no `up.sql`", without.path().join("1_x").display()));

        let twice = directory(&[("1_x/up.sql", "x"), ("1_y/up.sql", "y")]);
        let (message, _) = refusal(schema(&twice), database).await;
        assert_eq!(message, "the diesel migrations `1_x` and `1_y` are of one version");

        let blank = directory(&[("1_x/up.sql", "\n")]);
        let (message, _) = refusal(schema(&blank), database).await;
        assert_eq!(message, "the diesel migration `1_x` is empty");
    }
}

#[test]
fn a_fingerprint_tells_every_change() {
    let directory = migrations();
    let path = directory.path();
    let mut seen = vec![fingerprint(&schema(&directory))];
    write(path, "00000000000002_rows/down.sql", "DELETE FROM tags WHERE true;");
    assert_eq!(fingerprint(&schema(&directory)), seen[0], "what takes back is no part of it");
    assert_eq!(fingerprint(&schema(&migrations())), seen[0], "nor where it is");

    let mut changed = |what: &str| {
        let now = fingerprint(&schema(&directory));
        assert!(!seen.contains(&now), "no difference: {what}");
        seen.push(now);
    };
    write(path, "00000000000002_rows/up.sql", "INSERT INTO tags VALUES ('y');");
    changed("another content");
    write(path, "00000000000002_rows/metadata.toml", "run_in_transaction = false");
    changed("without a transaction");
    write(path, "2027_last/up.sql", "INSERT INTO tags VALUES ('y');");
    changed("one more");
    std::fs::rename(path.join("2027_last"), path.join("2027_latest")).expect("renamed");
    changed("another name");
}
