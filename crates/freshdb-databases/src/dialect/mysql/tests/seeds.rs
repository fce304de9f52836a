//! Tables with so many rows that their files tell which of them are compared.

use super::super::pages::Range;
use super::super::seeded::{Part, restore};
use super::super::sessions::{end_sessions, on_database};
use super::super::template::qualified;
use super::*;

on_both!(what_was_written_is_found, one_row_is_one_range, a_file_that_is_another_one_says_nothing);

const ROWS: i64 = 6000;

/// Keys of several widths, of two columns, below 0, and with gaps; what one table is written to reaches another.
fn schema(kind: Kind) -> Vec<String> {
    let limit = if kind == Kind::Mysql { "cte_max_recursion_depth" } else { "max_recursive_iterations" };
    let fill = |table: &str, columns: &str| {
        format!(
            "INSERT INTO {table} WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
             SELECT {columns} FROM n"
        )
    };
    let mut schema = vec![format!("SET SESSION {limit} = 1000000")];
    schema.extend(
        [
            "CREATE TABLE plain (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100) NOT NULL, n INT, KEY (n))",
            "CREATE TABLE wide (id BIGINT UNSIGNED PRIMARY KEY, code VARCHAR(100) NOT NULL UNIQUE, more TEXT, document JSON)",
            "CREATE TABLE pairs (a SMALLINT NOT NULL, b VARCHAR(20) NOT NULL, n INT NOT NULL, PRIMARY KEY (a, b))",
            "CREATE TABLE `it's-a $child` (id MEDIUMINT PRIMARY KEY, parent INT, name VARCHAR(100),
              FOREIGN KEY (parent) REFERENCES plain (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "CREATE TABLE noted (id INT PRIMARY KEY AUTO_INCREMENT, what INT)",
            "CREATE TRIGGER note AFTER UPDATE ON pairs FOR EACH ROW INSERT INTO noted (what) VALUES (NEW.n)",
        ]
        .map(str::to_owned),
    );
    schema.extend([
        fill("plain", "i * 3, CONCAT('name ', i), i % 100"),
        fill(
            "wide",
            "18446744073709551615 - i * 5, CONCAT('code ', i), REPEAT('long ', IF(i % 500, 10, 5000)), \
             JSON_OBJECT('a', REPEAT('x', IF(i % 400, 10, 30000)), 'n', i)",
        ),
        fill("pairs", "i DIV 20 - 150, CONCAT('b', i), i"),
        fill("`it's-a $child`", "i * 2 - 5000, 3 * (1 + i % 3000), CONCAT('child ', i)"),
    ]);
    schema
}

async fn seeds(kind: Kind) -> Fixture {
    let schema = schema(kind);
    let schema: Vec<&str> = schema.iter().map(String::as_str).collect();
    Fixture::new(kind, "seeds", &schema).await
}

impl Fixture {
    /// The tables whose files are read.
    fn large(&self) -> Vec<usize> {
        let large = self.slot.files.tables();
        assert_eq!(large.len(), 4, "the server's files cannot be read: it is not on this machine, or another user's");
        large
    }
}

impl Fixture {
    /// The rows of these tables alone, and in so far as their files tell; of how many they did.
    async fn restores(&mut self, some: &[usize]) -> usize {
        let Slot { name, connection, files, .. } = &mut self.slot;
        end_sessions(connection, &on_database(name), &[]).await.expect("nobody is on it");
        let parts = files.parts(connection, &self.template, name, some, true).await.expect("the server answers");
        for (table, part) in some.iter().zip(&parts) {
            let table = &self.template.tables[*table];
            restore(connection, &self.template, name, table, part).await.expect("it can be put back");
        }
        parts.iter().filter(|part| matches!(part, Part::Within { .. })).count()
    }

    /// Of the rows in the slot and in the template.
    async fn sums(&mut self, some: &[usize]) -> [Vec<Option<String>>; 2] {
        let mut sums = [Vec::new(), Vec::new()];
        for (sums, database) in sums.iter_mut().zip([self.slot.name.clone(), self.template.name.clone()]) {
            let names: Vec<String> =
                some.iter().map(|table| qualified(&database, &self.template.tables[*table].name)).collect();
            let rows = self.rows(&format!("CHECKSUM TABLE {}", names.join(","))).await;
            sums.extend(rows.into_iter().map(|row| row.into_iter().nth(1).flatten()));
        }
        sums
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
    match fastrand::usize(..25) {
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
        _ => "SET foreign_key_checks = 0; TRUNCATE plain; INSERT INTO plain VALUES (3, 'name 1', 1)".to_owned(),
    }
}

/// By parts alone, however often others on this server alter something, after which a reset compares all rows.
async fn what_was_written_is_found(kind: Kind) {
    let mut fixture = seeds(kind).await;
    let large = fixture.large();
    let mut told = 0;
    for _ in 0..40 {
        let dirt: Vec<String> = (0..fastrand::usize(1..4)).map(|_| dirt()).collect();
        for sql in &dirt {
            let mut user = fixture.user().await;
            let all = format!("SET foreign_key_checks = {}; {sql}", fastrand::u8(..2));
            // A foreign key forbids it.
            let _: Result<(), _> = execute(&mut user, &all).await;
            user.close().await.expect("it closes");
        }
        if fastrand::bool() {
            fixture.has_been_purged().await;
        }
        told += fixture.restores(&large).await;
        let [ours, theirs] = fixture.sums(&large).await;
        assert_eq!(ours, theirs, "{kind}: {dirt:#?}");
    }
    // One whose tree was thrown away may say nothing from then on.
    assert!(told > 20, "{kind}: files told what was written only {told} times");
    fixture.reset().await;
    fixture.assert_pristine("all of it");
    fixture.drop().await;
}

async fn one_row_is_one_range(kind: Kind) {
    let mut fixture = seeds(kind).await;
    // Wherever it is among them.
    for row in [1, 2000, ROWS - 1] {
        let key = row * 3;
        fixture.run(&format!("UPDATE plain SET n = -1 WHERE id = {key}")).await.close().await.expect("it closes");
        let Slot { name, connection, files, .. } = &mut fixture.slot;
        let tables = &fixture.template.tables;
        let plain = tables.iter().position(|table| table.name == "plain").expect("it is a table");
        let parts = files.parts(connection, &fixture.template, name, &[plain], false).await;
        let parts = parts.expect("the server exports it");
        let [Part::Within { ranges, .. }] = &parts[..] else { panic!("{kind}: nothing is told of {key}") };
        let ends = |range: &Range| (range.from.unwrap_or(0), range.to.unwrap_or(i128::from(ROWS * 3)));
        let holds = |(from, to): (i128, i128)| from <= key.into() && to >= key.into();
        assert!(ranges.iter().map(ends).any(holds), "{kind}: {key} is not within {ranges:?}");
        // The page that was written last before this may be one of them.
        let all: i128 = ranges.iter().map(ends).map(|(from, to)| to - from).sum();
        assert!(all < i128::from(ROWS), "{kind}: {ranges:?} is more than some pages");
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
            let [ours, theirs] = fixture.sums(&large).await;
            assert_eq!(ours, theirs, "{kind}: {sql}");
        }
    }
    fixture.drop().await;
}
