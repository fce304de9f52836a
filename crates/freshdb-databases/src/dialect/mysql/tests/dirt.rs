//! Whatever a test does to a database is undone, or the database is not pristine.

use super::super::look::Look;
use super::super::sessions::{end_sessions, on_database};
use super::super::template::qualified;
use super::*;

on_both!(
    rows_are_put_back,
    prepared_transactions_are_rolled_back,
    prepared_transactions_are_rolled_back_on_what_is_to_be_dropped,
    a_neighbour_is_not_touched,
    what_is_written_in_the_first_moment_of_a_second_is_found,
    nobody_is_taken_for_a_session_on_another_slot,
    a_session_that_stays_is_named_and_one_that_was_closed_is_not,
    who_looks_through_the_catalog_is_ended_like_others,
    what_no_text_shows_is_put_back,
    a_table_that_was_emptied_at_once_is_found,
    what_an_index_of_texts_keeps_of_deleted_rows_is_gone,
    what_an_index_has_of_another_time_zone_is_gone,
    a_transaction_that_comes_again_is_another
);
on_one!(mysql: what_is_not_counted_for_want_of_room_is_found);
on_one!(mariadb:
    small_tables_that_were_just_filled_are_rebuilt,
    what_is_written_to_tables_that_are_passed_over_is_found,
    every_history_is_looked_at,
    what_an_index_of_vectors_keeps_of_deleted_rows_is_gone
);

const SCHEMA: &[&str] = &[
    "CREATE TABLE parents (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) UNIQUE)",
    "CREATE TABLE children (id INT PRIMARY KEY AUTO_INCREMENT, parent INT, body BLOB, size INT AS (LENGTH(body)) STORED,
      FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)",
    "CREATE TABLE seeded (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) NOT NULL, weight DOUBLE, made DATETIME)",
    "INSERT INTO seeded VALUES (1, 'one', 1.1, '2020-01-01'), (2, '', NULL, NULL), (7, 'seven', 7e77, NULL)",
    "CREATE TABLE keyless (name VARCHAR(50), body BLOB)",
    "INSERT INTO keyless VALUES ('b', 'x'), ('a', NULL), ('b', 'x')",
];

async fn rows_are_put_back(kind: Kind) {
    let mut fixture = Fixture::new(kind, "rows", SCHEMA).await;
    fixture.assert_pristine("being copied");
    for (sql, touched) in [
        ("SELECT 1", 0),
        ("INSERT INTO parents (name) VALUES ('x')", 1),
        ("INSERT INTO parents (name) VALUES ('x'); INSERT INTO children (parent, body) VALUES (1, 'b')", 2),
        ("INSERT INTO parents (name) VALUES ('x'); INSERT INTO children (parent) VALUES (1); DELETE FROM parents", 2),
        ("BEGIN; INSERT INTO parents (name) VALUES ('x'); ROLLBACK", 1),
        ("INSERT INTO parents (id, name) VALUES (900, 'x'); TRUNCATE children", 1),
        ("UPDATE seeded SET name = 'ONE' WHERE id = 1", 1),
        ("UPDATE seeded SET weight = 1.1000000000000003 WHERE id = 1", 1),
        ("DELETE FROM seeded WHERE id = 2", 1),
        ("INSERT INTO seeded (name) VALUES ('new'), ('newer')", 1),
        ("DELETE FROM seeded; DELETE FROM keyless", 2),
        ("UPDATE keyless SET body = 'y' LIMIT 1", 1),
        ("TRUNCATE seeded", 1),
    ] {
        drop(fixture.run(sql).await);
        let reset = fixture.reset().await;
        // A table without a key is copied anew whenever it may have been touched: where the server does not count writes,
        // or when anybody on it altered a definition.
        let keyless = usize::from(!sql.contains("keyless"));
        assert!((touched..=touched + keyless).contains(&outcome(&reset)), "{kind}: {sql}: {reset:?}");
        fixture.assert_pristine(sql);
    }
    fixture.drop().await;
}

/// One that outlives its session holds locks, and its rows are seen by nobody until it is committed.
async fn prepared_transactions_are_rolled_back(kind: Kind) {
    let mut fixture = Fixture::new(kind, "prepared", SCHEMA).await;
    let xid = free_name("xid");
    let sql = format!("XA START '{xid}'; INSERT INTO keyless VALUES ('z', NULL); XA END '{xid}'; XA PREPARE '{xid}'");
    fixture.run(&sql).await.close().await.expect("it closes");
    let reset = fixture.reset().await;
    assert!(matches!(reset.outcome, Outcome::Pristine { .. }), "{:?}", reset.outcome);
    let left = fixture.rows("XA RECOVER").await;
    assert!(left.iter().all(|row| row[3].as_deref() != Some(&xid)), "{left:?}");
    fixture.assert_pristine("a prepared transaction");
    fixture.drop().await;
}

/// What else was done to the database must not hide what is locked: it could not be dropped.
async fn prepared_transactions_are_rolled_back_on_what_is_to_be_dropped(kind: Kind) {
    for before in [
        "ALTER TABLE keyless COMMENT 'x'",
        "ALTER TABLE keyless ADD SYSTEM VERSIONING",
        "CREATE TABLE gone (id INT); CREATE TRIGGER broken AFTER DELETE ON seeded FOR EACH ROW DELETE FROM gone; DROP TABLE gone",
        "CREATE TRIGGER broken AFTER DELETE ON keyless FOR EACH ROW DELETE FROM gone",
        "CREATE SEQUENCE numbers",
    ] {
        if kind == Kind::Mysql && (before.contains("VERSIONING") || before.contains("SEQUENCE")) {
            continue;
        }
        let mut fixture = Fixture::new(kind, "prepared", SCHEMA).await;
        drop(fixture.run(before).await);
        let xid = free_name("xid");
        let sql =
            format!("XA START '{xid}'; INSERT INTO keyless VALUES ('z', NULL); XA END '{xid}'; XA PREPARE '{xid}'");
        fixture.run(&sql).await.close().await.expect("it closes");
        let reset = fixture.reset().await;
        assert!(matches!(reset.outcome, Outcome::Changed(_)), "{kind}: {before}: {:?}", reset.outcome);
        let left = fixture.rows("XA RECOVER").await;
        assert!(left.iter().all(|row| row[3].as_deref() != Some(&xid)), "{kind}: {before}: {left:?}");
        fixture.drop().await;
    }
}

async fn a_neighbour_is_not_touched(kind: Kind) {
    let mut fixture = Fixture::new(kind, "near", SCHEMA).await;
    let neighbour = format!("{}_2", fixture.slot.name);
    let other = Mysql::copy(&server(kind), &fixture.template, &neighbour).await.expect("a second copy");
    let mut elsewhere = user(kind, &neighbour).await;
    execute(&mut elsewhere, "INSERT INTO parents (name) VALUES ('mine'); BEGIN; DELETE FROM seeded")
        .await
        .expect("it writes");
    drop(fixture.run("INSERT INTO parents (name) VALUES ('x'); DELETE FROM seeded").await);
    assert!(outcome(&fixture.reset().await) >= 2);
    execute(&mut elsewhere, "COMMIT").await.expect("its session is still there");
    let rows = fixture.rows(&format!("SELECT name FROM `{neighbour}`.parents")).await;
    assert_eq!(rows, [[Some("mine".to_owned())]]);
    Mysql::close(other).await;
    Mysql::drop(&mut fixture.admin, &neighbour).await.expect("it can be dropped");
    fixture.drop().await;
}

/// MariaDB tells the second of a table's last write by a clock that is some milliseconds late, and its own time by one that is not.
async fn what_is_written_in_the_first_moment_of_a_second_is_found(kind: Kind) {
    let schema = ["CREATE TABLE seeded (id INT PRIMARY KEY, name VARCHAR(50))", "INSERT INTO seeded VALUES (1, 'one')"];
    let mut fixture = Fixture::new(kind, "second", &schema).await;
    for round in 0..3 {
        drop(fixture.run("UPDATE seeded SET name = 'other'").await);
        // The first writes the row, the second knows when that was.
        for _ in 0..2 {
            fixture.reset().await;
        }
        let mut user = fixture.user().await;
        let id = rows(&mut user, "SELECT CONNECTION_ID()").await.expect("the server answers");
        let id = id.into_iter().flatten().flatten().find_map(|id| id.parse().ok()).expect("a number");
        fixture.rows("SELECT SLEEP(GREATEST(0, 0.99 - MOD(UNIX_TIMESTAMP(SYSDATE(6)), 1)))").await;
        let second = fixture.rows("SELECT UNIX_TIMESTAMP()").await;
        while fixture.rows("SELECT UNIX_TIMESTAMP()").await == second {}
        let reset = Mysql::reset(&mut fixture.slot, &fixture.template, &[id]).await.expect("it is put back");
        assert!(matches!(reset.outcome, Outcome::Pristine { .. }), "{reset:?}");
        execute(&mut user, "UPDATE seeded SET name = 'ONE'").await.expect("it writes");
        user.close().await.expect("it closes");
        fixture.reset().await;
        fixture.assert_pristine(&format!("a write at the beginning of a second, round {round}"));
    }
    fixture.drop().await;
}

const FILLED: &[&str] = &[
    "CREATE TABLE plain (id INT PRIMARY KEY AUTO_INCREMENT)",
    "CREATE TABLE parents (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) UNIQUE)",
    "INSERT INTO parents VALUES (1, 'one'), (2, 'two'), (9, 'nine')",
    "CREATE TABLE children (id INT PRIMARY KEY AUTO_INCREMENT, parent INT, size INT AS (LENGTH(body)) STORED, body TEXT,
      FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "INSERT INTO children (id, parent, body) VALUES (3, 1, 'x'), (4, 2, NULL), (8, 9, '')",
    "ALTER TABLE children AUTO_INCREMENT = 100",
];

/// The tables whose rows may be others than when it was last reset.
async fn suspects(fixture: &mut Fixture) -> Vec<usize> {
    let Slot { name, connection, marks, .. } = &mut fixture.slot;
    let then = marks.as_ref().expect("it has been reset");
    let look = Look::take(connection, &fixture.template, name, Some(then)).await.expect("the server answers");
    let suspects = look.marks.since(Some(then), &fixture.template);
    assert!(!look.is_partial);
    suspects.rows
}

/// MariaDB tells in whole seconds when a table was last written to. Of one that it has forgotten that of, it proves at once that nobody has written
/// to it since; and whatever is written to it is found.
async fn small_tables_that_were_just_filled_are_rebuilt() {
    let mut fixture = Fixture::new(Kind::Mariadb, "rebuilt", FILLED).await;
    // The server is everybody's: where somebody else alters something, or closes tables, nothing is proved for once.
    let mut tries = 0;
    loop {
        for _ in 0..2 {
            drop(fixture.run("INSERT INTO plain VALUES ()").await);
            fixture.reset().await;
        }
        let suspects = suspects(&mut fixture).await;
        if suspects == [2] {
            break;
        }
        tries += 1;
        assert!(tries < 100, "{suspects:?}");
        fixture.renew().await;
    }
    fixture.assert_pristine("being rebuilt");

    for sql in [
        "UPDATE parents SET name = 'ONE' WHERE id = 1",
        "UPDATE parents SET id = 7 WHERE id = 2",
        "DELETE FROM parents WHERE id = 9",
        "UPDATE children SET body = '' WHERE id = 4",
        "DELETE FROM children; INSERT INTO children (id, parent, body) VALUES (3, 1, 'x')",
        "TRUNCATE children",
        "BEGIN; INSERT INTO children (parent) VALUES (1); ROLLBACK",
        "INSERT INTO parents (name) VALUES ('new'); FLUSH TABLES",
        "ALTER TABLE children FORCE; UPDATE children SET body = 'y' WHERE id = 3; ALTER TABLE children FORCE",
        "XA BEGIN 'rebuilt'; UPDATE parents SET name = '2' WHERE id = 2; XA END 'rebuilt'; XA COMMIT 'rebuilt' ONE PHASE",
    ] {
        drop(fixture.run(sql).await);
        let reset = fixture.reset().await;
        assert_ne!(outcome(&reset), 0, "{sql}: {reset:?}");
        fixture.assert_pristine(sql);
        // What it was put back by is not taken for a proof, nor is a proof lost for ever by it.
        assert_eq!(outcome(&fixture.reset().await), 0, "{sql}");
    }
    fixture.drop().await;
}

impl Fixture {
    /// What is written to one table. Where all rows are gone again, that may not be seen.
    async fn undoes_one(&mut self, sql: &str) {
        drop(self.run(sql).await);
        let least = usize::from(!sql.contains("; DELETE FROM"));
        assert!((least..=1).contains(&outcome(&self.reset().await)), "{sql}");
        self.assert_pristine(sql);
    }
}

/// MariaDB does not look into an empty table that was never written to, as long as it knows of no write: which it does of every one.
async fn what_is_written_to_tables_that_are_passed_over_is_found() {
    const WRITES: &[&str] = &[
        "INSERT INTO t0 VALUES (1, 'x')",
        "SET unique_checks = 0, foreign_key_checks = 0; BEGIN; INSERT INTO t1 VALUES (1, 'x'), (2, 'y'); COMMIT",
        "INSERT INTO t2 VALUES (1, 'x'); FLUSH TABLES",
        "INSERT INTO t3 VALUES (1, 'x'); ALTER TABLE t3 FORCE",
        "XA BEGIN 'passed over'; INSERT INTO t4 VALUES (1, 'x'); XA END 'passed over'; XA COMMIT 'passed over' ONE PHASE",
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; INSERT INTO t5 SELECT 1, 'x'",
        "INSERT IGNORE INTO t6 VALUES (1, 'x'), (1, 'y')",
        "REPLACE INTO t7 VALUES (0, 'x')",
        "INSERT INTO t8 VALUES (1, 'x'); DELETE FROM t8",
        "BEGIN; INSERT INTO t9 VALUES (1, 'x'); SAVEPOINT s; INSERT INTO t9 VALUES (2, 'x'); ROLLBACK TO s; COMMIT",
        "TRUNCATE t10; INSERT INTO t10 VALUES (1, 'x')",
        "LOCK TABLES t11 WRITE; INSERT INTO t11 VALUES (1, 'x')",
        "INSERT INTO t12 VALUES (1, 'x'); TRUNCATE t12; INSERT INTO t12 VALUES (1, 'x')",
        "SET SESSION timestamp = 1; INSERT INTO t13 VALUES (1, 'x')",
    ];
    const OTHERS: &[&str] = &["INSERT INTO isam VALUES (1)", "INSERT INTO parts VALUES (1)"];

    let tables: Vec<String> = (0..WRITES.len())
        .map(|table| format!("CREATE TABLE t{table} (id INT PRIMARY KEY, name VARCHAR(50))"))
        .chain([
            "CREATE TABLE isam (id INT PRIMARY KEY) ENGINE = MyISAM".to_owned(),
            "CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3".to_owned(),
        ])
        .collect();
    let schema: Vec<&str> = tables.iter().map(String::as_str).collect();
    let mut fixture = Fixture::new(Kind::Mariadb, "passed", &schema).await;
    assert_eq!(outcome(&fixture.reset().await), 0);
    for (index, sql) in WRITES.iter().enumerate() {
        let table = fixture.template.tables.iter().find(|table| table.name == format!("t{index}")).expect("a table");
        assert!(fixture.slot.marks.as_ref().is_some_and(|marks| marks.can_prove(table)), "it is passed over");
        fixture.undoes_one(sql).await;
        assert_eq!(outcome(&fixture.reset().await), 0, "{sql}");
    }
    for sql in OTHERS.iter().chain(WRITES).chain(OTHERS) {
        fixture.undoes_one(sql).await;
    }
    drop(fixture.run("BEGIN; INSERT INTO t0 VALUES (1, 'x')").await);
    assert_eq!(outcome(&fixture.reset().await), 0, "what was not committed is no write");
    fixture.assert_pristine("a write that was not committed");
    fixture.drop().await;
}

/// Of several tables that keep their rows' history, one that was written to and back.
async fn every_history_is_looked_at() {
    let kept = |name: &str| format!("CREATE TABLE {name} (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING");
    let (first, second) = (kept("first"), kept("second"));
    let schema = [first.as_str(), second.as_str(), "INSERT INTO first VALUES (1, 1); INSERT INTO second VALUES (1, 1)"];
    let mut fixture = Fixture::new(Kind::Mariadb, "history", &schema).await;
    drop(fixture.run("UPDATE second SET v = 2; UPDATE second SET v = 1; ALTER TABLE second COMMENT ''").await);
    let reset = fixture.reset().await;
    assert_eq!(reset.outcome, Outcome::Changed("table `second` was written to, and keeps its history".to_owned()));
    fixture.drop().await;
}

/// The servers call other databases the current one of who looks through `information_schema`.
async fn who_looks_through_the_catalog_is_ended_like_others(kind: Kind) {
    let tables: Vec<String> =
        (0..30).map(|index| format!("CREATE TABLE t{index} (id INT PRIMARY KEY, a INT)")).collect();
    let schema: Vec<&str> = tables.iter().map(String::as_str).chain(["INSERT INTO t0 VALUES (1, 1)"]).collect();
    let mut fixture = Fixture::new(kind, "looks", &schema).await;
    let looks = match kind {
        Kind::Mysql => "SHOW FULL TABLES; SHOW FULL COLUMNS FROM t1;".repeat(40),
        _ => "SELECT COUNT(*), MAX(column_comment) FROM information_schema.columns;".repeat(3),
    };
    let batch = format!("BEGIN; UPDATE t0 SET a = 2; {looks} COMMIT");
    for round in 0..40 {
        let mut user = fixture.user().await;
        let Fixture { slot, template, .. } = &mut fixture;
        let reset = async {
            tokio::time::sleep(std::time::Duration::from_millis(8)).await;
            Mysql::reset(slot, template, &[]).await.expect("it is put back")
        };
        let (_, reset) = tokio::join!(execute(&mut user, &batch), reset);
        assert!(matches!(reset.outcome, Outcome::Pristine { .. }), "{kind}, round {round}: {reset:?}");
        let rows = fixture.rows(&format!("SELECT a FROM {}.t0", identifier(&fixture.slot.name))).await;
        assert_eq!(rows, [[Some("1".to_owned())]], "{kind}, round {round}: {reset:?}");
        execute(&mut user, "SELECT 1").await.expect_err("it was ended");
    }
    fixture.drop().await;
}

/// Values that are equal, or have one text, and are not the same; and rows that lie in another order.
async fn what_no_text_shows_is_put_back(kind: Kind) {
    let schema = [
        "CREATE TABLE computed (id INT PRIMARY KEY, made TIMESTAMP, day DATE AS (DATE(made)) STORED, n INT)",
        "SET time_zone = '+00:00'; INSERT INTO computed (id, made, n) VALUES (1, '2020-01-01 12:00:00', 1)",
        "CREATE TABLE chosen (id INT PRIMARY KEY, letter ENUM('', 'a') NOT NULL)",
        "INSERT INTO chosen VALUES (1, '')",
        "CREATE TABLE document (id INT PRIMARY KEY, doc JSON)",
        r#"INSERT INTO document VALUES (1, '{"day": "2020-01-01"}')"#,
        "CREATE TABLE isam (id INT PRIMARY KEY, n INT) ENGINE = MyISAM",
        "INSERT INTO isam VALUES (1, 1), (2, 2), (3, 3)",
        "CREATE TABLE memory (id INT PRIMARY KEY, n INT) ENGINE = MEMORY",
        "INSERT INTO memory VALUES (1, 1), (2, 2), (3, 3)",
        "CREATE TABLE members (id INT PRIMARY KEY, letters SET('', 'a') NOT NULL)",
        "INSERT INTO members VALUES (1, '')",
        // All of it is in its key, by which it would be read in another order.
        "CREATE TABLE unordered (id INT PRIMARY KEY) ENGINE = MyISAM",
        "INSERT INTO unordered VALUES (3), (1), (2)",
    ];
    let mut fixture = Fixture::new(kind, "texts", &schema).await;
    let looks = [
        "SELECT day FROM {}.computed",
        "SELECT letter + 0 FROM {}.chosen",
        "SELECT JSON_TYPE(JSON_EXTRACT(doc, '$.day')) FROM {}.document",
        "SELECT * FROM {}.isam USE INDEX ()",
        "SELECT * FROM {}.memory USE INDEX ()",
        "SELECT letters + 0 FROM {}.members",
        "SELECT * FROM {}.unordered USE INDEX ()",
    ];
    let mut pristine = Vec::new();
    for look in looks {
        pristine.push(fixture.rows(&look.replace("{}", &identifier(&fixture.template.name))).await);
    }
    for sql in [
        // Of MariaDB that is not known: its copies need not have what the template has there.
        if kind == Kind::Mysql {
            "SET time_zone = '+13:00'; UPDATE computed SET n = 2; UPDATE computed SET n = 1"
        } else {
            "UPDATE computed SET n = 2"
        },
        "UPDATE members SET letters = 1",
        "DELETE FROM unordered WHERE id = 3; INSERT INTO unordered VALUES (3)",
        "UPDATE IGNORE chosen SET letter = 'zzz'",
        "UPDATE document SET doc = JSON_OBJECT('day', CAST('2020-01-01' AS DATE))",
        "DELETE FROM isam WHERE id < 3; INSERT INTO isam VALUES (1, 1), (2, 2)",
        "DELETE FROM memory WHERE id < 3; INSERT INTO memory VALUES (1, 1), (2, 2)",
    ] {
        fixture.run(sql).await.close().await.expect("it closes");
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }), "{kind}: {sql}");
        for (look, pristine) in looks.iter().zip(&pristine) {
            let now = fixture.rows(&look.replace("{}", &identifier(&fixture.slot.name))).await;
            assert_eq!(now, *pristine, "{kind} after {sql}: {look}");
        }
        fixture.assert_pristine(sql);
    }
    assert_eq!(outcome(&fixture.reset().await), 0, "{kind}: nobody has touched it");
    fixture.drop().await;
}

/// A prepared transaction was there when the slot was made, and has ended. A test of the slot gives its own the same name.
async fn a_transaction_that_comes_again_is_another(kind: Kind) {
    let schema = ["CREATE TABLE seeded (id INT PRIMARY KEY)", "INSERT INTO seeded VALUES (1)"];
    let mut elsewhere = Fixture::new(kind, "elsewhere", &schema).await;
    let xid = free_name("xid");
    let xa = format!("XA START '{xid}'; DELETE FROM seeded; XA END '{xid}'; XA PREPARE '{xid}'");
    elsewhere.run(&xa).await.close().await.expect("it closes");
    let mut fixture = Fixture::new(kind, "comes", &schema).await;
    // Another test of these may have found it meanwhile.
    let _: Result<(), _> = execute(&mut elsewhere.admin, &format!("XA ROLLBACK '{xid}'")).await;
    fixture.reset().await;
    fixture.run(&xa).await.close().await.expect("it closes");
    assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
    let left = fixture.rows("XA RECOVER").await;
    assert!(left.iter().all(|row| row[3].as_deref() != Some(&xid)), "{left:?}");
    fixture.assert_pristine("a prepared transaction");
    fixture.drop().await;
    elsewhere.drop().await;
}

/// Until the server has read its goodbye, one that was closed looks like one that stays.
async fn a_session_that_stays_is_named_and_one_that_was_closed_is_not(kind: Kind) {
    let mut fixture = Fixture::new(kind, "leak", SCHEMA).await;
    for _ in 0..100 {
        fixture.run("INSERT INTO parents (name) VALUES ('x')").await.close().await.expect("it closes");
        let reset = fixture.reset().await;
        assert_eq!(reset.ended, [], "{kind}");
    }
    let mut left = fixture.run("BEGIN; SELECT 'left'").await;
    let reset = fixture.reset().await;
    assert_eq!(reset.ended.len(), 1, "{kind}: {reset:?}");
    execute(&mut left, "SELECT 1").await.expect_err("it was ended");
    fixture.drop().await;
}

/// While MariaDB looks through a database for `information_schema`, it calls that the session's current one.
async fn nobody_is_taken_for_a_session_on_another_slot(kind: Kind) {
    let table = |index: u32| {
        let table = format!("CREATE TABLE t{index} (id INT PRIMARY KEY)");
        format!("{table}; CREATE TRIGGER of_t{index} BEFORE INSERT ON t{index} FOR EACH ROW SET NEW.id = NEW.id + 1")
    };
    let tables: Vec<String> = (0..60).map(table).collect();
    let large = Fixture::new(kind, "large", &tables.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut small = Fixture::new(kind, "small", SCHEMA).await;
    let name = large.slot.name.clone();
    let mut watcher = admin(kind).await;
    let looking = async {
        for _ in 0..300 {
            let ended = end_sessions(&mut watcher, &on_database(&name), None).await.expect("the server answers");
            assert!(ended.is_empty(), "{kind}: {ended:?}");
        }
    };
    let busy = async {
        loop {
            drop(small.run("ALTER TABLE parents COMMENT 'x'; ALTER TABLE parents COMMENT ''").await);
            outcome(&small.reset().await);
            Mysql::read_template(&server(kind), &small.template.name).await.expect("it can be read");
        }
    };
    tokio::select! {
        () = looking => {}
        () = busy => {}
    }
    small.drop().await;
    large.drop().await;
}

/// Where no row has to be logged, MySQL has the engines that can do so empty a table by one call, which it does not count.
async fn a_table_that_was_emptied_at_once_is_found(kind: Kind) {
    let schema = [
        "CREATE TABLE isam (id INT PRIMARY KEY AUTO_INCREMENT, n INT) ENGINE = MyISAM AUTO_INCREMENT = 50",
        "INSERT INTO isam VALUES (1, 1), (2, 2)",
        "CREATE TABLE memory (id INT PRIMARY KEY, n INT) ENGINE = MEMORY",
        "INSERT INTO memory VALUES (1, 1), (2, 2)",
        "CREATE TABLE keyless (n INT) ENGINE = MyISAM",
        "INSERT INTO keyless VALUES (1), (2)",
        "CREATE TABLE csv (n INT NOT NULL) ENGINE = CSV",
        "INSERT INTO csv VALUES (1), (2)",
    ];
    let mut fixture = Fixture::new(kind, "emptied", &schema).await;
    // From the second on, the server's counters are compared with those of before.
    fixture.reset().await;
    for format in ["MIXED", "STATEMENT", "ROW"] {
        for table in ["isam", "memory", "keyless", "csv"] {
            let sql = format!("SET SESSION binlog_format = '{format}'; DELETE FROM {table}");
            fixture.run(&sql).await.close().await.expect("it closes");
            let reset = fixture.reset().await;
            if let Outcome::Changed(_) = reset.outcome {
                fixture.renew().await;
            }
            fixture.assert_pristine(&sql);
        }
    }
    fixture.drop().await;
}

/// InnoDB reckons how much a word tells by all rows that a table has had, until it is emptied.
async fn what_an_index_of_texts_keeps_of_deleted_rows_is_gone(kind: Kind) {
    let schema = [
        "CREATE TABLE articles (id INT PRIMARY KEY AUTO_INCREMENT, body VARCHAR(200) NOT NULL, FULLTEXT KEY (body))",
        "INSERT INTO articles (body) VALUES ('database systems'), ('database tests'), ('quick tests'), ('nothing else'), ('slow systems')",
        "CREATE TABLE notes (id INT PRIMARY KEY, body VARCHAR(200) NOT NULL, FULLTEXT KEY (body))",
    ];
    let mut fixture = Fixture::new(kind, "texts", &schema).await;
    let note = "INSERT INTO notes VALUES (1, 'database'), (2, 'systems'), (3, 'database systems'), (4, 'tests')";
    let scores = async |fixture: &mut Fixture| {
        fixture.run(note).await.close().await.expect("it closes");
        let name = identifier(&fixture.slot.name);
        let of =
            |table: &str| format!("SELECT id, MATCH (body) AGAINST ('database tests') FROM {name}.{table} ORDER BY id");
        let scores = [fixture.rows(&of("articles")).await, fixture.rows(&of("notes")).await];
        // What has been looked at is put back as well.
        outcome(&fixture.reset().await);
        scores
    };
    outcome(&fixture.reset().await);
    let pristine = scores(&mut fixture).await;
    for sql in [
        "DELETE FROM articles WHERE id = 1",
        "UPDATE articles SET body = 'database database' WHERE id = 4",
        "INSERT INTO articles (body) VALUES ('database tests'), ('more tests')",
        "INSERT INTO articles (id, body) VALUES (90, 'database tests'), (91, 'tests'); DELETE FROM articles WHERE id >= 90",
        "INSERT INTO notes VALUES (7, 'database tests'), (8, 'tests')",
    ] {
        // MariaDB tells when a table was last written to, in seconds.
        fixture.rows("SELECT SLEEP(2.1)").await;
        outcome(&fixture.reset().await);
        fixture.run(sql).await.close().await.expect("it closes");
        outcome(&fixture.reset().await);
        assert_eq!(scores(&mut fixture).await, pristine, "{kind} after {sql}");
        fixture.assert_pristine(sql);
    }
    fixture.drop().await;
}

/// Where a row is deleted, it is taken out of an index of what is computed by what that is for whoever deletes it.
async fn what_an_index_has_of_another_time_zone_is_gone(kind: Kind) {
    let limit = if kind == Kind::Mysql { "cte_max_recursion_depth" } else { "max_recursive_iterations" };
    let columns = "id INT PRIMARY KEY, at TIMESTAMP NOT NULL, hour INT AS (HOUR(at)) VIRTUAL, KEY (hour)";
    let mut schema = vec![format!("SET SESSION {limit} = 10000")];
    for table in ["none", "few", "many", "noted"] {
        schema.push(format!("CREATE TABLE {table} ({columns})"));
    }
    schema.push("CREATE TABLE log (id INT)".to_owned());
    schema.push("CREATE TRIGGER note AFTER UPDATE ON noted FOR EACH ROW INSERT INTO log VALUES (NEW.id)".to_owned());
    for (table, rows) in [("few", 3), ("many", 3000), ("noted", 3)] {
        schema.push(format!(
            "INSERT INTO {table} (id, at) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT i, '2020-01-01 05:00:00' + INTERVAL i MINUTE FROM n"
        ));
    }
    if kind == Kind::Mysql {
        schema.push(
            "CREATE TABLE by_expression (id INT PRIMARY KEY, at TIMESTAMP NOT NULL, KEY ((HOUR(at))))".to_owned(),
        );
    }
    let schema: Vec<&str> = schema.iter().map(String::as_str).collect();
    let mut fixture = Fixture::new(kind, "zones", &schema).await;
    let tables: Vec<String> = fixture.template.tables.iter().map(|table| table.name.clone()).collect();
    let zone = |hours: u32, sql: &str| format!("SET time_zone = '+{hours:02}:00'; {sql}");
    let insert = |table: &str, id: u32| format!("INSERT INTO {table} (id, at) VALUES ({id}, '2020-01-01 12:00:00')");
    let mut dirt =
        vec![zone(9, &insert("none", 1)), format!("{}; {}", zone(9, &insert("none", 1)), zone(5, "DELETE FROM none"))];
    for table in ["few", "many", "noted"] {
        dirt.push(zone(9, &insert(table, 90_000)));
        dirt.push(zone(9, &format!("UPDATE {table} SET at = at + INTERVAL 1 HOUR WHERE id = 2")));
        dirt.push(zone(9, &format!("DELETE FROM {table} WHERE id = 2")));
        let back = format!("UPDATE {table} SET at = at - INTERVAL 1 HOUR WHERE id = 2");
        dirt.push(format!(
            "{}; {}",
            zone(9, &format!("UPDATE {table} SET at = at + INTERVAL 1 HOUR WHERE id = 2")),
            zone(5, &back)
        ));
    }
    if kind == Kind::Mysql {
        dirt.push(zone(9, &insert("by_expression", 1)));
    }
    for sql in dirt {
        // MariaDB tells when a table was last written to, in seconds.
        if kind == Kind::Mariadb && sql.matches("SET time_zone").count() > 1 {
            fixture.rows("SELECT SLEEP(2.1)").await;
            outcome(&fixture.reset().await);
        }
        fixture.run(&sql).await.close().await.expect("it closes");
        outcome(&fixture.reset().await);
        for table in &tables {
            let checked = fixture.rows(&format!("CHECK TABLE {}", qualified(&fixture.slot.name, table))).await;
            let said: Vec<_> = checked.into_iter().filter_map(|row| row.into_iter().nth(3).flatten()).collect();
            assert_eq!(said, ["OK"], "{kind}: {table} after {sql}");
        }
        fixture.assert_pristine(&sql);
    }
    fixture.drop().await;
}

/// A search by an index of vectors goes from row to row, and those that were deleted are still in its way: it finds too few of the others.
async fn what_an_index_of_vectors_keeps_of_deleted_rows_is_gone() {
    let kind = Kind::Mariadb;
    if rows(&mut admin(kind).await, "SHOW VARIABLES LIKE 'mhnsw_ef_search'").await.expect("an answer").is_empty() {
        test_support::say("this MariaDB has no index of vectors: it is of 11.7 and later");
        return;
    }
    let fill = |table: &str, from: u32, to: u32| {
        let vector =
            "VEC_FromText(CONCAT('[', MOD(seq, 17) / 17, ',', MOD(seq, 13) / 13, ',', MOD(seq, 11) / 11, ']'))";
        format!("INSERT INTO {table} SELECT seq, 0, {vector} FROM seq_{from}_to_{to}")
    };
    let columns = "id INT PRIMARY KEY, n INT NOT NULL, place VECTOR(3) NOT NULL, VECTOR INDEX (place)";
    let schema: Vec<String> = ["none", "few", "many"]
        .iter()
        .map(|table| format!("CREATE TABLE {table} ({columns})"))
        .chain([fill("few", 1, 20), fill("many", 1, 1100)])
        .collect();
    let schema: Vec<&str> = schema.iter().map(String::as_str).collect();
    let mut fixture = Fixture::new(kind, "vectors", &schema).await;
    for table in ["none", "few", "many"] {
        // MariaDB tells when a table was last written to, in seconds.
        fixture.rows("SELECT SLEEP(2.1)").await;
        outcome(&fixture.reset().await);
        let dirt = fill(table, 2001, 5000);
        fixture.run(&dirt).await.close().await.expect("it closes");
        outcome(&fixture.reset().await);
        fixture.assert_pristine(&dirt);
        if table == "none" {
            fixture.run(&fill(table, 1, 20)).await.close().await.expect("it closes");
        }
        let named = qualified(&fixture.slot.name, table);
        let nearest = "ORDER BY VEC_DISTANCE_EUCLIDEAN(place, VEC_FromText('[0.5,0.5,0.5]')) LIMIT 15";
        let found = fixture.rows(&format!("SELECT id FROM {named} {nearest}")).await;
        assert_eq!(found.len(), 15, "{table}: {found:?}");
    }
    fixture.drop().await;
}

/// MySQL counts nothing that a session writes for which there was no more room.
async fn what_is_not_counted_for_want_of_room_is_found() {
    let mut fixture = Fixture::new(Kind::Mysql, "room", SCHEMA).await;
    assert!(fixture.template.features.writes, "the server counts");
    let question = fixture.template.statements.clone();
    for lost in ["Performance_schema_thread_instances_lost", "Performance_schema_table_handles_lost"] {
        assert!(question.contains(lost), "{question}");
        let ask = |count: u32| format!("SELECT 'Com_create_table', 7 UNION ALL SELECT '{lost}', {count}");
        let own = "UPDATE performance_schema.threads SET instrumented = 'NO' WHERE processlist_id = CONNECTION_ID()";
        let sql = "INSERT INTO parents (name) VALUES ('x'); UPDATE seeded SET name = 'x'";
        for (before, now) in [(0, 1), (1, 1)] {
            fixture.template.statements = ask(before);
            fixture.reset().await;
            fixture.run(&format!("{own}; {sql}")).await.close().await.expect("it closes");
            fixture.template.statements = ask(now);
            outcome(&fixture.reset().await);
            fixture.assert_pristine(sql);
        }
    }
    fixture.drop().await;
}
