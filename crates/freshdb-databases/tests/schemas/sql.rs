//! SQL in the program and in files, closures, and one schema behind another.

use std::fs;
use std::path::Path;

use freshdb_databases::Kind;
use freshdb_databases::schema::{self, Schema, SqlDirectory, Target};
use tempfile::TempDir;

use crate::harness::{apply, fingerprint, refusal, target, texts};

const TAGS: &str = "CREATE TABLE tags (name VARCHAR(100) NOT NULL PRIMARY KEY)";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        write(directory.path(), name, text);
    }
    directory
}

fn write(directory: &Path, name: &str, text: &str) {
    let file = directory.join(name);
    fs::create_dir_all(file.parent().expect("a directory")).expect("the directory is made");
    fs::write(file, text).expect("the file is written");
}

on_every_engine! {
    async fn text_makes_tables_and_rows(database: &TestDatabase) {
        let own = format!("{TAGS}; INSERT INTO tags VALUES ('of {}')", database.engine.name());
        let kind = target(database).kind();
        let schema = schema::sql("SELECT nonsense")
            .on(kind, own)
            .then(schema::sql("\n-- nothing but a comment\n"))
            .then(schema::sql(" \n"))
            .then(schema::sql("INSERT INTO tags VALUES ('a;b');\nINSERT INTO tags VALUES ('ü'); -- and that is all"));
        apply(schema, database).await.expect("the schema");
        let expected = ["a;b".to_owned(), format!("of {}", database.engine.name()), "ü".to_owned()];
        assert_eq!(texts(database, "SELECT name FROM tags ORDER BY name").await, expected);
    }
}

on_every_engine! {
    async fn a_statement_that_fails_is_named(database: &TestDatabase) {
        let schema = schema::sql(format!("{TAGS};\nINSERT INTO tags VALUES ('x');\nINSERT INTO tags VALUES (NULL)"));
        let (message, _) = refusal(schema, database).await;
        assert!(message.starts_with("statement 3 of the SQL text fails: error returned from database: "), "{message}");
    }
}

on_every_engine! {
    async fn a_directory_is_applied_in_the_order_of_its_names(database: &TestDatabase) {
        let directory = directory(&[
            ("010.sql", "INSERT INTO tags VALUES ('ten')"),
            ("002.sql", "INSERT INTO tags VALUES ('two')"),
            ("001.sql", TAGS),
            ("001.down.sql", "DROP TABLE tags"),
            (".003.sql", "nonsense"),
            ("readme.md", "nonsense"),
            ("more/004.sql", "nonsense"),
        ]);
        apply(SqlDirectory::new(directory.path()), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags ORDER BY name").await, ["ten", "two"]);
    }
}

on_every_engine! {
    async fn a_directory_may_have_files_of_each_engine(database: &TestDatabase) {
        let own = format!("{TAGS}; INSERT INTO tags VALUES ('own')");
        let mysqls = format!("{TAGS}; INSERT INTO tags VALUES ('mysql')");
        let name = database.engine.name();
        let directory = directory(&[("001.sql", "nonsense"), (&format!("{name}/001.sql"), &own)]);
        apply(SqlDirectory::new(directory.path()), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags").await, ["own"]);

        if name == "mariadb" {
            database.execute("DROP TABLE tags").await;
            fs::rename(directory.path().join("mariadb"), directory.path().join("mysql")).expect("renamed");
            write(directory.path(), "mysql/001.sql", &mysqls);
            apply(SqlDirectory::new(directory.path()), database).await.expect("the schema");
            assert_eq!(texts(database, "SELECT name FROM tags").await, ["mysql"]);
        }
    }
}

on_every_engine! {
    async fn a_file_that_fails_is_named(database: &TestDatabase) {
        let directory = directory(&[("001.sql", TAGS), ("002.sql", "INSERT INTO tags VALUES ('x');\nINSERT INTO tags VALUES ('x')")]);
        let (message, _) = refusal(SqlDirectory::new(directory.path()), database).await;
        let expected = format!("statement 2 of `{}` fails: ", directory.path().join("002.sql").display());
        assert!(message.starts_with(&expected), "{message}");
    }
}

on_every_engine! {
    async fn what_the_fingerprint_was_made_of_is_what_is_applied(database: &TestDatabase) {
        let directory = directory(&[("001.sql", TAGS)]);
        let schema = SqlDirectory::new(directory.path());
        let before = fingerprint(&schema);
        write(directory.path(), "001.sql", "nonsense");
        apply(schema, database).await.expect("the schema as it was");
        assert_ne!(fingerprint(&SqlDirectory::new(directory.path())), before);
    }
}

on_every_engine! {
    async fn a_closure_is_given_the_database(database: &TestDatabase) {
        let schema = schema::from_fn("1", async |target: Target| schema::sql(TAGS).apply(&target).await);
        apply(schema, database).await.expect("the schema");
        assert!(texts(database, "SELECT name FROM tags").await.is_empty());
    }
}

#[test]
fn a_fingerprint_tells_every_change_of_a_directory() {
    let directory = directory(&[("001.sql", "a"), ("002.sql", "b"), ("readme.md", "x")]);
    let of = |directory: &TempDir| fingerprint(&SqlDirectory::new(directory.path()));
    let path = directory.path();
    let mut seen = vec![of(&directory)];

    // What is no part of the schema makes no difference, nor does where it is, nor when it was written.
    write(path, "readme.md", "y");
    write(path, "001.sql", "a");
    write(path, "more/001.sql", "a");
    assert_eq!(of(&directory), seen[0]);
    assert_eq!(of(&self::directory(&[("002.sql", "b"), ("001.sql", "a")])), seen[0]);

    let mut changed = |what: &str| {
        let now = of(&directory);
        assert!(!seen.contains(&now), "no difference: {what}");
        seen.push(now);
    };
    write(path, "002.sql", "B");
    changed("another content");
    fs::rename(path.join("002.sql"), path.join("003.sql")).expect("renamed");
    changed("another name");
    write(path, "004.sql", "");
    changed("one file more");
    fs::rename(path.join("004.sql"), path.join("000.sql")).expect("renamed");
    changed("another order");
    write(path, "mysql/001.sql", "a");
    changed("an engine's own file");
    fs::rename(path.join("mysql"), path.join("mariadb")).expect("renamed");
    changed("another engine's");
    fs::remove_file(path.join("mariadb/001.sql")).expect("removed");
    changed("one file less");
}

#[test]
fn a_fingerprint_tells_one_text_from_another() {
    let all = [
        fingerprint(&schema::sql("a")),
        fingerprint(&schema::sql("b")),
        fingerprint(&schema::sql("a").on(Kind::Mysql, "b")),
        fingerprint(&schema::sql("a").on(Kind::Mariadb, "b")),
        fingerprint(&schema::sql("a").then(schema::sql("b"))),
        fingerprint(&schema::sql("b").then(schema::sql("a"))),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[index + 1..].contains(one), "number {index} equals another");
    }
    assert_eq!(fingerprint(&schema::sql("a").on(Kind::Mysql, "b").on(Kind::Mysql, "a")), all[0]);
}

#[test]
fn a_fingerprint_tells_one_closure_from_another() {
    let nothing = async |_: Target| Ok(());
    let one = || schema::from_fn("1", nothing);
    assert_eq!(fingerprint(&one()), fingerprint(&one()));
    assert_ne!(fingerprint(&one()), fingerprint(&schema::from_fn("1", nothing)), "from another line");
    let version = |version: &str| fingerprint(&schema::from_fn(version, nothing));
    assert_ne!(version("1"), version("2"));
}

#[tokio::test]
async fn a_directory_without_files_is_refused() {
    let directory = directory(&[("readme.md", "x"), ("postgres/001.sql", "SELECT 1")]);
    let target = Target::new(freshdb_databases::DatabaseUrl::file(directory.path().join("x.db")));
    let (message, _) = crate::harness::told(&SqlDirectory::new(directory.path()).apply(&target).await.unwrap_err());
    assert_eq!(message, format!("`{}` holds no `*.sql` file for SQLite", directory.path().display()));

    let empty = directory.path().join("postgres");
    fs::remove_file(empty.join("001.sql")).expect("removed");
    let (message, _) = crate::harness::told(&SqlDirectory::new(&empty).apply(&target).await.unwrap_err());
    assert_eq!(message, format!("`{}` holds no `*.sql` file", empty.display()));

    let (message, hint) = crate::harness::told(&SqlDirectory::new("not/there").apply(&target).await.unwrap_err());
    assert!(message.starts_with("the directory `not/there` cannot be read: No such file"), "{message}");
    assert!(hint.expect("a hint").starts_with("a relative path starts at the working directory, which is `/"));
}
