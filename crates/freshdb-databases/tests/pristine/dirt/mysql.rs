//! What can be done to MySQL and MariaDB.

use super::{Kind, rows, schema};

pub(super) const COMMON: &[Kind] = &[
    rows(
        "insert",
        &[
            "INSERT INTO plain (name) VALUES ('n{n}')",
            "INSERT INTO seeded (name, amount, data) VALUES ('n{n}', {n}.125, '{}')",
            "INSERT INTO parent (name) VALUES ('p{n}')",
            "INSERT INTO names (name) VALUES ('through the view {n}')",
            "INSERT INTO heap VALUES ({n}, 'x'), ({n}, 'x')",
            "INSERT INTO partitioned (year, v) VALUES (1900 + {n}, 'p')",
            "INSERT INTO untransactional (v) VALUES ('{n}')",
        ],
    ),
    rows(
        "insert odd values",
        &[
            "INSERT INTO plain (name, note) VALUES ('', NULL)",
            "INSERT INTO seeded () VALUES ()",
            "INSERT INTO born () VALUES ()",
            "INSERT INTO seeded (content, data, ratio, bits) VALUES (REPEAT(x'00ff27', {n}), '[[], {\"\": null}]', 5e-324, b'111111111')",
            "INSERT INTO heap VALUES (NULL, NULL), (NULL, '')",
            "INSERT INTO plain (name, note) VALUES ('long {n}', REPEAT('🦀', 16000))",
        ],
    ),
    rows(
        "move a counter",
        &[
            "INSERT INTO plain (id, name) VALUES (1000 + {n}, 'far')",
            "INSERT INTO seeded (id) VALUES (1000000 + {n}); DELETE FROM seeded WHERE id >= 1000000",
            "INSERT INTO `select` (`where`) VALUES ('x'); DELETE FROM `select` WHERE `where` = 'x'",
            "INSERT INTO untransactional (id, v) VALUES (500, 'x'); DELETE FROM untransactional WHERE id = 500",
            "INSERT IGNORE INTO parent (name) VALUES ('one')",
        ],
    ),
    rows(
        "roll back",
        &[
            "BEGIN; INSERT INTO plain (name) VALUES ('r{n}'); ROLLBACK",
            "BEGIN; INSERT INTO seeded (name) VALUES ('r'); INSERT INTO partitioned (year) VALUES (2000); ROLLBACK",
            "BEGIN; INSERT INTO parent (name) VALUES ('r{n}'); SAVEPOINT s; DELETE FROM parent; ROLLBACK TO SAVEPOINT s; COMMIT",
        ],
    ),
    rows(
        "update",
        &[
            "UPDATE seeded SET name = CONCAT(COALESCE(name, ''), '{n}') WHERE id = 1",
            "UPDATE seeded SET name = UPPER(name), content = '', data = NULL, stamp = '2002-02-02'",
            "UPDATE heap SET b = '' WHERE a IS NULL LIMIT 1",
            "UPDATE computed SET a = a + 1 ORDER BY a DESC",
            "UPDATE composite SET b = 'y' WHERE b = ''",
            "UPDATE born SET lot = {n} WHERE lot = 1",
            "UPDATE born SET at = '1999-12-31 23:59:59', changed = changed",
            "UPDATE partitioned SET year = year + 500",
            "UPDATE untransactional SET v = NULL",
            "UPDATE seeded SET id = id + 100000 + {n} ORDER BY id DESC",
        ],
    ),
    rows("update and back", &["UPDATE seeded SET amount = 7 WHERE id = 7; UPDATE seeded SET amount = 0 WHERE id = 7"]),
    rows(
        "cascade",
        &[
            "DELETE FROM parent WHERE id = 1",
            "UPDATE parent SET id = 1000 + {n} WHERE id = 2",
            "DELETE FROM tree WHERE id = 1",
            "DELETE FROM parent WHERE id = 40",
            "DELETE FROM child",
        ],
    ),
    rows(
        "delete",
        &[
            "DELETE FROM seeded",
            "DELETE FROM heap LIMIT 1",
            "DELETE FROM partitioned WHERE year < 2000",
            "DELETE FROM untransactional",
            "DELETE FROM composite WHERE b = 'x'",
            "DELETE c, g FROM child c LEFT JOIN grandchild g ON g.child = c.id",
        ],
    ),
    rows(
        "delete and insert again",
        &[
            "DELETE FROM heap WHERE a = 1; INSERT INTO heap VALUES (1, 'twice'), (1, 'twice')",
            "DELETE FROM composite WHERE b = ''; INSERT INTO composite VALUES (1, '', NULL)",
            "DELETE FROM untransactional; INSERT INTO untransactional VALUES (4, 'stays')",
        ],
    ),
    rows(
        "replace and upsert",
        &[
            "REPLACE INTO parent VALUES (2, 'two, again')",
            "INSERT INTO parent (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE name = '  one {n}  '",
            "REPLACE INTO heap SELECT * FROM heap",
        ],
    ),
    rows(
        "truncate",
        &[
            "TRUNCATE seeded",
            "TRUNCATE plain",
            "TRUNCATE heap",
            "TRUNCATE partitioned",
            "TRUNCATE untransactional",
            "INSERT INTO audit (what) VALUES ('{n}'); TRUNCATE audit",
            "SET foreign_key_checks = 0; TRUNCATE parent; SET foreign_key_checks = 1",
        ],
    ),
    rows(
        "without checks",
        &[
            "SET foreign_key_checks = 0; INSERT INTO child (parent) VALUES (99999); SET foreign_key_checks = 1",
            "SET foreign_key_checks = 0; DELETE FROM hen; INSERT INTO egg VALUES (50 + {n}, 50); SET foreign_key_checks = 1",
            "SET unique_checks = 0; INSERT INTO plain (name) VALUES ('u{n}'); SET unique_checks = 1",
            "SET sql_mode = ''; INSERT INTO seeded (day, choice) VALUES ('0000-00-00', 'nonsense')",
            "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; INSERT INTO plain (id, name) VALUES (0, 'zero')",
        ],
    ),
    rows(
        "cycles",
        &[
            "INSERT INTO hen VALUES (10 + {n}, 1); INSERT INTO egg VALUES (10 + {n}, 10 + {n}); UPDATE hen SET egg = 10 + {n}",
            "UPDATE hen SET egg = NULL; DELETE FROM egg; DELETE FROM hen",
            "INSERT INTO tree (up) SELECT MAX(id) FROM tree",
            "UPDATE tree SET up = 4 WHERE id = 1",
        ],
    ),
    rows(
        "hostile names",
        &[
            "INSERT INTO `select` (`where`) VALUES ('{n}'); UPDATE `select` SET `where` = ''",
            "INSERT INTO `it's \"quoted\"` VALUES (2 + {n}, ''';--')",
            "INSERT INTO `back``tick` (v) VALUES ({n})",
            "DELETE FROM `two  words` WHERE v IS NULL",
            "UPDATE `smile ☺ ünï` SET v = DEFAULT; INSERT INTO `smile ☺ ünï` (v) VALUES (NULL)",
            "INSERT INTO `%s {} \\ ?` VALUES (1 + {n}, NULL)",
        ],
    ),
    rows(
        "many rows",
        &[
            "INSERT INTO audit (what) WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 900) SELECT i FROM r",
            "INSERT INTO heap SELECT a.a, b.b FROM heap a, heap b, heap c",
        ],
    ),
    rows("call a routine", &["CALL fill(1 + {n} % 7)", "SELECT twice({n}); CALL fill(0)"]),
    rows(
        "leave a transaction open",
        &[
            "BEGIN; INSERT INTO plain (name) VALUES ('open {n}')",
            "BEGIN; DELETE FROM seeded; UPDATE parent SET name = 'open' WHERE id = 1",
            "SET autocommit = 0; INSERT INTO parent (name) VALUES ('open {n}')",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT; SELECT * FROM seeded FOR UPDATE",
            "BEGIN; INSERT INTO untransactional (v) VALUES ('open')",
        ],
    ),
    rows(
        "prepare a transaction",
        &[
            "XA START '{tag}'; INSERT INTO plain (name) VALUES ('{tag}'); XA END '{tag}'; XA PREPARE '{tag}'",
            "XA START '{tag}', 'it''s', 5; DELETE FROM seeded; XA END '{tag}', 'it''s', 5; XA PREPARE '{tag}', 'it''s', 5",
            "XA START '{tag}'; UPDATE parent SET name = 'x' WHERE id = 1",
        ],
    ),
    rows(
        "session variables",
        &[
            "SET SESSION sql_mode = 'ANSI,PIPES_AS_CONCAT'; SET @x = {n}",
            "SET NAMES latin1; SET time_zone = '+05:00'",
            "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET SESSION TRANSACTION READ ONLY",
            "SET auto_increment_increment = 7; INSERT INTO plain (name) VALUES ('seventh {n}')",
            "SET insert_id = 5000; INSERT INTO plain (name) VALUES ('i{n}')",
        ],
    ),
    rows(
        "temporary tables",
        &[
            "CREATE TEMPORARY TABLE seeded (x INT); INSERT INTO seeded VALUES ({n})",
            "CREATE TEMPORARY TABLE scratch AS SELECT * FROM heap; DROP TABLE scratch",
            "CREATE TEMPORARY TABLE parent LIKE child; TRUNCATE parent",
        ],
    ),
    rows(
        "locks",
        &[
            "SELECT GET_LOCK('{tag}', 0)",
            "LOCK TABLES seeded WRITE, plain READ",
            "FLUSH TABLES parent WITH READ LOCK",
            "LOCK TABLES heap WRITE; DELETE FROM heap; UNLOCK TABLES",
        ],
    ),
    rows(
        "handlers and statements",
        &[
            "HANDLER seeded OPEN; HANDLER seeded READ FIRST",
            "PREPARE s FROM 'INSERT INTO plain (name) VALUES (?)'; SET @v = 'prepared {n}'; EXECUTE s USING @v",
        ],
    ),
    schema(
        "alter a counter",
        &[
            "ALTER TABLE plain AUTO_INCREMENT = 5000",
            "DELETE FROM seeded WHERE id > 1; ALTER TABLE seeded AUTO_INCREMENT = 1",
        ],
    ),
    schema(
        "create tables",
        &[
            "CREATE TABLE new_{n} (id INT PRIMARY KEY); INSERT INTO new_{n} VALUES (1)",
            "CREATE TABLE `a ``new\" one's ☺` LIKE seeded",
            "CREATE TABLE copied AS SELECT * FROM seeded",
            "CREATE TABLE pointing (id INT, FOREIGN KEY (id) REFERENCES parent (id))",
        ],
    ),
    schema(
        "drop tables",
        &[
            "DROP TABLE heap",
            "DROP TABLE grandchild, child",
            "DROP TABLE `it's \"quoted\"`, `back``tick`",
            "SET foreign_key_checks = 0; DROP TABLE parent; SET foreign_key_checks = 1",
            "DROP TABLE partitioned",
        ],
    ),
    schema(
        "drop a table and make it again",
        &[
            "DROP TABLE heap; CREATE TABLE heap (a INT NULL, b VARCHAR(20) NULL)",
            "CREATE TABLE twin LIKE plain; DROP TABLE plain; RENAME TABLE twin TO plain",
            "DROP TABLE audit; CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100) NOT NULL, who VARCHAR(100))",
        ],
    ),
    schema(
        "rename tables",
        &[
            "RENAME TABLE seeded TO renamed",
            "RENAME TABLE hen TO other, egg TO hen, other TO egg",
            "ALTER TABLE parent RENAME TO ancestor",
            "RENAME TABLE plain TO x; RENAME TABLE x TO plain",
        ],
    ),
    schema(
        "alter columns",
        &[
            "ALTER TABLE seeded ADD COLUMN more INT",
            "ALTER TABLE plain DROP COLUMN note",
            "ALTER TABLE plain MODIFY note TEXT NULL FIRST",
            "ALTER TABLE plain ALTER COLUMN name SET DEFAULT 'nobody'",
            "ALTER TABLE plain ALTER COLUMN name DROP DEFAULT",
            "ALTER TABLE heap RENAME COLUMN a TO c",
            "ALTER TABLE seeded MODIFY choice ENUM('a', 'b', '', 'c')",
            "ALTER TABLE computed DROP COLUMN doubled, ADD COLUMN doubled INT AS (a * 3)",
            "ALTER TABLE plain ADD COLUMN more INT; ALTER TABLE plain DROP COLUMN more",
        ],
    ),
    schema(
        "alter collations and options",
        &[
            "ALTER TABLE heap CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "ALTER TABLE plain MODIFY name VARCHAR(100) COLLATE utf8mb4_bin NOT NULL DEFAULT 'somebody'",
            "ALTER TABLE plain COMMENT = 'other'",
            "ALTER TABLE heap ROW_FORMAT = COMPACT",
            "ALTER TABLE heap ENGINE = MyISAM",
            "ALTER TABLE untransactional ENGINE = InnoDB",
            "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin",
        ],
    ),
    schema(
        "indexes",
        &[
            "CREATE INDEX new_one ON parent (name, id)",
            "DROP INDEX by_name ON plain",
            "ALTER TABLE seeded RENAME INDEX by_day TO by_night",
            "ALTER TABLE composite DROP PRIMARY KEY",
            "ALTER TABLE heap ADD INDEX (b); ALTER TABLE heap DROP INDEX b",
            "ALTER TABLE seeded DROP INDEX words",
        ],
    ),
    schema(
        "constraints",
        &[
            "ALTER TABLE child DROP FOREIGN KEY `child's parent`",
            "ALTER TABLE audit ADD CONSTRAINT named CHECK (who <> '')",
            "ALTER TABLE computed DROP CONSTRAINT small",
            "DELETE FROM heap WHERE a = 0; ALTER TABLE heap ADD CONSTRAINT to_hen FOREIGN KEY (a) REFERENCES hen (id)",
            "SET foreign_key_checks = 0; ALTER TABLE heap ADD FOREIGN KEY (a) REFERENCES hen (id); SET foreign_key_checks = 1",
        ],
    ),
    schema(
        "partitions",
        &[
            "ALTER TABLE partitioned TRUNCATE PARTITION past",
            "ALTER TABLE partitioned DROP PARTITION future",
            "ALTER TABLE partitioned REORGANIZE PARTITION past, present INTO (PARTITION early VALUES LESS THAN (2030))",
            "ALTER TABLE partitioned REMOVE PARTITIONING",
            "ALTER TABLE audit PARTITION BY KEY (id) PARTITIONS 3",
        ],
    ),
    schema(
        "views",
        &[
            "DROP VIEW names",
            "CREATE OR REPLACE VIEW names AS SELECT name, id FROM parent",
            "CREATE VIEW another AS SELECT 1 AS one",
            "ALTER SQL SECURITY INVOKER VIEW names AS SELECT id, name FROM parent WHERE name <> ''",
            "RENAME TABLE names TO nouns",
        ],
    ),
    schema(
        "routines",
        &[
            "DROP PROCEDURE fill",
            "DROP FUNCTION twice; CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC NO SQL RETURN n + n",
            "ALTER PROCEDURE fill COMMENT 'changed'",
            "CREATE PROCEDURE `another one's` () BEGIN END",
        ],
    ),
    schema(
        "triggers",
        &[
            "DROP TRIGGER parent_added",
            "CREATE TRIGGER plain_added BEFORE INSERT ON plain FOR EACH ROW SET NEW.note = 'triggered'",
            "DROP TRIGGER child_gone; CREATE TRIGGER child_gone AFTER DELETE ON child FOR EACH ROW SET @gone = 1",
            "CREATE TRIGGER second AFTER INSERT ON parent FOR EACH ROW PRECEDES parent_added SET @x = 1",
        ],
    ),
    schema(
        "events",
        &[
            "DROP EVENT never",
            "ALTER EVENT never COMMENT 'changed'",
            "CREATE EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' DO DELETE FROM audit",
        ],
    ),
    schema(
        "maintenance",
        &[
            "OPTIMIZE TABLE seeded",
            "ALTER TABLE plain FORCE",
            "ANALYZE TABLE seeded",
            "ALTER TABLE untransactional FORCE",
        ],
    ),
];

pub(super) const MYSQL: &[Kind] = &[schema(
    "what only MySQL has",
    &[
        "ANALYZE TABLE seeded UPDATE HISTOGRAM ON amount",
        "ALTER TABLE seeded ALTER INDEX by_day INVISIBLE",
        "ALTER TABLE plain ALTER COLUMN note SET INVISIBLE",
        "ALTER TABLE computed ALTER CHECK small NOT ENFORCED",
        "ALTER TABLE plain ADD INDEX expression ((LOWER(name)))",
        "ALTER DATABASE READ ONLY = 1",
    ],
)];

pub(super) const MARIADB: &[Kind] = &[
    rows(
        "sequences",
        &[
            "SELECT NEXTVAL(numbers)",
            "INSERT INTO numbered (v) VALUES (UUID())",
            "SELECT SETVAL(numbers, 2000), NEXTVAL(`it's \"a\" sequence`)",
            "BEGIN; INSERT INTO numbered (address) VALUES ('::{n}'); ROLLBACK",
        ],
    ),
    // MySQL refuses it where it logs for replicas.
    rows("roll back a part", &["BEGIN; DELETE FROM parent; INSERT INTO untransactional (v) VALUES ('r'); ROLLBACK"]),
    rows(
        "crash-safe tables",
        &["INSERT INTO crash_safe (v) VALUES ('{n}')", "DELETE FROM crash_safe", "TRUNCATE crash_safe"],
    ),
    schema(
        "what only MariaDB has",
        &[
            "ALTER SEQUENCE numbers INCREMENT BY 3",
            "ALTER SEQUENCE numbers RESTART 5000",
            "DROP SEQUENCE `it's \"a\" sequence`",
            "CREATE OR REPLACE TABLE heap (x INT)",
            "CREATE SEQUENCE another",
            "ALTER TABLE seeded ADD SYSTEM VERSIONING",
            "ALTER TABLE seeded ALTER INDEX by_day IGNORED",
            "SET sql_mode = 'ORACLE'; CREATE PACKAGE p AS FUNCTION f RETURN INT; END",
        ],
    ),
];
