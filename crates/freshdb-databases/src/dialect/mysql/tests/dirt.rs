//! Whatever a test does to a database is undone, or the database is not pristine.

use super::*;

on_both!(rows_are_put_back);

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
        let keyless = usize::from(!sql.contains("keyless"));
        assert_eq!(outcome(&reset), touched + keyless, "{kind}: {sql}");
        fixture.assert_pristine(sql);
    }
    fixture.drop().await;
}
