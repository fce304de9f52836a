//! SQL in the program and in files, closures, and one schema behind another.

use std::fs;

use freshdb_databases::schema::{self, Schema, SqlDirectory, Target};
use freshdb_databases::{Error, Kind};
use tempfile::TempDir;
use test_support::Engine;

use crate::harness::{apply, directory, fingerprint, refusal, target, texts, write};

const TAGS: &str = "CREATE TABLE tags (name VARCHAR(100) NOT NULL PRIMARY KEY)";

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
    [sqlite] async fn what_a_schema_says_of_its_journal_stays(database: &TestDatabase) {
        let schema = schema::sql("PRAGMA journal_mode = WAL").then(schema::sql(TAGS));
        apply(schema, database).await.expect("the schema");
        assert_eq!(texts(database, "PRAGMA journal_mode").await, ["wal"]);
    }
}

on_every_engine! {
    async fn a_statement_that_fails_is_named(database: &TestDatabase) {
        let schema = schema::sql(format!("{TAGS};\nINSERT INTO tags VALUES ('x');\nINSERT INTO tags VALUES (NULL)"));
        let named = schema.clone().named("`tags.sql`");
        assert_eq!(fingerprint(&named), fingerprint(&schema));
        let (message, _) = refusal(schema, database).await;
        assert!(message.starts_with("statement 3 of the SQL text fails: error returned from database: "), "{message}");
        let (message, _) = refusal(named, database).await;
        assert!(message.contains(" of `tags.sql` fails: "), "{message}");
    }
}

on_every_engine! {
    // PostgreSQL's driver adds a line, which is none of the script's.
    async fn what_the_server_says_is_said_once(database: &TestDatabase) {
        let schema = schema::sql(format!("{TAGS};\nCREATE TABLE more (a INT;"));
        let error = apply(schema, database).await.expect_err("an error of syntax");
        let (text, _) = error.downcast_ref::<Error>().expect("an error of freshdb's").explained();
        assert_eq!(text.matches("caused by: ").count(), 1, "{text}");
        if database.engine == Engine::Postgres {
            let said = "caused by: error returned from database: syntax error at or near \";\"";
            assert_eq!(text, format!("line 2 of the SQL text fails\n  {said}"));
        }
    }
}

on_every_engine! {
    [mysql, mariadb] async fn a_script_for_the_client_may_set_its_delimiter(database: &TestDatabase) {
        let script = format!(
            "{TAGS};\n\
             DELIMITER //\n\
             CREATE PROCEDURE fill()\nBEGIN\n  INSERT INTO tags VALUES ('a;b');\n  INSERT INTO tags VALUES ('c');\nEND//\n\
             DELIMITER ;\n\
             CALL fill();\n"
        );
        let directory = directory(&[("001.sql", &script)]);
        apply(SqlDirectory::new(directory.path()), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags ORDER BY name").await, ["a;b", "c"]);

        let (message, _) = refusal(schema::sql("DELIMITER //\nSELECT 1//\n\nSELECT 2; nonsense//\n"), database).await;
        assert!(message.starts_with("statement 2, on line 4, of the SQL text fails: "), "{message}");
        let (message, hint) = refusal(schema::sql("SELECT 1;\nDELIMITER\n"), database).await;
        assert_eq!(message, "line 2 of the SQL text is a `DELIMITER` without one");
        assert!(hint.is_some());
    }
}

on_every_engine! {
    // As both clients have it, which read their own commands only where a statement may begin.
    [mysql, mariadb] async fn delimiter_is_a_word_like_others_within_a_statement(database: &TestDatabase) {
        let script = "/*\ndelimiter lines: none\n*/\nCREATE TABLE formats (\n  id INT PRIMARY KEY,\n  delimiter CHAR(1) NOT NULL\n);\n\
                      CREATE PROCEDURE fill() BEGIN INSERT INTO formats VALUES (1, ';'); INSERT INTO formats VALUES (2, ','); END;\n\
                      CALL fill();\n";
        apply(schema::sql(script), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT delimiter FROM formats ORDER BY id").await, [";", ","]);
    }
}

on_every_engine! {
    // Both clients drop it.
    [mysql, mariadb] async fn a_line_may_end_with_a_backslash(database: &TestDatabase) {
        for begin in ["", "DELIMITER //\nSELECT 1//\nDELIMITER ;\n"] {
            let script = format!("DROP TABLE IF EXISTS tags;\n{begin}{TAGS};\nINSERT INTO tags \\\n VALUES ('a\\\nb');\\\n");
            apply(schema::sql(script), database).await.expect("the schema");
            assert_eq!(texts(database, "SELECT name FROM tags").await, ["a\nb"]);
        }
    }
}

on_every_engine! {
    async fn a_statement_may_have_nothing_in_it(database: &TestDatabase) {
        let script = format!(";\n{TAGS};;\n-- nothing\n;\nINSERT INTO tags VALUES ('x'); ;\n/* nor here */;\n");
        apply(schema::sql(script), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags").await, ["x"]);
    }
}

on_every_engine! {
    [mysql, mariadb] async fn hyphens_at_the_beginning_of_a_line_are_a_comment(database: &TestDatabase) {
        let script = format!("-----\n{TAGS};\n\n-----\n--it's all;\nINSERT INTO tags VALUES ('a\n--b');\n-----");
        apply(schema::sql("-----\n").then(schema::sql(script)), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags").await, ["a\n--b"]);
    }
}

on_every_engine! {
    // MariaDB's own default is Latin 1, and that of its packages is not.
    [mysql, mariadb] async fn a_sign_that_a_column_cannot_hold_has_a_hint(database: &TestDatabase) {
        let rows = "INSERT INTO tags VALUES ('🦀')";
        for begin in ["", "DELIMITER //\nSELECT 1//\nDELIMITER ;\n"] {
            let script = format!("DROP TABLE IF EXISTS tags;\n{begin}{TAGS} CHARACTER SET latin1;\n{rows}");
            let (message, hint) = refusal(schema::sql(script), database).await;
            let hint = hint.expect(&message);
            assert!(hint.contains("`ALTER DATABASE CHARACTER SET utf8mb4`"), "{hint}");
        }
        let script = format!("DROP TABLE tags;\nALTER DATABASE CHARACTER SET utf8mb4;\n{TAGS};\n{rows}");
        apply(schema::sql(script), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags").await, ["🦀"]);
    }
}

on_every_engine! {
    // By the same SQLSTATE PostgreSQL says that a file is one transaction, as which it is run there.
    [mysql, mariadb] async fn what_is_refused_in_a_transaction_has_no_hint_of_postgresql(database: &TestDatabase) {
        let script = "START TRANSACTION;\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nCOMMIT";
        let (message, hint) = refusal(schema::sql(script), database).await;
        assert!(message.contains("Transaction characteristics can't be changed"), "{message}");
        assert_eq!(hint, None);
    }
}

on_every_engine! {
    // The server splits the statements itself then, by its own grammar.
    [mysql, mariadb] async fn a_routine_needs_no_delimiter(database: &TestDatabase) {
        let script = format!(
            "{TAGS}; CREATE PROCEDURE fill() BEGIN INSERT INTO tags VALUES ('a'); INSERT INTO tags VALUES ('b'); END; CALL fill()"
        );
        apply(schema::sql(script), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags ORDER BY name").await, ["a", "b"]);
    }
}

on_every_engine! {
    // What sqlx adds to the session would be kept in every routine.
    [mysql, mariadb] async fn a_script_runs_in_the_mode_of_the_servers_own_client(database: &TestDatabase) {
        let script = "CREATE TABLE modes (name TEXT); \
                      INSERT INTO modes VALUES (@@sql_mode), (@@time_zone), (@@global.sql_mode), (@@global.time_zone)";
        apply(schema::sql(script), database).await.expect("the schema");
        let modes = texts(database, "SELECT name FROM modes").await;
        assert_eq!(modes[..2], modes[2..]);
    }
}

on_every_engine! {
    [mysql, mariadb] async fn a_script_that_goes_to_another_database_is_refused(database: &TestDatabase) {
        let directory = directory(&[("001.sql", "-- mysqldump\nUSE `elsewhere`;\nDROP TABLE IF EXISTS tags")]);
        let (message, hint) = refusal(SqlDirectory::new(directory.path()), database).await;
        let file = directory.path().join("001.sql");
        assert_eq!(message, format!("line 2 of `{}` goes on to another database, `elsewhere`", file.display()));
        assert!(hint.expect("a hint").starts_with("leave the `USE` out: "));
    }
}

on_every_engine! {
    async fn nothing_at_all_is_a_schema(database: &TestDatabase) {
        for nothing in ["", " ;\n;", "-- nothing\n"] {
            apply(schema::sql(nothing), database).await.expect("a schema without tables");
        }
    }
}

on_every_engine! {
    [postgres] async fn a_path_without_a_schema_has_a_hint(database: &TestDatabase) {
        for thing in ["TABLE a (b INT)", "FUNCTION a() RETURNS INT LANGUAGE sql AS 'SELECT 1'"] {
            let script = format!("SET search_path TO nowhere; CREATE {thing}");
            let (message, hint) = refusal(schema::sql(script), database).await;
            assert!(message.ends_with("no schema has been selected to create in"), "{message}");
            assert!(hint.expect(&message).starts_with("the `search_path` of the server, of its role or of its URL names no schema"));
        }
        let (message, hint) = refusal(schema::sql("CREATE TABLE nowhere.a (b INT)"), database).await;
        assert!(message.ends_with("schema \"nowhere\" does not exist"), "{message}");
        assert_eq!(hint, None);
    }
}

on_every_engine! {
    [postgres] async fn postgres_names_the_line(database: &TestDatabase) {
        let script = "CREATE TABLE a (ü INT);\n-- ü\n\nSELECT 1 FORM a";
        let (message, hint) = refusal(schema::sql(script), database).await;
        assert!(message.starts_with("line 4 of the SQL text fails: "), "{message}");
        assert_eq!(hint, None);
    }
}

on_every_engine! {
    [postgres] async fn what_pg_dump_writes_for_psql_is_passed_over_or_refused(database: &TestDatabase) {
        let dump = format!("\\restrict aBc123\n{TAGS};\nINSERT INTO tags VALUES ('\\restrict');\n\\unrestrict aBc123\n");
        apply(schema::sql(dump), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags").await, ["\\restrict"]);

        let (message, hint) = refusal(schema::sql("\\connect other\nSELECT 1"), database).await;
        assert!(message.starts_with("line 1 of the SQL text fails: "), "{message}");
        assert!(hint.expect("a hint").contains("without `--create`"), "{message}");
        let (message, hint) = refusal(schema::sql("\\set ON_ERROR_STOP on\nSELECT 1"), database).await;
        assert!(hint.expect("a hint").contains("psql"), "{message}");
        for copy in ["COPY tags FROM stdin;\nx\n\\.\n", "COPY tags FROM stdin;\nx", "COPY tags FROM stdin"] {
            let (message, hint) = refusal(schema::sql(copy), database).await;
            assert!(hint.expect(&message).contains("--inserts"), "{message}");
        }
        // What fails for another reason is not helped by that.
        let (message, hint) = refusal(schema::sql("-- not from stdin\nINSERT INTO nowhere VALUES (1)"), database).await;
        assert_eq!(hint, None, "{message}");
    }
}

on_every_engine! {
    [postgres] async fn what_pg_dump_writes_for_psql_costs_no_text_its_line_ends(database: &TestDatabase) {
        let dump = format!("\\restrict aBc123\r\n{TAGS};\r\nINSERT INTO tags VALUES ('a\r\nb\r');\n\\unrestrict aBc123");
        apply(schema::sql(dump), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM tags").await, ["a\r\nb\r"]);
    }
}

on_every_engine! {
    // As in a file that is in UTF-16. SQLite stops there, and its driver would begin anew for ever.
    [sqlite, postgres] async fn a_nul_is_refused(database: &TestDatabase) {
        let (message, hint) = refusal(schema::sql(format!("{TAGS};\n\0INSERT INTO tags VALUES ('a')")), database).await;
        assert_eq!(message, "line 2 of the SQL text has a NUL, which ends a text there");
        assert!(hint.expect("a hint").contains("UTF-8"));
        let migrations = directory(&[("1_tags/up.sql", "SELECT 1;\n\0")]);
        let (message, _) = refusal(schema::DieselMigrations::new(migrations.path()), database).await;
        assert!(message.contains("has a NUL"), "{message}");
        let migrations = directory(&[("1_tags.sql", "SELECT 1;\n\0")]);
        let migrations = schema::SqlxMigrations::directory(migrations.path()).expect("a migration");
        let (message, _) = refusal(migrations, database).await;
        assert!(message.contains("has a NUL"), "{message}");
    }
}

on_every_engine! {
    // sqlx's driver, unlike sqlite3, has them checked; and then a table that is dropped takes with it what refers to it.
    [sqlite] async fn foreign_keys_are_as_in_the_engines_own_client(database: &TestDatabase) {
        let script = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
            CREATE TABLE child (name TEXT, parent INTEGER REFERENCES parent (id) ON DELETE CASCADE);
            INSERT INTO child VALUES ('c', 1);
            INSERT INTO parent VALUES (1);
            CREATE TABLE other (id INTEGER PRIMARY KEY, more TEXT);
            INSERT INTO other SELECT id, NULL FROM parent;
            DROP TABLE parent;
            ALTER TABLE other RENAME TO parent;";
        apply(schema::sql(script), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM child").await, ["c"]);
    }
}

on_every_engine! {
    [postgres] async fn what_refuses_to_run_in_a_transaction_needs_a_file_of_its_own(database: &TestDatabase) {
        let index = "CREATE INDEX CONCURRENTLY by_name ON tags (name)";
        let (message, hint) = refusal(schema::sql(format!("{TAGS}; {index}")), database).await;
        assert!(message.starts_with("statement 2 of the SQL text fails: "), "{message}");
        assert!(hint.expect("a hint").contains("a file of its own"), "{message}");

        let directory = directory(&[("001.sql", TAGS), ("002.sql", index), ("003.sql", "VACUUM tags")]);
        apply(SqlDirectory::new(directory.path()), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT indexname::text FROM pg_indexes WHERE indexname = 'by_name'").await.len(), 1);
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
    assert_eq!(of(&crate::harness::directory(&[("002.sql", "b"), ("001.sql", "a")])), seen[0]);

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
    let (message, _) =
        crate::harness::told(&SqlDirectory::new(directory.path()).apply(&target).await.expect_err("it is refused"));
    assert_eq!(message, format!("`{}` holds no `*.sql` file for SQLite", directory.path().display()));

    let empty = directory.path().join("postgres");
    fs::remove_file(empty.join("001.sql")).expect("removed");
    let refused =
        async || crate::harness::told(&SqlDirectory::new(&empty).apply(&target).await.expect_err("it is refused"));
    let nothing = format!("`{}` holds no `*.sql` file", empty.display());
    assert_eq!(refused().await, (nothing.clone(), None));
    write(&empty, "2026-01-01_tags/up.sql", "SELECT 1");
    let (message, hint) = refused().await;
    assert_eq!(message, nothing);
    assert!(hint.expect("a hint").starts_with("subdirectories are not looked into"));

    let (message, hint) =
        crate::harness::told(&SqlDirectory::new("not/there").apply(&target).await.expect_err("it is refused"));
    assert!(message.starts_with("the directory `not/there` cannot be read: No such file"), "{message}");
    assert!(hint.expect("a hint").starts_with("a relative path starts at the working directory, which is `/"));
}
