//! Tables with so many rows that their files tell which of them are compared.

use std::path::{Path, PathBuf};

use super::super::files::are_rows;
use super::super::pages::{Range, TableFile};
use super::super::seeded::{Part, restore};
use super::super::sessions::{end_sessions, on_database};
use super::super::template::{Column, qualified};
use super::*;

on_both!(
    what_was_written_is_found,
    one_row_is_one_range,
    a_file_that_is_another_one_says_nothing,
    values_that_no_row_of_the_template_has_were_read_wrongly,
    a_file_is_not_believed_when_something_was_altered
);

const ROWS: i64 = 6000;

/// Keys of several widths, of two columns, below 0, and with gaps; what one table is written to reaches another. Keys that are no numbers, in
/// tables with more or fewer columns that can be NULL.
fn schema(kind: Kind, has_uuids: bool) -> Vec<String> {
    let limit = if kind == Kind::Mysql { "cte_max_recursion_depth" } else { "max_recursive_iterations" };
    let fill_with = |rows: i64, table: &str, columns: &str| {
        format!(
            "INSERT INTO {table} WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT {columns} FROM n"
        )
    };
    let fill = |table: &str, columns: &str| fill_with(ROWS, table, columns);
    let fill_half = |table: &str, columns: &str| fill_with(ROWS / 2, table, columns);
    let mut schema = vec![format!("SET SESSION {limit} = 1000000")];
    schema.extend(
        [
            "CREATE TABLE plain (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100) NOT NULL, n INT, KEY (n))",
            "CREATE TABLE wide (id BIGINT UNSIGNED PRIMARY KEY, code VARCHAR(100) NOT NULL UNIQUE, more TEXT, document JSON)",
            "CREATE TABLE pairs (a SMALLINT NOT NULL, b VARCHAR(20) NOT NULL, n INT NOT NULL, PRIMARY KEY (a, b))",
            "CREATE TABLE `it's-a $child` (id MEDIUMINT PRIMARY KEY, parent INT, name VARCHAR(100),
              FOREIGN KEY (parent) REFERENCES plain (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "CREATE TABLE uuids (id BINARY(16) PRIMARY KEY, n INT NOT NULL, name VARCHAR(100))",
            "CREATE TABLE words (word VARCHAR(200) PRIMARY KEY, n INT NOT NULL, a INT, b INT, c INT, d INT, e INT, f INT, g INT, h INT,
              i INT AS (n + 1) VIRTUAL, j INT AS (a + 1) STORED) CHARACTER SET utf8mb4",
            "CREATE TABLE texts (id CHAR(36) CHARACTER SET utf8mb4 PRIMARY KEY, n INT NOT NULL)",
            "CREATE TABLE codes (code CHAR(20) CHARACTER SET ascii, more VARCHAR(60) CHARACTER SET latin1 NOT NULL, n INT NOT NULL,
              PRIMARY KEY (code, more))",
            "CREATE TABLE tokens (token VARBINARY(50) PRIMARY KEY, n INT NOT NULL, name TEXT)",
            "CREATE TABLE days (day DATE, n INT NOT NULL, PRIMARY KEY (day, n))",
            "CREATE TABLE moments (moment DATETIME(3) PRIMARY KEY, n INT NOT NULL)",
            "CREATE TABLE accounts (id DECIMAL(19) PRIMARY KEY, n INT NOT NULL)",
            "CREATE TABLE amounts (amount DECIMAL(14, 4), n INT NOT NULL, PRIMARY KEY (amount))",
            // The key does not hold the whole column.
            "CREATE TABLE parts (id BINARY(16) NOT NULL, n INT NOT NULL, PRIMARY KEY (id(6)))",
            "CREATE TABLE noted (id INT PRIMARY KEY AUTO_INCREMENT, what INT)",
            "CREATE TRIGGER note AFTER UPDATE ON pairs FOR EACH ROW INSERT INTO noted (what) VALUES (NEW.n)",
        ]
        .map(str::to_owned),
    );
    if has_uuids {
        schema.push("CREATE TABLE things (id UUID PRIMARY KEY, n INT NOT NULL)".to_owned());
        // Of versions 1, 4 and 7.
        schema.push(fill_half(
            "things",
            "CONCAT(LEFT(SHA2(i, 256), 8), '-', LEFT(SHA2(i * 3, 256), 4), '-', ELT(1 + i % 3, '1', '4', '7'), LEFT(SHA2(i * 5, 256), 3), '-8', \
             LEFT(SHA2(i * 7, 256), 3), '-', LEFT(SHA2(i * 11, 256), 12)), i",
        ));
    }
    schema.extend([
        fill_half("days", "DATE '2020-02-28' + INTERVAL i DIV 3 DAY, i"),
        fill_half("moments", "TIMESTAMP '1999-12-31 23:00:00' + INTERVAL i * 1234567 * 1000 MICROSECOND, i"),
        fill_half("accounts", "i * 1234567890123 - 1000000000000000, i"),
        fill_half("amounts", "i * 1.0625 - 1000, i"),
        fill("plain", "i * 3, CONCAT('name ', i), i % 100"),
        fill(
            "wide",
            "18446744073709551615 - i * 5, CONCAT('code ', i), REPEAT('long ', IF(i % 500, 10, 5000)), \
             JSON_OBJECT('a', REPEAT('x', IF(i % 400, 10, 30000)), 'n', i)",
        ),
        fill("pairs", "i DIV 20 - 150, CONCAT('b', i), i"),
        fill("`it's-a $child`", "i * 2 - 5000, 3 * (1 + i % 3000), CONCAT('child ', i)"),
        fill_half("uuids", "UNHEX(LEFT(SHA2(i, 256), 32)), i, IF(i % 3, NULL, CONCAT('name ', i))"),
        fill_half(
            "words (word, n, a, h)",
            "CONCAT(REPEAT(ELT(1 + i % 5, 'a', 'ß', 'É', '表', '😀'), i % 97), SHA2(i, 256)), i, IF(i % 2, NULL, i), i",
        ),
        fill_half("texts", "CONCAT(IF(i % 10, '', 'ä '), LEFT(SHA2(i * 7, 256), 32)), i"),
        fill_half("codes", "LEFT(SHA2(i DIV 5, 256), 4 + i % 9), LEFT(SHA2(i, 256), 50), i"),
        fill_half("tokens", "CONCAT(UNHEX(LEFT(SHA2(i, 256), 40)), REPEAT(CHAR(0), i % 30)), i, NULL"),
        fill_half("parts", "UNHEX(LEFT(SHA2(i * 3, 256), 32)), i"),
    ]);
    schema
}

async fn seeds(kind: Kind) -> Fixture {
    // MariaDB has that type from 10.7 on, and MySQL has not.
    let question = "SELECT 1 FROM information_schema.plugins WHERE plugin_name = 'uuid' AND plugin_type = 'DATA TYPE'";
    let has_uuids = !rows(&mut admin(kind).await, question).await.expect("an answer").is_empty();
    if !has_uuids {
        test_support::say(&format!("this {kind} has no type UUID"));
    }
    let schema = schema(kind, has_uuids);
    let schema: Vec<&str> = schema.iter().map(String::as_str).collect();
    Fixture::new(kind, "seeds", &schema).await
}

impl Fixture {
    /// The tables whose files are read.
    fn large(&self) -> Vec<usize> {
        let large = self.slot.files.tables();
        let expected = 13 + self.template.tables.iter().filter(|table| table.name == "things").count();
        assert_eq!(
            large.len(),
            expected,
            "the server's files cannot be read: it is not on this machine, or another user's"
        );
        large
    }
}

impl Fixture {
    /// The rows of these tables alone, and in so far as their files tell; of how many they did.
    async fn restores(&mut self, some: &[usize]) -> usize {
        let Slot { name, connection, files, .. } = &mut self.slot;
        end_sessions(connection, &on_database(name), None).await.expect("nobody is on it");
        let parts = files.parts(connection, &self.template, name, some, true).await.expect("the server answers");
        for (table, part) in some.iter().zip(&parts) {
            let table = &self.template.tables[*table];
            restore(connection, &self.template, name, table, part, false).await.expect("it can be put back");
        }
        parts.iter().filter(|part| matches!(part, Part::Within { .. })).count()
    }

    /// Of the rows in the slot, or in the template.
    async fn sums(&mut self, database: &str, some: &[usize]) -> Vec<Option<String>> {
        // CHECKSUM TABLE of MariaDB differs from table to table where a column is computed.
        let sum = |table: &usize| {
            let table = &self.template.tables[*table];
            let column = |column: &Column| format!("COALESCE(HEX({}), '-')", identifier(&column.name));
            let columns: Vec<String> = table.columns.iter().chain(&table.computed).map(column).collect();
            let named = qualified(database, &table.name);
            format!("(SELECT CONCAT(COUNT(*), '/', SUM(CRC32(CONCAT_WS(',', {})))) FROM {named})", columns.join(","))
        };
        let each: Vec<String> = some.iter().map(sum).collect();
        self.rows(&format!("SELECT {}", each.join(","))).await.into_iter().flatten().collect()
    }

    async fn assert_as_in_the_template(&mut self, some: &[usize], theirs: &[Option<String>], after: &str) {
        let slot = self.slot.name.clone();
        assert_eq!(self.sums(&slot, some).await, theirs, "{}: {after}", self.kind);
    }

    async fn sums_of_the_template(&mut self, some: &[usize]) -> Vec<Option<String>> {
        let template = self.template.name.clone();
        self.sums(&template, some).await
    }

    /// Waits until the server has taken what was deleted out of its pages, unless somebody keeps it from that.
    async fn has_been_purged(&mut self) {
        let sql = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'";
        for _ in 0..20 {
            let rest = self.rows(sql).await.into_iter().flatten().flatten().find_map(|count| count.parse::<u64>().ok());
            if rest.is_none_or(|rest| rest == 0) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// One thing that a test can do to them.
fn dirt() -> String {
    let row = |rows: i64| fastrand::i64(-5..rows + 5);
    let (some, few, many) = (row(ROWS), fastrand::i64(1..30), fastrand::i64(500..3000));
    let others = ["uuids", "words", "texts", "codes", "tokens", "parts", "moments", "accounts", "amounts", "things"];
    let keyed = others[fastrand::usize(..others.len())];
    match fastrand::usize(..38) {
        0 => format!("UPDATE plain SET n = n + 1 WHERE id = {}", some * 3),
        1 => format!("UPDATE plain SET name = 'another' WHERE id BETWEEN {some} AND {some} + {many}"),
        2 => format!("DELETE FROM plain WHERE id BETWEEN {} AND {}", some * 3, some * 3 + few),
        3 => format!("DELETE FROM plain WHERE id BETWEEN {} AND {}", some * 3, (some + many) * 3),
        4 => format!("INSERT IGNORE INTO plain VALUES ({}, 'between', 1), ({}, 'too', 1)", some * 3 + 1, some * 3 + 2),
        5 => "INSERT INTO plain (name) VALUES ('at the end'), ('and another')".to_owned(),
        6 => "INSERT INTO plain VALUES (-7, 'at the beginning', 1)".to_owned(),
        7 => format!("UPDATE IGNORE plain SET id = {} WHERE id = {}", row(ROWS) * 3 + 1, some * 3),
        8 => format!("DELETE FROM plain WHERE n = {}", fastrand::i64(0..100)),
        9 => format!("BEGIN; DELETE FROM plain WHERE id > {some}; UPDATE wide SET more = ''; ROLLBACK"),
        10 => format!("UPDATE wide SET more = REPEAT('x', 20000) WHERE id = 18446744073709551615 - {}", some * 5),
        11 => format!("UPDATE wide SET more = CONCAT(more, 'x') WHERE id % 500 = {}", fastrand::i64(0..500)),
        12 => format!("DELETE FROM wide WHERE code LIKE 'code {}%'", fastrand::i64(10..100)),
        13 => format!(
            "INSERT IGNORE INTO wide VALUES (18446744073709551615, 'last', '', '{{}}'), ({few}, 'first', NULL, NULL)"
        ),
        14 => format!("REPLACE INTO wide VALUES (18446744073709551615 - {}, 'replaced {some}', 'x', NULL)", some * 5),
        15 => format!("UPDATE pairs SET n = -n WHERE a = {}", row(300) - 150),
        16 => format!("DELETE FROM pairs WHERE a BETWEEN {0} - 150 AND {0} - {few}", row(300)),
        17 => format!("INSERT IGNORE INTO pairs VALUES ({}, 'a', 0), ({}, 'z', 0)", row(300) - 150, row(300) - 150),
        18 => format!("UPDATE IGNORE pairs SET b = CONCAT('x', b) WHERE n = {some}"),
        19 => format!("UPDATE `it's-a $child` SET name = NULL WHERE id = {}", some * 2 - 5000),
        20 => format!("DELETE FROM `it's-a $child` WHERE parent < {}", row(9000)),
        // What is written again is not where it was.
        21 => format!(
            "CREATE TEMPORARY TABLE kept SELECT * FROM pairs WHERE a > {0} - 150; DELETE FROM pairs WHERE a > {0} - 150; INSERT INTO pairs SELECT * FROM kept",
            row(300)
        ),
        22 => "DELETE FROM pairs".to_owned(),
        // MySQL writes just the part of a large document that is another one.
        23 => "UPDATE wide SET document = JSON_SET(document, '$.a', 'y') WHERE CAST(code AS CHAR) LIKE 'code %00'"
            .to_owned(),
        24 | 25 => format!("UPDATE {keyed} SET n = -n WHERE n = {some}"),
        26 => format!("UPDATE {keyed} SET n = -n WHERE n BETWEEN {some} AND {some} + {many}"),
        27 => format!("DELETE FROM {keyed} WHERE n BETWEEN {some} AND {some} + {few}"),
        28 => format!("DELETE FROM {keyed} WHERE n BETWEEN {some} AND {some} + {many}"),
        29 => {
            format!(
                "UPDATE IGNORE uuids SET id = UNHEX(LEFT(SHA2(-n, 256), 32)) WHERE n BETWEEN {some} AND {some} + {few}"
            )
        }
        30 => format!(
            "INSERT IGNORE INTO words (word, n) VALUES (REPEAT('ß', {few}), 1), (REPEAT('A', {few}), 1), ('', 0), ('zz ', 0)"
        ),
        31 => format!("UPDATE IGNORE words SET word = UPPER(word), b = 1 WHERE n BETWEEN {some} AND {some} + {few}"),
        32 => format!(
            "INSERT IGNORE INTO tokens VALUES (REPEAT(CHAR(0), {few}), 0, 'x'), (REPEAT(CHAR(255), {few}), 0, 'x')"
        ),
        33 => format!(
            "UPDATE IGNORE texts SET id = CONCAT(' ', n, 'b ') WHERE n = {some}; INSERT IGNORE INTO codes VALUES ('', 'a', 0), (' a', '', 0)"
        ),
        34 => format!("DELETE FROM days WHERE n BETWEEN {some} AND {some} + {few}"),
        35 => format!("UPDATE days SET n = -n WHERE n BETWEEN {some} AND {some} + {few}"),
        36 => format!(
            "INSERT IGNORE INTO days VALUES ('0000-00-00', {few}), ('9999-12-31', {few}); INSERT IGNORE INTO accounts VALUES (-{many}, 0), (0, 0); \
             INSERT IGNORE INTO amounts VALUES (-99999.5, 0), (0.0625, 0)"
        ),
        _ => "SET foreign_key_checks = 0; TRUNCATE plain; INSERT INTO plain VALUES (3, 'name 1', 1)".to_owned(),
    }
}

/// By parts alone, however often others on this server alter something, after which a reset compares all rows.
async fn what_was_written_is_found(kind: Kind) {
    let mut fixture = seeds(kind).await;
    let large = fixture.large();
    let theirs = fixture.sums_of_the_template(&large).await;
    let mut told = 0;
    for _ in 0..24 {
        let dirt: Vec<String> = (0..fastrand::usize(1..4)).map(|_| dirt()).collect();
        for sql in &dirt {
            let mut user = fixture.user().await;
            let all = format!("SET foreign_key_checks = {}; {sql}", fastrand::u8(..2));
            // A foreign key forbids it, or MySQL has no such table.
            let _: Result<(), _> = execute(&mut user, &all).await;
            user.close().await.expect("it closes");
        }
        if fastrand::bool() {
            fixture.has_been_purged().await;
        }
        told += fixture.restores(&large).await;
        fixture.assert_as_in_the_template(&large, &theirs, &format!("{dirt:#?}")).await;
    }
    // One whose tree was thrown away may say nothing from then on.
    assert!(told > 12, "{kind}: files told what was written only {told} times");
    fixture.reset().await;
    fixture.assert_pristine("all of it");
    fixture.drop().await;
}

async fn one_row_is_one_range(kind: Kind) {
    let mut fixture = seeds(kind).await;
    // Wherever it is among them.
    for (table, row) in [
        ("plain", 3),
        ("plain", 6000),
        ("plain", ROWS * 3 - 3),
        ("uuids", 1000),
        ("words", 1000),
        ("texts", 1000),
        ("codes", 1000),
        ("tokens", 1000),
        ("days", 1000),
        ("moments", 1000),
        ("accounts", 1000),
        ("amounts", 1000),
        ("things", 1000),
    ] {
        let Some(index) = fixture.template.tables.iter().position(|known| known.name == table) else {
            assert_eq!(table, "things");
            continue;
        };
        let column = if table == "plain" { "id" } else { "n" };
        fixture
            .run(&format!("UPDATE {table} SET n = -1 - n WHERE {column} = {row}"))
            .await
            .close()
            .await
            .expect("it closes");
        let Slot { name, connection, files, .. } = &mut fixture.slot;
        let parts = files.parts(connection, &fixture.template, name, &[index], false).await;
        let parts = parts.expect("the server exports it");
        let [part @ Part::Within { ranges, .. }] = &parts[..] else { panic!("{kind}: nothing is told of {table}") };
        let sql = format!("SELECT COUNT(*), SUM(n < 0) FROM {} t WHERE {}", qualified(name, table), part.of_rows("t"));
        let counts: Vec<String> = fixture.rows(&sql).await.into_iter().flatten().flatten().collect();
        assert_eq!(counts[1], "1", "{kind}: {row} of {table} is not within {ranges:?}");
        // The page that was written last before this may be one of them.
        let all: i64 = counts[0].parse().expect("a number");
        assert!(all < ROWS / 3, "{kind}: {all} rows are more than some pages of {table}");
        fixture.run(&format!("UPDATE {table} SET n = -1 - n WHERE n < 0")).await.close().await.expect("it closes");
    }
    let large = fixture.large();
    // The server itself may yet write to them, where it clears away what was replaced.
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let Slot { name, connection, files, .. } = &mut fixture.slot;
        let parts = files.parts(connection, &fixture.template, name, &large, false).await;
        let parts = parts.expect("the server exports them");
        if parts.iter().all(|part| matches!(part, Part::Within { ranges, .. } if ranges.is_empty())) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{kind}: what nobody writes to is told");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    fixture.drop().await;
}

/// Whatever is in its place, and however rows came to be in it. A reset would compare all rows after most of this.
async fn a_file_that_is_another_one_says_nothing(kind: Kind) {
    let mut fixture = seeds(kind).await;
    let large = fixture.large();
    let theirs = fixture.sums_of_the_template(&large).await;
    let again = "CREATE TEMPORARY TABLE kept SELECT * FROM plain; SET foreign_key_checks = 0; TRUNCATE plain; \
                 INSERT INTO plain SELECT * FROM kept";
    let update = "UPDATE plain SET n = n + 1 WHERE id IN (3, 9000)";
    let instant =
        "ALTER TABLE plain ADD COLUMN x INT, ALGORITHM = INSTANT; ALTER TABLE plain DROP COLUMN x, ALGORITHM = INSTANT";
    for sql in [
        format!("{again}; {update}"),
        format!("ALTER TABLE plain FORCE; {update}"),
        format!("{update}; OPTIMIZE TABLE plain"),
        format!(
            "RENAME TABLE plain TO away; CREATE TABLE plain LIKE away; INSERT INTO plain SELECT * FROM away; {update}; SET foreign_key_checks = 0; DROP TABLE away"
        ),
        format!("ALTER TABLE plain ROW_FORMAT = DYNAMIC; {update}"),
        format!("FLUSH TABLES; {update}; FLUSH TABLES plain"),
        format!("{instant}; {update}"),
        // Rows that are written from then on have more before their key.
        format!("{}; UPDATE words SET n = n + 1 WHERE n % 100 = 7", instant.replace("plain", "words")),
        // A tree that has become one page, before which there is a whole one in the file.
        "SET foreign_key_checks = 0; DELETE FROM plain WHERE id > 30".to_owned(),
        // Whose file is not read again.
        format!("ALTER TABLE plain ROW_FORMAT = COMPRESSED; {update}"),
        format!("ALTER TABLE plain ROW_FORMAT = REDUNDANT; {update}"),
    ] {
        for sql in [&*sql, update, "DELETE FROM plain WHERE id BETWEEN 3000 AND 9000", update] {
            fixture.run(sql).await.close().await.expect("it closes");
            fixture.has_been_purged().await;
            fixture.restores(&large).await;
            fixture.assert_as_in_the_template(&large, &theirs, sql).await;
        }
    }

    // A file that only a server's export makes, and that was there before: so it is another server's.
    let days = fixture.template.tables.iter().position(|table| table.name == "days").expect("it is a table");
    assert_eq!(fixture.restores(&[days]).await, 1, "{kind}");
    let directory = fixture.rows("SELECT @@GLOBAL.datadir").await.into_iter().flatten().flatten().next();
    let sign = Path::new(&directory.expect("a directory")).join(&fixture.slot.name).join("days.cfg");
    std::fs::write(&sign, "").expect("the server's files are in reach");
    assert_eq!(fixture.restores(&[days]).await, 0, "{kind}");
    std::fs::remove_file(&sign).expect("it is there still");
    fixture.drop().await;
}

/// There is more than one way to store a date, and bytes of one can be such of another.
async fn values_that_no_row_of_the_template_has_were_read_wrongly(kind: Kind) {
    let schema = ["CREATE TABLE days (day DATE PRIMARY KEY)", "INSERT INTO days VALUES ('2020-02-28'), ('2020-02-29')"];
    let mut fixture = Fixture::new(kind, "days", &schema).await;
    let key = fixture.template.tables[0].order.clone().expect("it is in its order");
    let file = TableFile { path: PathBuf::new(), space: 0, index: 0, root: 0, page_size: 4096, key };
    for (from, to, expected) in [
        (Some("DATE'2020-02-28'"), Some("DATE'2020-02-29'"), true),
        (None, None, true),
        (Some("DATE'2020-02-28'"), Some("DATE'2020-03-01'"), false),
        (Some("DATE'2020-02-27'"), None, false),
        (None, Some("DATE'2020-02-31'"), false),
    ] {
        let [from, to] = [from, to].map(|end| end.map(str::to_owned));
        let ranges = [Range { from, to }];
        let are = are_rows(&mut fixture.admin, &fixture.template, 0, &file, &ranges).await;
        assert_eq!(are.expect("the server answers"), expected, "{kind}: {ranges:?}");
    }
    fixture.drop().await;
}

/// Whoever can alter a table can put another file in the place of its own, or have the server write no log.
async fn a_file_is_not_believed_when_something_was_altered(kind: Kind) {
    let mut fixture = seeds(kind).await;
    fixture.large();
    fixture.slot.files.silence();
    let sql = "UPDATE plain SET name = 'x' WHERE id = 3; ALTER TABLE noted COMMENT 'x'; ALTER TABLE noted COMMENT ''";
    fixture.run(sql).await.close().await.expect("it closes");
    outcome(&fixture.reset().await);
    fixture.assert_pristine(sql);
    fixture.drop().await;
}
