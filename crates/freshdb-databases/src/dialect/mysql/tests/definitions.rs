//! Whatever is altered in the catalog is found, by any way of altering it.

use super::copies::everything;
use super::*;

on_both!(definitions_are_compared);

async fn definitions_are_compared(kind: Kind) {
    let mut fixture = Fixture::new(kind, "definitions", &everything(kind)).await;
    let slot = fixture.slot.name.clone();
    for sql in [
        "CREATE TABLE new (id INT)",
        "DROP TABLE log",
        "RENAME TABLE log TO log2",
        "ALTER TABLE log RENAME TO log2",
        "ALTER TABLE log ADD COLUMN x INT",
        "ALTER TABLE log COMMENT 'x'",
        "ALTER TABLE log ALTER what SET DEFAULT 'x'",
        "ALTER TABLE log MODIFY what VARCHAR(100) COLLATE utf8mb4_bin",
        "ALTER TABLE hens DROP FOREIGN KEY he",
        "CREATE INDEX i ON log (what)",
        "DROP VIEW a_view",
        "CREATE OR REPLACE VIEW b_view AS SELECT 1 AS two, 2 AS name",
        "DROP TRIGGER t1",
        "CREATE TRIGGER t9 BEFORE INSERT ON log FOR EACH ROW SET NEW.what = 'x'",
        "DROP FUNCTION twice",
        "CREATE PROCEDURE p2() SELECT 1",
        "ALTER PROCEDURE `pro``c` COMMENT 'x'",
        "DROP EVENT tick",
        "ALTER EVENT tick COMMENT 'x'",
        "ALTER DATABASE COLLATE utf8mb4_bin",
        "ALTER TABLE parts ADD COLUMN x INT",
        "SET @sql = 'ALTER TABLE log ADD COLUMN z INT'; PREPARE s FROM @sql; EXECUTE s",
        "ALTER TABLE parts REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (99), PARTITION p2 VALUES LESS THAN MAXVALUE)",
        "USE freshdb_registry; DROP DATABASE {slot}",
    ] {
        drop(fixture.run(&sql.replace("{slot}", &slot)).await);
        let reset = fixture.reset().await;
        assert!(matches!(reset.outcome, Outcome::Changed(_)), "{kind}: {sql}: {:?}", reset.outcome);
        fixture.renew().await;
        fixture.assert_pristine("being copied anew");
    }
    // What was altered and altered back is as it was.
    for sql in [
        "ALTER TABLE log COMMENT 'x'; ALTER TABLE log COMMENT ''",
        "ALTER TABLE log AUTO_INCREMENT = 50",
        "ALTER TABLE `per.cent%` AUTO_INCREMENT = 5000",
        "TRUNCATE `per.cent%`",
        "ALTER TABLE parts TRUNCATE PARTITION p0",
        "CREATE TEMPORARY TABLE log (id INT); CREATE TEMPORARY TABLE temp (id INT)",
    ] {
        drop(fixture.run(sql).await);
        let reset = fixture.reset().await;
        assert!(matches!(reset.outcome, Outcome::Pristine { .. }), "{kind}: {sql}: {:?}", reset.outcome);
        fixture.assert_pristine(sql);
    }
    fixture.drop().await;
}
