//! What was done to a database, compared with its template.

use std::collections::BTreeMap;

use freshdb_databases::{Changes, Config, Garbage, Kind, TableChanges, schema};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use test_support::{Client, on_every_engine};

use crate::harness::{builder, clean, execute, pool, server};

/// A table by its last name, whatever its engine puts around and before it.
fn table<'a>(changes: &'a Changes, name: &str) -> &'a TableChanges {
    let bare = |table: &TableChanges| table.table.rsplit('.').next().unwrap().trim_matches(['`', '"']).to_owned();
    changes.tables().iter().find(|table| bare(table) == name).unwrap_or_else(|| panic!("{name} in {changes:?}"))
}

/// Before and after, each value without what SQLite's literals have around them.
fn rows(table: &TableChanges) -> Vec<(Option<String>, Option<String>)> {
    let shown = |row: &Option<Vec<Option<String>>>| {
        let value = |value: &Option<String>| value.as_deref().unwrap_or("NULL").trim_matches('\'').to_owned();
        row.as_ref().map(|row| row.iter().map(value).collect::<Vec<_>>().join("|"))
    };
    table.rows.iter().map(|row| (shown(&row.before), shown(&row.after))).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "a row that is there")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

on_every_engine! {
    async fn rows_that_were_inserted_changed_and_deleted_are_told(database: &TestDatabase) {
        let schema = schema::sql(
            "CREATE TABLE words (word VARCHAR(50) PRIMARY KEY, meaning VARCHAR(100));
             CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER);
             CREATE TABLE untouched (id INTEGER PRIMARY KEY);
             CREATE TABLE keyless (a INTEGER, b VARCHAR(20));
             INSERT INTO words VALUES ('fresh', 'not stale'), ('stale', NULL);
             INSERT INTO numbers VALUES (2, 20), (10, 100), (9, 90);
             INSERT INTO untouched VALUES (1);
             INSERT INTO keyless VALUES (1, 'twice'), (1, 'twice'), (2, 'once');",
        );
        let pool = builder(database, schema).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert!(lease.changes().await.unwrap().is_empty());

        execute(lease.url(), "UPDATE words SET meaning = 'old' WHERE word = 'stale'; INSERT INTO words VALUES ('new', '')").await;
        execute(lease.url(), "DELETE FROM numbers WHERE id > 2; INSERT INTO numbers VALUES (11, NULL), (100, 1)").await;
        execute(lease.url(), "INSERT INTO keyless VALUES (1, 'twice'), (3, NULL); DELETE FROM keyless WHERE b = 'once'").await;
        let changes = lease.changes().await.unwrap();
        assert_eq!(changes.tables().len(), 3, "{changes:?}");
        assert_eq!(changes.schema(), []);
        assert_eq!((changes.engine(), changes.database()), (lease.kind().name(), lease.name()));
        let words = table(&changes, "words");
        assert_eq!((words.counts().as_str(), &words.columns[..], &words.key[..]),
            ("1 inserted, 1 changed", &["word".to_owned(), "meaning".to_owned()][..], &["word".to_owned()][..]));
        assert_eq!(rows(words), [(None, some("new|")), (some("stale|NULL"), some("stale|old"))]);
        // By numbers, where they are.
        assert_eq!(rows(table(&changes, "numbers")),
            [(some("9|90"), None), (some("10|100"), None), (None, some("11|NULL")), (None, some("100|1"))]);
        let keyless = table(&changes, "keyless");
        assert_eq!((keyless.counts().as_str(), keyless.key.len()), ("2 inserted, 1 deleted", 0));
        assert_eq!(rows(keyless), [(None, some("1|twice")), (some("2|once"), None), (None, some("3|NULL"))]);

        // Of another process's, too; and of one that is kept.
        let again = Changes::of(&server(database), lease.name()).await.unwrap();
        assert_eq!((again.tables(), again.note()), (changes.tables(), ""));
        let name = lease.name().to_owned();
        lease.keep("a test").await.unwrap();
        let kept = Changes::of(&server(database), &name).await.unwrap();
        assert_eq!((kept.tables(), kept.note()), (changes.tables(), "a test"));
        // To compare leaves nothing behind: nothing but the template and what is kept is there to be dropped.
        pool.close().await.unwrap();
        let collected = Garbage::everything().checkout(database.url()).collect(&server(database)).await.unwrap();
        assert_eq!((collected.dropped.len(), collected.failed.len()), (2, 0), "{collected:?}");
        let error = Changes::of(&server(database), &name).await.unwrap_err().to_string();
        assert!(error.contains("there is no database"), "{error}");
    }
}

on_every_engine! {
    [sqlite]
    async fn texts_of_any_bytes_are_told_apart(database: &TestDatabase) {
        let schema = schema::sql("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, CAST(x'27ff' AS TEXT))");
        let pool = builder(database, schema).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        execute(lease.url(), "UPDATE t SET a = CAST(x'27fe' AS TEXT)").await;
        let changes = lease.changes().await.unwrap();
        let told = rows(table(&changes, "t"));
        assert_eq!(told, [(some("1|CAST(x'27FF' AS TEXT)"), some("1|CAST(x'27FE' AS TEXT)"))]);
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [sqlite]
    async fn rows_whose_key_is_null_are_told_apart(database: &TestDatabase) {
        let schema = schema::sql("CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (NULL, 1), (NULL, 2)");
        let pool = builder(database, schema).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert!(lease.changes().await.unwrap().is_empty());
        execute(lease.url(), "DELETE FROM t WHERE n = 1; INSERT INTO t VALUES (NULL, 3)").await;
        let changes = lease.changes().await.unwrap();
        let told = rows(table(&changes, "t"));
        assert_eq!(told, [(None, some("NULL|3")), (some("NULL|1"), None)]);
        lease.give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [postgres]
    async fn what_a_key_includes_is_no_part_of_it(database: &TestDatabase) {
        let schema = schema::sql("CREATE TABLE t (x int, id int, PRIMARY KEY (id) INCLUDE (x)); INSERT INTO t VALUES (1, 7)");
        let pool = builder(database, schema).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        execute(lease.url(), "UPDATE t SET x = 5").await;
        let changes = lease.changes().await.unwrap();
        let t = table(&changes, "t");
        assert_eq!((t.counts().as_str(), &t.key[..]), ("1 changed", &["id".to_owned()][..]));
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [postgres]
    async fn a_materialized_view_that_was_refreshed_is_told(database: &TestDatabase) {
        let schema = schema::sql(
            "CREATE TABLE notes (id INTEGER PRIMARY KEY);
             CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS notes FROM notes;
             CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;",
        );
        let pool = builder(database, schema).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert!(lease.changes().await.unwrap().is_empty());
        execute(lease.url(), "INSERT INTO notes VALUES (1)").await;
        execute(lease.url(), "REFRESH MATERIALIZED VIEW counted").await;
        execute(lease.url(), "REFRESH MATERIALIZED VIEW unfilled").await;
        let changes = lease.changes().await.unwrap();
        assert_eq!(rows(table(&changes, "counted")), [(some("0"), None), (None, some("1"))]);
        assert_eq!(rows(table(&changes, "unfilled")), [(None, some("1"))]);
        lease.give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn what_became_of_the_schema_is_told(database: &TestDatabase) {
        let schema = schema::sql(
            "CREATE TABLE altered (id INTEGER PRIMARY KEY); CREATE TABLE dropped (id INTEGER PRIMARY KEY);
             CREATE VIEW seen AS SELECT id FROM altered; INSERT INTO altered VALUES (1); INSERT INTO dropped VALUES (1), (2)",
        );
        let pool = builder(database, schema).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let url = lease.url();
        execute(url, "DROP TABLE dropped; ALTER TABLE altered ADD COLUMN more INTEGER; CREATE INDEX by_more ON altered (more)").await;
        execute(url, "CREATE TABLE created (id INTEGER PRIMARY KEY); INSERT INTO created VALUES (7); UPDATE altered SET more = 5").await;
        execute(url, "DROP VIEW seen; CREATE VIEW seen AS SELECT id FROM created").await;
        let changes = lease.changes().await.unwrap();
        let told: Vec<String> = changes.schema().iter().map(|object| {
            format!("{} {} {}", object.verb(), object.kind, object.name.rsplit('.').next().unwrap().trim_matches(['`', '"']))
        }).collect();
        let mut expected = vec!["altered table altered", "created table created", "dropped table dropped", "altered view seen"];
        // On the others an index is a part of its table.
        if matches!(lease.kind(), Kind::Sqlite | Kind::Postgres) {
            expected.insert(0, "created index by_more");
        }
        assert_eq!(told, expected);
        let altered = changes.schema().iter().find(|object| object.verb() == "altered").unwrap();
        assert!(altered.after.as_ref().unwrap().contains("more"), "{altered:?}");
        assert!(!altered.before.as_ref().unwrap().contains("more"), "{altered:?}");
        assert_eq!(rows(table(&changes, "altered")), [(some("1|NULL"), some("1|5"))]);
        assert_eq!(rows(table(&changes, "created")), [(None, some("7"))]);
        assert_eq!(rows(table(&changes, "dropped")), [(some("1"), None), (some("2"), None)]);
        lease.give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn values_of_every_kind_are_told_apart(database: &TestDatabase) {
        let kind = server(database).kind();
        let (bytes, quote) = match kind {
            Kind::Postgres => ("BYTEA", '"'),
            Kind::Sqlite => ("BLOB", '"'),
            Kind::Mysql | Kind::Mariadb => ("LONGBLOB", '`'),
        };
        let strange = format!("{quote}a {quote}{quote} b; -- \u{1F980}{quote}");
        // MySQL's identifiers have no room for the crab.
        let strange = if quote == '`' { strange.replace('\u{1F980}', "ü") } else { strange };
        let schema = schema::sql(format!(
            "CREATE TABLE {strange} (id INTEGER PRIMARY KEY, {quote}select{quote} {bytes}, d DOUBLE PRECISION, f REAL, t VARCHAR(200));
             INSERT INTO {strange} VALUES (1, NULL, 0.1, 0.1, NULL), (2, NULL, 0, 0, ''), (3, NULL, 0, 0, 'NULL')"
        ));
        let pool = builder(database, schema).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert!(lease.changes().await.unwrap().is_empty());
        let literal = |hex: &str| match kind {
            Kind::Postgres => format!("'\\x{hex}'"),
            _ => format!("x'{hex}'"),
        };
        for (set, undo) in [
            (format!("{quote}select{quote} = {}", literal("00ff")), format!("{quote}select{quote} = NULL")),
            (format!("{quote}select{quote} = {}", literal("")), format!("{quote}select{quote} = NULL")),
            ("d = 0.1 + 0.0000000000000001".to_owned(), "d = 0.1".to_owned()),
            ("t = 'NULL'".to_owned(), "t = NULL".to_owned()),
            ("t = ''".to_owned(), "t = NULL".to_owned()),
            ("t = 'x'' OR 1 = 1 --'".to_owned(), "t = NULL".to_owned()),
        ] {
            execute(lease.url(), &format!("UPDATE {strange} SET {set} WHERE id = 1")).await;
            let changes = lease.changes().await.unwrap();
            assert_eq!(changes.tables().iter().map(TableChanges::counts).collect::<Vec<_>>(), ["1 changed"], "{set}: {changes:?}");
            execute(lease.url(), &format!("UPDATE {strange} SET {undo} WHERE id = 1")).await;
            assert!(lease.changes().await.unwrap().is_empty(), "{undo}");
        }
        // All are counted, and of each kind a thousand told; of a long value the beginning.
        let many: Vec<String> = (10..1310).map(|id| format!("({id}, NULL, 0, 0, 'x')")).collect();
        execute(lease.url(), &format!("INSERT INTO {strange} VALUES {}", many.join(","))).await;
        let changes = lease.changes().await.unwrap();
        assert_eq!((changes.tables()[0].inserted, changes.tables()[0].rows.len()), (1300, Changes::MOST_ROWS));
        lease.give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn what_is_not_freshdbs_is_not_looked_at(database: &TestDatabase) {
        let pool = pool(database).await;
        for name in ["freshdb_registry", "mysql", "freshdb_x' OR '1' = '1", "", "freshdb_none"] {
            let error = Changes::of(&server(database), name).await.unwrap_err().to_string();
            assert!(error.contains("there is no database"), "{name}: {error}");
        }
        let lease = pool.lease().await.unwrap();
        lease.give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

/// A row's key is drawn out of few, so that statements meet.
#[derive(Clone, Debug)]
enum Statement {
    Insert(i64, i64),
    Update(i64, i64),
    Delete(i64),
    Clear,
}

fn statements() -> impl Strategy<Value = Vec<Statement>> {
    let (key, value) = (0..12_i64, 0..3_i64);
    let statement = prop_oneof![
        4 => (key.clone(), value.clone()).prop_map(|(key, value)| Statement::Insert(key, value)),
        4 => (key.clone(), value).prop_map(|(key, value)| Statement::Update(key, value)),
        3 => key.prop_map(Statement::Delete),
        1 => Just(Statement::Clear),
    ];
    prop::collection::vec(statement, 0..12)
}

on_every_engine! {
    async fn any_statements_are_told_as_what_they_come_to(database: &TestDatabase) {
        let schema = schema::sql(
            "CREATE TABLE pairs (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO pairs VALUES (0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)",
        );
        let seed: BTreeMap<i64, i64> = (0..6).map(|id| (id, id % 3)).collect();
        let pool = builder(database, schema).open().await.unwrap();
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..25 {
            let statements = statements().new_tree(&mut runner).unwrap().current();
            let lease = pool.lease().await.unwrap();
            let mut client = Client::connect(&lease.url().reveal()).await;
            let mut model = seed.clone();
            for statement in &statements {
                let sql = match *statement {
                    Statement::Insert(id, _) if model.contains_key(&id) => continue,
                    Statement::Insert(id, n) => {
                        model.insert(id, n);
                        format!("INSERT INTO pairs VALUES ({id}, {n})")
                    }
                    Statement::Update(id, n) => {
                        model.entry(id).and_modify(|value| *value = n);
                        format!("UPDATE pairs SET n = {n} WHERE id = {id}")
                    }
                    Statement::Delete(id) => {
                        model.remove(&id);
                        format!("DELETE FROM pairs WHERE id = {id}")
                    }
                    Statement::Clear => {
                        model.clear();
                        "DELETE FROM pairs".to_owned()
                    }
                };
                client.execute(&sql).await;
            }
            client.close().await;
            let changes = lease.changes().await.unwrap();
            let row = |id: i64, n: i64| some(&format!("{id}|{n}"));
            let expected: Vec<_> = (0..12)
                .map(|id| (seed.get(&id).and_then(|n| row(id, *n)), model.get(&id).and_then(|n| row(id, *n))))
                .filter(|(before, after)| before != after)
                .collect();
            let told: Vec<_> = changes.tables().iter().flat_map(rows).collect();
            assert_eq!(told, expected, "{statements:?}");
            lease.give_back().await.unwrap();
        }
        clean(database, [pool]).await;
    }
}

#[test]
fn what_was_written_down_is_found_again_the_newest_first() {
    let cache = tempfile::tempdir().unwrap();
    let config = Config::from_env().unwrap().with_cache_dir(cache.path());
    assert_eq!(Changes::stored(&config), []);
    let text = |at: u64| {
        format!(r#"{{"engine":"sqlite","database":"freshdb_s_{at}","note":"","at_ms":{at},"schema":[],"tables":[]}}"#)
    };
    let all: Vec<Changes> = (0..105).map(|at| serde_json::from_str(&text(at)).unwrap()).collect();
    let paths: Vec<_> = all.iter().map(|changes| changes.clone().noted("näme").store(&config).unwrap()).collect();
    let stored = Changes::stored(&config);
    assert_eq!((stored.len(), stored[0].note()), (100, "näme"));
    assert_eq!(stored[0], all[104].clone().noted("näme"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&paths[104]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // What is no such document is passed over.
    std::fs::write(paths[104].with_file_name("9999999999999-x.json"), "{").unwrap();
    assert_eq!(Changes::stored(&config).len(), 100);
    // Of a clock that was set back, too.
    let path = all[3].store(&config).unwrap();
    assert!(path.exists());
    assert_eq!(Changes::stored(&config)[0], all[3]);
}

/// Servers that are unpacked there run as another user, where this one is root.
#[test]
fn a_cache_that_begins_with_changes_is_open_to_others() {
    let place = tempfile::tempdir().unwrap();
    let config = Config::from_env().unwrap().with_cache_dir(place.path().join("new/cache"));
    let changes = r#"{"engine":"sqlite","database":"freshdb_s_1","note":"","at_ms":1,"schema":[],"tables":[]}"#;
    let path = serde_json::from_str::<Changes>(changes).unwrap().store(&config).unwrap();
    let mode = |path: &std::path::Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
    };
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let ordinary = place.path().join("ordinary");
    std::fs::create_dir(&ordinary).unwrap();
    for directory in [config.cache_dir(), &place.path().join("new")] {
        assert_eq!(mode(directory), mode(&ordinary), "{}", directory.display());
    }
}
