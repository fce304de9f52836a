//! Copies equal their template.

use super::super::connection::binary;
use super::super::{contents, seeded};
use super::*;

on_both!(
    a_copy_is_equal_whatever_the_template_holds,
    what_was_let_in_once_is_let_in_again,
    a_table_without_a_key_that_was_let_in_is_let_in_again,
    a_table_whose_rows_are_elsewhere_is_refused,
    rows_that_were_in_memory_are_missed,
    what_was_said_in_another_character_set_is_copied,
    literals_that_are_no_text_are_copied,
    events_whose_time_has_passed_are_copied,
    rows_without_a_key_lie_in_the_order_of_the_template,
    tables_that_differ_by_case_or_accent_alone_have_counters_of_their_own,
    tables_whose_names_differ_by_case_or_accent_alone_are_told_apart
);
on_one!(mysql:
    tables_with_indexes_of_expressions_are_copied,
    an_archive_is_copied_and_copied_anew,
    a_copy_whose_rows_come_out_otherwise_is_refused,
    a_routine_in_bytes_that_are_no_text_is_refused
);
on_one!(mariadb: a_counter_that_no_column_has_is_copied_on_mariadb);

/// Hostile names, cyclic keys, generated columns, partitions, an id of 0, a counter in an empty table, views that need each other,
/// routines and triggers of other settings.
pub(super) const EVERYTHING: &[&str] = &[
    "CREATE TABLE `select` (id INT PRIMARY KEY AUTO_INCREMENT, `from` TEXT) COMMENT 'it''s AUTO_INCREMENT=7; ) ENGINE=x'",
    "CREATE TABLE `a``b'c\" d` (`co``l'\" é` INT PRIMARY KEY, UNIQUE KEY `k``'\"` (`co``l'\" é`))",
    "CREATE TABLE `überlang_überlang_überlang_überlang_überlang_überlang_überlang_6` (id INT PRIMARY KEY)",
    "CREATE TABLE `per.cent%` (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, note VARCHAR(20) DEFAULT 'it''s') AUTO_INCREMENT = 1000",
    "CREATE TABLE eggs (id INT PRIMARY KEY, hen INT)",
    "CREATE TABLE hens (id INT PRIMARY KEY, egg INT, CONSTRAINT he FOREIGN KEY (egg) REFERENCES eggs (id) ON DELETE SET NULL)",
    "ALTER TABLE eggs ADD CONSTRAINT eh FOREIGN KEY (hen) REFERENCES hens (id) ON UPDATE CASCADE",
    "INSERT INTO eggs VALUES (1, NULL); INSERT INTO hens VALUES (1, 1); UPDATE eggs SET hen = 1",
    "CREATE TABLE nodes (id INT PRIMARY KEY AUTO_INCREMENT, parent INT, FOREIGN KEY (parent) REFERENCES nodes (id) ON DELETE CASCADE)",
    "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; INSERT INTO nodes VALUES (0, NULL), (3, 0), (9, 3); SET sql_mode = DEFAULT",
    "CREATE TABLE made (a INT, b INT AS (a + 1) VIRTUAL, c INT AS (a * 2) STORED, d DOUBLE, f FLOAT, j JSON, e ENUM('x', 'ü'), x BIT(3),
      t TIMESTAMP(6) NULL, z DATE, s SET('p', 'q'), g POINT, y YEAR, PRIMARY KEY (a)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "SET sql_mode = ''; INSERT INTO made (a, d, f, j, e, x, t, z, s, g, y) VALUES
      (1, 0.1 + 0.2e0, 1e-7, '{\"k\": 1.0}', 'ü', b'101', '2020-02-02 02:02:02.123456', '0000-00-00', 'p,q', ST_GeomFromText('POINT(1 2)'), 2020),
      (2, 1e300, 3.4e38, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL); SET sql_mode = DEFAULT",
    "CREATE TABLE parts (id INT NOT NULL, body BLOB, PRIMARY KEY (id))
      PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parts VALUES (5, x'00ff27'), (50, '')",
    "CREATE TABLE keyless (name VARCHAR(50), body BLOB); INSERT INTO keyless VALUES ('b', 'x'), ('a', NULL), ('b', 'x')",
    "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(100))",
    "CREATE TABLE watched (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50)); INSERT INTO watched (name) VALUES ('one'), ('two')",
    "SET sql_mode = 'ANSI_QUOTES'",
    "CREATE FUNCTION \"twice\"(n INT) RETURNS INT DETERMINISTIC RETURN n * 2 -- at the end",
    "SET sql_mode = DEFAULT",
    "CREATE PROCEDURE `pro``c`() BEGIN INSERT INTO log (what) VALUES ('called; \\' quoted'); SELECT 1; END",
    "CREATE VIEW a_view AS SELECT 1 AS one",
    "CREATE VIEW b_view AS SELECT twice(id) AS two, name FROM watched",
    "CREATE OR REPLACE VIEW a_view AS SELECT two FROM b_view",
    "CREATE TRIGGER t1 AFTER INSERT ON watched FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('in ', NEW.name))",
    "CREATE TRIGGER t0 AFTER INSERT ON watched FOR EACH ROW FOLLOWS t1 INSERT INTO log (what) VALUES ('second')",
    "CREATE TRIGGER t2 AFTER DELETE ON watched FOR EACH ROW INSERT INTO log (what) VALUES ('out')",
    "CREATE TRIGGER t3 BEFORE DELETE ON log FOR EACH ROW SIGNAL SQLSTATE '45000'",
    "CREATE EVENT tick ON SCHEDULE EVERY 1 YEAR STARTS '2031-01-01 00:00:00' DISABLE COMMENT 'later' DO DELETE FROM log",
];

/// What only MariaDB has.
const MARIADB: &[&str] = &[
    "CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3 CACHE 10; DO NEXTVAL(numbers)",
    "CREATE TABLE numbered (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers), v INT)",
    "CREATE TABLE old (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING; INSERT INTO old VALUES (1, 1); UPDATE old SET v = 2",
];

pub(super) fn everything(kind: Kind) -> Vec<&'static str> {
    let own: &[&str] = if kind == Kind::Mariadb { MARIADB } else { &[] };
    EVERYTHING.iter().chain(own).copied().collect()
}

async fn a_copy_is_equal_whatever_the_template_holds(kind: Kind) {
    let mut fixture = Fixture::new(kind, "everything", &everything(kind)).await;
    fixture.assert_pristine("being copied");
    outcome(&fixture.reset().await);
    fixture.assert_pristine("nothing");

    // As if its process had died: nothing is known of it.
    drop(fixture.run("INSERT INTO log (what) VALUES ('x'); DELETE FROM watched").await);
    let name = fixture.slot.name.clone();
    let taken_over = Mysql::open(&server(kind), &fixture.template, &name, "").await.expect("it can be opened");
    Mysql::close(std::mem::replace(&mut fixture.slot, taken_over)).await;
    let reset = fixture.reset().await;
    assert_eq!(outcome(&reset), 3, "log, watched, and the table without a key");
    fixture.assert_pristine("being taken over");
    fixture.drop().await;
}

/// What a schema switches off for its own session only: the server itself would refuse all of it.
async fn what_was_let_in_once_is_let_in_again(kind: Kind) {
    let own: &[&str] = match kind {
        Kind::Mariadb => &[
            "CREATE TABLE checked (id INT PRIMARY KEY, CHECK (id > 0))",
            "SET check_constraint_checks = 0; INSERT INTO checked VALUES (-1); SET check_constraint_checks = 1",
        ],
        _ => &[
            "SET restrict_fk_on_non_standard_key = 0; CREATE TABLE checked (id INT PRIMARY KEY, k INT, KEY (k));
              CREATE TABLE pointing (k INT, FOREIGN KEY (k) REFERENCES checked (k)); SET restrict_fk_on_non_standard_key = 1",
            "INSERT INTO checked VALUES (-1, 5)",
        ],
    };
    let common = [
        "SET innodb_strict_mode = 0; CREATE TABLE old (id INT PRIMARY KEY) ROW_FORMAT = FIXED",
        "CREATE TABLE packed (id INT PRIMARY KEY) ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 32; SET innodb_strict_mode = 1",
        "INSERT INTO old VALUES (1), (2); INSERT INTO packed VALUES (1)",
    ];
    let mut fixture = Fixture::new(kind, "lax", &[&common, own].concat()).await;
    fixture.assert_pristine("being copied");
    drop(fixture.run("DELETE FROM checked; UPDATE old SET id = 7 WHERE id = 2; DELETE FROM packed").await);
    outcome(&fixture.reset().await);
    fixture.assert_pristine("being written to");
    fixture.drop().await;
}

/// MySQL's checksum of such a table depends on how it was made.
async fn a_table_without_a_key_that_was_let_in_is_let_in_again(kind: Kind) {
    let schema = [
        "SET innodb_strict_mode = 0; CREATE TABLE fixed (name VARCHAR(50), body BLOB, f FLOAT, d DOUBLE, j JSON, e ENUM('a', 'b'), t TIME(3))
          ROW_FORMAT = FIXED; SET innodb_strict_mode = 1",
        "INSERT INTO fixed VALUES ('b', x'00ff', 0.1, -0e0, '{\"k\": 1.0}', 'b', '01:02:03.004'), ('a', NULL, NULL, 1e300, NULL, NULL, NULL),
          ('b', x'00ff', 0.1, -0e0, '{\"k\": 1.0}', 'b', '01:02:03.004')",
    ];
    let mut fixture = Fixture::new(kind, "keyless", &schema).await;
    fixture.assert_pristine("being copied");
    drop(fixture.run("DELETE FROM fixed WHERE name = 'a'").await);
    outcome(&fixture.reset().await);
    fixture.assert_pristine("being written to");
    // It is told where its rows are others, or in another order.
    let table = &fixture.template.tables[0];
    let name = fixture.slot.name.clone();
    for (change, differs) in [
        ("DO 0", false),
        ("UPDATE fixed SET f = 0.10000001 WHERE name = 'b' LIMIT 1", true),
        ("UPDATE fixed SET f = 0.1 WHERE name = 'b' LIMIT 1", false),
        // As the server compares them 1 and 1.0 are equal, and nothing would be written.
        ("UPDATE fixed SET j = '{\"k\": 2}' WHERE name = 'b' LIMIT 1", true),
        ("UPDATE fixed SET j = '{\"k\": 1}' WHERE name = 'b' LIMIT 1", true),
        ("UPDATE fixed SET j = '{\"k\": 2}' WHERE name = 'b' LIMIT 1", true),
        ("UPDATE fixed SET j = '{\"k\": 1.0}' WHERE name = 'b' LIMIT 1", false),
        ("UPDATE fixed SET body = '' WHERE name = 'a'", true),
        ("UPDATE fixed SET body = NULL WHERE name = 'a'", false),
        ("DELETE FROM fixed WHERE name = 'a'", true),
        ("INSERT INTO fixed (name, d) VALUES ('a', 1e300)", true),
    ] {
        let mut user = user(kind, &name).await;
        execute(&mut user, change).await.unwrap_or_else(|error| panic!("{change}: {error}"));
        let listed = seeded::listing_differs(&mut fixture.admin, &fixture.template, &name, table).await;
        assert_eq!(listed.expect("it can be read"), differs, "{change}");
    }
    fixture.drop().await;
}

/// Of their expressions MySQL makes hidden columns, which it has in a table's checksum as they come.
async fn tables_with_indexes_of_expressions_are_copied() {
    let schema = [
        "CREATE TABLE tagged (id INT PRIMARY KEY, tags JSON, name VARCHAR(50),
          INDEX ((CAST(tags->'$' AS UNSIGNED ARRAY))), UNIQUE INDEX ((LOWER(name))))",
        "INSERT INTO tagged VALUES (1, '[1, 2]', 'A'), (2, '[]', 'b'), (3, NULL, NULL)",
        "CREATE TABLE keyless (tags JSON, INDEX ((CAST(tags->'$' AS CHAR(20) ARRAY)))); INSERT INTO keyless VALUES ('[\"x\"]')",
    ];
    let mut fixture = Fixture::new(Kind::Mysql, "expressions", &schema).await;
    fixture.assert_pristine("being copied");
    drop(fixture.run("UPDATE tagged SET tags = '[3]', name = 'c' WHERE id = 1; DELETE FROM keyless").await);
    outcome(&fixture.reset().await);
    fixture.assert_pristine("being written to");
    fixture.drop().await;
}

/// It takes no row with a number below its counter, and can be emptied by nothing.
async fn an_archive_is_copied_and_copied_anew() {
    let schema = [
        "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, what TEXT) ENGINE = ARCHIVE",
        "CREATE TABLE seeded (id INT PRIMARY KEY AUTO_INCREMENT, what TEXT) ENGINE = ARCHIVE",
        "INSERT INTO seeded (what) VALUES ('one'), ('two')",
    ];
    let mut fixture = Fixture::new(Kind::Mysql, "archive", &schema).await;
    fixture.assert_pristine("being copied");
    assert_eq!(outcome(&fixture.reset().await), 0);
    for table in ["log", "seeded"] {
        drop(fixture.run(&format!("INSERT INTO {table} (what) VALUES ('more')")).await);
        let Outcome::Changed(reason) = fixture.reset().await.outcome else { panic!("{table} cannot be put back") };
        assert_eq!(reason, format!("table `{table}` was written to, and its engine, ARCHIVE, deletes no rows"));
        fixture.renew().await;
        fixture.assert_pristine("being copied anew");
    }
    fixture.drop().await;
}

/// To copy it would write to another table, and to put it back would empty that.
async fn a_table_whose_rows_are_elsewhere_is_refused(kind: Kind) {
    let mut admin = admin(kind).await;
    let name = free_name("elsewhere");
    Mysql::create(&mut admin, &name).await.expect("an empty database");
    let mut inside = user(kind, &name).await;
    for sql in [
        "CREATE TABLE here (id INT PRIMARY KEY) ENGINE = MyISAM",
        "CREATE TABLE merged (id INT PRIMARY KEY) ENGINE = MERGE UNION = (here) INSERT_METHOD = LAST",
    ] {
        execute(&mut inside, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let error = Mysql::read_template(&server(kind), &name).await.err().expect("it is refused");
    let engine = if kind == Kind::Mysql { "MRG_MYISAM" } else { "MRG_MyISAM" };
    let fact = format!("the rows of table `merged` are not in the database: its engine is {engine}");
    assert_eq!(error.to_string(), fact);
    Mysql::drop(&mut admin, &name).await.expect("it can be dropped");
}

/// The day of a moment is another one in another time zone. MariaDB leaves what it computes out of a table's checksum.
async fn a_copy_whose_rows_come_out_otherwise_is_refused() {
    let kind = Kind::Mysql;
    let mut admin = admin(kind).await;
    let name = free_name("otherwise");
    Mysql::create(&mut admin, &name).await.expect("an empty database");
    let mut inside = user(kind, &name).await;
    let sql = "SET time_zone = '+05:00';
        CREATE TABLE moments (at TIMESTAMP NOT NULL, day DATE AS (DATE(at)) STORED);
        INSERT INTO moments (at) VALUES ('2020-01-02 01:00:00')";
    execute(&mut inside, sql).await.expect("the schema");
    let template = Mysql::read_template(&server(kind), &name).await.expect("the template can be read");
    let stored = Mysql::store(&template).expect("it can be stored");
    let restored = Mysql::restore(&mut admin, &server(kind), &template.name, &stored)
        .await
        .expect("the server answers")
        .expect("a template");
    let copy = format!("{name}_1");
    // Not just the first one, and not just by the process that read the template.
    for template in [&template, &template, &restored] {
        let error = Mysql::copy(&server(kind), template, &copy).await.err().expect("it is refused");
        assert!(error.to_string().ends_with("the copy is not equal: table `moments` has other rows"), "{error}");
        Mysql::drop(&mut admin, &copy).await.expect("it can be dropped");
    }
    Mysql::drop(&mut admin, &name).await.expect("it can be dropped");
}

/// When a server starts anew, they are gone from the template as from its copies.
async fn rows_that_were_in_memory_are_missed(kind: Kind) {
    let schema = ["CREATE TABLE words (word VARCHAR(50)) ENGINE = MEMORY", "INSERT INTO words VALUES ('fresh')"];
    let mut fixture = Fixture::new(kind, "memory", &schema).await;
    let (copy, template) = (fixture.slot.name.clone(), fixture.template.name.clone());
    let adopted = Mysql::adopt(&server(kind), &fixture.template, &copy).await.expect("all is there");
    Mysql::close(adopted).await;
    for database in [&copy, &template] {
        execute(&mut fixture.admin, &format!("TRUNCATE TABLE `{database}`.words")).await.expect("it is emptied");
        let error = Mysql::adopt(&server(kind), &fixture.template, &copy).await.err().expect("a row is missed");
        let fact = format!("table `words`, which is kept in memory, is empty in `{database}` since then");
        assert!(error.to_string().ends_with(&fact), "{error:?}");
    }
    for outcome in [
        Mysql::copy(&server(kind), &fixture.template, &format!("{copy}_2")).await,
        Mysql::open(&server(kind), &fixture.template, &copy, "").await,
    ] {
        let error = outcome.err().expect("a row is missed");
        assert!(format!("{error:?}").contains("hint: make the template anew"), "{error:?}");
    }
    fixture.drop().await;
}

/// A client that calls its UTF-8 Latin 1, and one whose text really is.
async fn what_was_said_in_another_character_set_is_copied(kind: Kind) {
    // MySQL prepares no routine.
    let latin = if kind == Kind::Mariadb {
        "CREATE FUNCTION in_latin() RETURNS TEXT DETERMINISTIC RETURN 'é'"
    } else {
        "DO 0"
    };
    let prepared = |sql: &str| {
        let bytes: Vec<u8> = sql.chars().map(|letter| u8::try_from(u32::from(letter)).expect("of Latin 1")).collect();
        format!("SET @sql = {}; PREPARE it FROM @sql; EXECUTE it", binary(&bytes))
    };
    let (latin, latin_view) =
        (prepared(latin), prepared("CREATE VIEW latin AS SELECT CONCAT(word, 'é') AS word FROM words"));
    let schema = [
        "CREATE TABLE words (id INT PRIMARY KEY, word VARCHAR(50) CHARACTER SET utf8mb4); INSERT INTO words VALUES (1, 'ö')",
        "SET NAMES latin1",
        "CREATE PROCEDURE say() SELECT 'é' AS word; -- ü",
        "CREATE FUNCTION said() RETURNS TEXT DETERMINISTIC RETURN '表'",
        "CREATE VIEW seen AS SELECT id, 'é' AS word, CONCAT(word, 'ü') AS more FROM words",
        "CREATE TRIGGER noted BEFORE UPDATE ON words FOR EACH ROW SET NEW.word = 'é'",
        "CREATE EVENT never ON SCHEDULE EVERY 1 YEAR STARTS '2031-01-01 00:00:00' DISABLE DO DELETE FROM words WHERE word = 'é'",
        &latin,
        &latin_view,
    ];
    let mut fixture = Fixture::new(kind, "latin", &schema).await;
    fixture.assert_pristine("being copied");
    // To put it back the trigger is made anew.
    fixture.run("UPDATE words SET id = 2").await.close().await.expect("it closes");
    assert_eq!(outcome(&fixture.reset().await), 1, "{kind}");
    fixture.assert_pristine("being written to");
    fixture.drop().await;
}

/// In definitions they are shown as the bytes that they are; defaults by MariaDB alone.
async fn literals_that_are_no_text_are_copied(kind: Kind) {
    let schema = [
        "CREATE TABLE plain (id INT PRIMARY KEY)",
        "CREATE TABLE binaries (id INT PRIMARY KEY AUTO_INCREMENT, b VARBINARY(4) NOT NULL DEFAULT 0xff, c BINARY(3) DEFAULT 0x00ff27)
          AUTO_INCREMENT = 7",
        "CREATE VIEW latin AS SELECT CONCAT(_latin1 0xe9, 'ü') AS word",
    ];
    let mut fixture = Fixture::new(kind, "literals", &schema).await;
    fixture.assert_pristine("being copied");
    let slot = identifier(&fixture.slot.name);
    let template = identifier(&fixture.template.name);
    let word = |database: &str| format!("SELECT HEX(CONVERT(word USING utf8mb4)) FROM {database}.latin");
    let words = [fixture.rows(&word(&template)).await, fixture.rows(&word(&slot)).await];
    assert_eq!(words[0], words[1], "{kind}");
    fixture.run("INSERT INTO binaries () VALUES ()").await.close().await.expect("it closes");
    let row = fixture.rows(&format!("SELECT id, HEX(b), HEX(c) FROM {slot}.binaries")).await.concat();
    assert_eq!(row, ["7", "FF", "00FF27"].map(|value| Some(value.to_owned())), "{kind}");
    assert_eq!(outcome(&fixture.reset().await), 1, "{kind}");

    fixture.run("ALTER TABLE binaries ALTER b SET DEFAULT 0xfe").await.close().await.expect("it closes");
    let reset = fixture.reset().await;
    assert!(matches!(reset.outcome, Outcome::Changed(_)), "{kind}: {reset:?}");
    fixture.drop().await;
}

/// A template lives for longer than it was meant to take until they happen.
async fn events_whose_time_has_passed_are_copied(kind: Kind) {
    let schema = [
        "CREATE TABLE log (id INT PRIMARY KEY)",
        "SET timestamp = UNIX_TIMESTAMP('2020-01-01 00:00:00')",
        "CREATE EVENT once ON SCHEDULE AT '2020-01-01 01:00:00' DISABLE DO DELETE FROM log",
        "CREATE EVENT kept ON SCHEDULE AT '2020-01-01 01:00:00' ON COMPLETION PRESERVE DISABLE DO DELETE FROM log",
        "CREATE EVENT ended ON SCHEDULE EVERY 1 HOUR ENDS '2020-01-02 00:00:00' DISABLE DO DELETE FROM log",
    ];
    let mut fixture = Fixture::new(kind, "passed", &schema).await;
    fixture.assert_pristine("being copied");
    outcome(&fixture.reset().await);
    fixture.drop().await;
}

/// An index that holds all of a row is in an order of its own.
async fn rows_without_a_key_lie_in_the_order_of_the_template(kind: Kind) {
    let schema = [
        "CREATE TABLE names (name VARCHAR(20), KEY (name))",
        "INSERT INTO names VALUES ('second'), ('first'), (NULL), ('third'), ('first')",
    ];
    let mut fixture = Fixture::new(kind, "order", &schema).await;
    let names = |database: &str| format!("SELECT name FROM {}.names USE INDEX ()", identifier(database));
    let (theirs, ours) = (names(&fixture.template.name), names(&fixture.slot.name));
    let pristine = fixture.rows(&theirs).await;
    assert_eq!(fixture.rows(&ours).await, pristine, "{kind}");
    fixture.run("DELETE FROM names WHERE name = 'third'").await.close().await.expect("it closes");
    outcome(&fixture.reset().await);
    assert_eq!(fixture.rows(&ours).await, pristine, "{kind}");
    fixture.drop().await;
}

async fn tables_that_differ_by_case_or_accent_alone_have_counters_of_their_own(kind: Kind) {
    let schema = ["Word", "word", "wörd"].map(|name| {
        let table = format!("CREATE TABLE `{name}` (id INT PRIMARY KEY AUTO_INCREMENT, n INT)");
        format!("{table} AUTO_INCREMENT = {}; INSERT INTO `{name}` (n) VALUES (1)", 10 * name.len())
    });
    let mut fixture = Fixture::new(kind, "counters", &schema.each_ref().map(String::as_str)).await;
    for name in ["Word", "word", "wörd"] {
        let sql = format!("INSERT INTO `{name}` (n) VALUES (2)");
        fixture.run(&sql).await.close().await.expect("it closes");
        assert_eq!(outcome(&fixture.reset().await), 1, "{kind}: {sql}");
        fixture.assert_pristine(&sql);
    }
    fixture.drop().await;
}

/// The driver sends no bytes that are no text, and MySQL prepares no routine.
async fn a_routine_in_bytes_that_are_no_text_is_refused() {
    let mut fixture = Fixture::new(Kind::Mysql, "bytes", &["CREATE TABLE words (id INT PRIMARY KEY)"]).await;
    let said = r#"{"kind": "Procedure", "name": "say", "table": null, "create": "CREATE PROCEDURE say() SELECT 'é'",
        "settings": {"sql_mode": "", "client": "latin1", "connection": "latin1_swedish_ci", "database": null, "time_zone": null}}"#;
    fixture.template.catalog.objects.push(serde_json::from_str(said).expect("an object"));
    let copy = format!("{}_2", fixture.template.name);
    let error = Mysql::copy(&server(Kind::Mysql), &fixture.template, &copy).await.err().expect("it is refused");
    let (text, hint) = error.explained();
    assert!(text.contains("procedure `say` was made by a client whose text was not UTF-8"), "{text}");
    assert_eq!(hint, Some("have the schema make it with the character set utf8mb4"));
    Mysql::drop(&mut fixture.admin, &copy).await.expect("it can be dropped");
    fixture.drop().await;
}

/// MariaDB's `information_schema` takes such names for equal, and lists them in any order.
async fn tables_whose_names_differ_by_case_or_accent_alone_are_told_apart(kind: Kind) {
    let mut schema: Vec<String> = Vec::new();
    // With one pair alone their order can be the same by chance.
    for (upper, lower) in [("T", "t"), ("Users", "users"), ("Öl", "ol"), ("ROLES", "roles"), ("Word", "wörd")] {
        schema.push(format!("CREATE TABLE `{upper}` (id INT PRIMARY KEY, code INT UNIQUE, a INT, b INT)"));
        schema.push(format!("CREATE TABLE `{lower}` (name VARCHAR(20) PRIMARY KEY, id INT UNIQUE)"));
        schema.push(format!("CREATE TRIGGER `{upper} 1` BEFORE INSERT ON `{upper}` FOR EACH ROW SET NEW.a = 1"));
        schema.push(format!("CREATE TRIGGER `{lower} 2` BEFORE INSERT ON `{lower}` FOR EACH ROW SET NEW.id = 1"));
    }
    schema.push("INSERT INTO Users VALUES (1, 1, 1, 1); INSERT INTO t VALUES ('one', 1)".to_owned());
    let schema: Vec<&str> = schema.iter().map(String::as_str).collect();
    let mut fixture = Fixture::new(kind, "case", &schema).await;
    fixture.assert_pristine("being copied");
    assert!(fixture.template.tables.iter().all(|table| table.unique), "{kind}: {:?}", fixture.template.tables);

    let name = fixture.slot.name.clone();
    let read = contents::tables(&mut fixture.admin, &name).await.expect("it can be read");
    let columns = |name: &str| {
        let tables: Vec<_> = read.iter().filter(|table| table.name == identifier(name)).collect();
        assert_eq!(tables.len(), 1, "{kind}: {name}");
        let names: Vec<&str> = tables[0].columns.iter().map(|(name, _)| name.as_str()).collect();
        (names.join(","), tables[0].key.join(","))
    };
    assert_eq!(read.len(), 10, "{kind}");
    assert_eq!(columns("Users"), ("id,code,a,b".to_owned(), "id".to_owned()), "{kind}");
    assert_eq!(columns("users"), ("name,id".to_owned(), "name".to_owned()), "{kind}");

    drop(
        fixture
            .run("CREATE TABLE more (id INT); DROP TABLE more; DELETE FROM Users; INSERT INTO T (id) VALUES (1)")
            .await,
    );
    assert_eq!(outcome(&fixture.reset().await), 2, "{kind}");
    fixture.assert_pristine("being written to");
    drop(fixture.run("DROP TRIGGER `T 1`").await);
    let reset = fixture.reset().await;
    assert!(
        matches!(&reset.outcome, Outcome::Changed(why) if why == "trigger `T 1` is gone"),
        "{kind}: {:?}",
        reset.outcome
    );
    fixture.drop().await;
}

/// MariaDB keeps what is said of it for a table of MyISAM's, and shows it.
async fn a_counter_that_no_column_has_is_copied_on_mariadb() {
    let schema = ["CREATE TABLE uncounted (id INT) ENGINE = MyISAM AUTO_INCREMENT = 100"];
    let mut fixture = Fixture::new(Kind::Mariadb, "uncounted", &schema).await;
    fixture.assert_pristine("being copied");
    drop(fixture.run("ALTER TABLE uncounted AUTO_INCREMENT = 200").await);
    assert_eq!(fixture.reset().await.outcome, Outcome::Changed("table `uncounted` was altered".to_owned()));
    fixture.drop().await;
}
