//! A schema of so many tables that most of them are not looked at.

use super::super::connection::TextRow;
use super::super::marks::Marks;
use super::super::opened::Opened;
use super::super::own::Own;
use super::*;

on_both!(what_was_opened_is_found, what_is_closed_by_others_is_found);
on_one!(mysql: what_a_foreign_key_leads_to_is_suspect_where_it_is_not_counted);
on_one!(mariadb: what_is_open_is_told_of_tables_that_are_known);

/// Beside a hundred tables that nobody touches.
const SCHEMA: &[&str] = &[
    "CREATE TABLE parents (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50) UNIQUE)",
    "CREATE TABLE children (id INT PRIMARY KEY AUTO_INCREMENT, parent INT, name VARCHAR(50),
      FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE counted (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50))",
    "INSERT INTO counted VALUES (41, 'x')",
    "DELETE FROM counted",
    "CREATE TABLE logged (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50))",
    "CREATE TABLE `it``s Großer 表` (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50))",
    "CREATE TABLE `Seeded` (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50))",
    "INSERT INTO parents VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO children VALUES (1, 1, 'one'), (2, 2, 'two')",
    "INSERT INTO `Seeded` VALUES (1, 'one'), (2, 'two')",
    "CREATE VIEW seen AS SELECT id, name FROM `Seeded`",
    "CREATE TRIGGER noted AFTER INSERT ON counted FOR EACH ROW INSERT INTO logged (name) VALUES (NEW.name)",
    "CREATE PROCEDURE fill() INSERT INTO logged (name) VALUES ('by a procedure')",
];

const DIRT: &[&str] = &[
    "INSERT INTO counted (name) VALUES ('x')",
    "DELETE FROM parents WHERE id = 1",
    "UPDATE parents SET id = 7 WHERE id = 1",
    "UPDATE seen SET name = 'other' WHERE id = 2",
    "CALL fill()",
    "BEGIN; INSERT INTO logged (name) VALUES ('x'); ROLLBACK",
    "TRUNCATE counted",
    "TRUNCATE logged",
    "TRUNCATE `Seeded`",
    "INSERT INTO `it``s Großer 表` (name) VALUES ('x')",
    "PREPARE it FROM 'INSERT INTO `it``s Großer 表` (name) VALUES (1)'; EXECUTE it",
    "SELECT * FROM seen JOIN parents",
    "LOCK TABLES children WRITE; DELETE FROM children; UNLOCK TABLES",
];

/// What the dirt reaches.
const TOUCHED: [&str; 7] = ["parents", "children", "counted", "logged", "it`s Großer 表", "Seeded", "seen"];

async fn large(kind: Kind) -> Fixture {
    let rest: Vec<String> =
        (0..100).map(|index| format!("CREATE TABLE t{index} (id INT PRIMARY KEY AUTO_INCREMENT)")).collect();
    let schema: Vec<&str> = SCHEMA.iter().copied().chain(rest.iter().map(String::as_str)).collect();
    Fixture::new(kind, "large", &schema).await
}

impl Fixture {
    /// One after the other. What was not seen is still there when all of it is looked at, which is all that dirt reaches: a dump of the others
    /// too takes ten times as long.
    async fn undoes(&mut self, scripts: &[String], pristine: &str) {
        // A dump has opened all tables. They are closed from the second reset on.
        for _ in 0..2 {
            self.reset().await;
        }
        for sql in scripts {
            self.run(sql).await.close().await.expect("it closes");
            let reset = self.reset().await;
            assert!(matches!(reset.outcome, Outcome::Pristine { .. }), "{}: {sql}: {reset:?}", self.kind);
        }
        assert_eq!(dump_of(self.kind, &self.slot.name, &TOUCHED), pristine, "{} after {scripts:#?}", self.kind);
    }
}

async fn what_was_opened_is_found(kind: Kind) {
    let mut fixture = large(kind).await;
    let pristine = dump_of(kind, &fixture.template.name, &TOUCHED);
    for sql in DIRT {
        fixture.undoes(&[(*sql).to_owned()], &pristine).await;
    }
    for _ in 0..20 {
        let some: Vec<String> = (0..4).map(|_| DIRT[fastrand::usize(..DIRT.len())].to_owned()).collect();
        fixture.undoes(&some, &pristine).await;
    }
    fixture.assert_pristine("all of it");
    if fixture.template.has_many_tables() {
        let open = format!("SHOW OPEN TABLES FROM {}", identifier(&fixture.slot.name));
        // A test beside this one that alters something has everything looked at, and then all are open.
        let mut least = usize::MAX;
        for _ in 0..100 {
            fixture.reset().await;
            least = least.min(fixture.rows(&open).await.len());
        }
        assert!(least < 5, "tables are closed, but for {least}");
    }
    fixture.drop().await;
}

async fn what_is_closed_by_others_is_found(kind: Kind) {
    let mut fixture = large(kind).await;
    let pristine = dump_of(kind, &fixture.template.name, &TOUCHED);
    for sql in DIRT {
        let names = "counted, parents, children, logged, `it``s Großer 表`, `Seeded`";
        // Each by itself: when all is closed, all is looked at, and with it what was not seen before.
        for flush in [format!("FLUSH TABLES {names}"), "FLUSH TABLES".to_owned()] {
            fixture.undoes(&[format!("{sql}; {flush}")], &pristine).await;
        }
    }
    fixture.assert_pristine("all of it");
    fixture.drop().await;
}

/// Nothing is told where one is open that nobody knows.
async fn what_is_open_is_told_of_tables_that_are_known() {
    let schema = [
        "CREATE TABLE one (id INT PRIMARY KEY)",
        "CREATE TABLE reached (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES one (id) ON DELETE CASCADE)",
        "INSERT INTO one VALUES (1)",
        "INSERT INTO reached VALUES (1)",
        "CREATE TABLE two (id INT PRIMARY KEY)",
        "CREATE VIEW seen AS SELECT id FROM two",
    ];
    let fixture = Fixture::new(Kind::Mariadb, "opened", &schema).await;
    let tables = |names: &[&str]| {
        let row = |name: &&str| ["slot", *name].map(|value| Some(value.to_owned())).to_vec();
        Opened::of(names.iter().map(row).collect()).tables(&fixture.template)
    };
    assert_eq!(tables(&["two", "seen"]), Some(vec![2]));
    // Not every server opens what a foreign key leads to.
    assert_eq!(tables(&["one"]), Some(vec![0, 1]));
    assert_eq!(tables(&[]), Some(vec![]));
    assert_eq!(tables(&["two", "three"]), None, "nobody knows it");
    fixture.drop().await;
}

/// MySQL before 9.6 counts no rows that a foreign key leads to.
async fn what_a_foreign_key_leads_to_is_suspect_where_it_is_not_counted() {
    let schema = [
        "CREATE TABLE one (id INT PRIMARY KEY)",
        "CREATE TABLE reached (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES one (id) ON DELETE CASCADE)",
        "CREATE TABLE two (id INT PRIMARY KEY)",
        "INSERT INTO one VALUES (1)",
        "INSERT INTO reached VALUES (1)",
        "INSERT INTO two VALUES (1)",
    ];
    let fixture = Fixture::new(Kind::Mysql, "reached", &schema).await;
    assert!(fixture.template.features.writes, "the server counts");
    let row = |values: [&str; 2]| -> TextRow { values.iter().map(|value| Some((*value).to_owned())).collect() };
    let own = Own::default();
    let counted = |of_one: &str| {
        let mut marks = Marks::of(&own, [0; 3], &[row(["Com_create_table", "7"])], Vec::new());
        marks.count_writes(vec![row(["one", of_one]), row(["reached", "1"]), row(["two", "1"])]);
        marks
    };
    let suspects = counted("2").since(Some(&counted("1")), &fixture.template);
    assert_eq!((suspects.definitions, suspects.rows), (false, vec![0, 1]));
    fixture.drop().await;
}
