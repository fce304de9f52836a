//! What can be done to SQLite.

use super::{Kind, rows, schema};

pub(super) const KINDS: &[Kind] = &[
    rows(
        "insert",
        &[
            "INSERT INTO plain (name) VALUES ('n{n}')",
            "INSERT INTO seeded (name, amount) VALUES ('n{n}', {n}.125)",
            "INSERT INTO names (name) VALUES ('through the view {n}')",
            "INSERT INTO heap VALUES ({n}, 'x'), ({n}, 'x')",
            "INSERT INTO seeded DEFAULT VALUES",
            "INSERT INTO seeded (content) VALUES (zeroblob(100 * {n}))",
            "INSERT INTO search VALUES ('another {n}')",
        ],
    ),
    rows(
        "move a counter",
        &[
            "UPDATE sqlite_sequence SET seq = {n}",
            "DELETE FROM sqlite_sequence",
            "INSERT INTO plain (id, name) VALUES (1000 + {n}, 'far'); DELETE FROM plain WHERE name = 'far'",
        ],
    ),
    rows(
        "roll back",
        &["BEGIN; INSERT INTO plain (name) VALUES ('r{n}'); ROLLBACK", "BEGIN; DROP TABLE heap; ROLLBACK"],
    ),
    rows(
        "update",
        &[
            "UPDATE seeded SET name = upper(name)",
            "UPDATE heap SET b = '' WHERE a IS NULL",
            "UPDATE computed SET a = a + 100 + {n}",
        ],
    ),
    rows(
        "cascade",
        &[
            "DELETE FROM parent WHERE id = 1",
            "UPDATE parent SET id = 1000 + {n} WHERE id = 2",
            "DELETE FROM tree WHERE id = 1",
        ],
    ),
    rows("delete", &["DELETE FROM seeded", "DELETE FROM heap", "DELETE FROM search", "DELETE FROM child"]),
    rows(
        "upsert",
        &[
            "REPLACE INTO parent VALUES (2, 'two, again')",
            "INSERT INTO parent VALUES (1, 'x') ON CONFLICT DO UPDATE SET name = 'one {n}'",
        ],
    ),
    rows("without checks", &["PRAGMA foreign_keys = OFF; INSERT INTO child (parent) VALUES (99999)"]),
    rows(
        "hostile names",
        &[
            "INSERT INTO \"select\" (\"where\") VALUES ('{n}')",
            "DELETE FROM \"it's \"\"quoted\"\"\"",
            "INSERT INTO \"back`tick\" (v) VALUES ({n})",
            "UPDATE \"crab 🦀 ünï\" SET v = NULL",
        ],
    ),
    rows(
        "many rows",
        &[
            "INSERT INTO audit (what) WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 9000) SELECT i FROM r",
        ],
    ),
    rows(
        "leave a transaction open",
        &[
            "BEGIN IMMEDIATE; INSERT INTO plain (name) VALUES ('open {n}')",
            "BEGIN; SELECT * FROM seeded",
            "BEGIN EXCLUSIVE; DROP TABLE heap",
            "SAVEPOINT s; DELETE FROM seeded",
        ],
    ),
    rows(
        "session variables",
        &[
            "PRAGMA recursive_triggers = ON; PRAGMA ignore_check_constraints = ON; INSERT INTO computed (a) VALUES (2000000 + {n})",
            "PRAGMA case_sensitive_like = ON; PRAGMA query_only = ON",
        ],
    ),
    rows(
        "temporary tables",
        &[
            "CREATE TEMPORARY TABLE seeded (x); INSERT INTO seeded VALUES ({n})",
            "CREATE TEMPORARY TRIGGER watch AFTER INSERT ON main.plain BEGIN DELETE FROM heap; END",
        ],
    ),
    rows(
        "journals",
        &[
            "PRAGMA journal_mode = WAL; INSERT INTO plain (name) VALUES ('logged {n}')",
            "PRAGMA journal_mode = PERSIST; DELETE FROM heap",
            "PRAGMA journal_mode = OFF; DELETE FROM composite",
            "PRAGMA locking_mode = EXCLUSIVE; DELETE FROM tree",
        ],
    ),
    rows(
        "another database",
        &["ATTACH ':memory:' AS other; CREATE TABLE other.t (x); INSERT INTO plain (name) VALUES ('attached {n}')"],
    ),
    schema(
        "create tables",
        &[
            "CREATE TABLE new_{n} (x)",
            "CREATE TABLE copied AS SELECT * FROM seeded",
            "CREATE VIRTUAL TABLE box USING rtree (id, a, b)",
        ],
    ),
    schema("drop tables", &["DROP TABLE heap", "PRAGMA foreign_keys = OFF; DROP TABLE parent", "DROP TABLE search"]),
    schema(
        "drop a table and make it again",
        &[
            "DROP TABLE heap; CREATE TABLE heap (a, b); INSERT INTO heap VALUES (1, 'twice'), (1, 'twice'), (NULL, NULL), (0, '')",
        ],
    ),
    schema(
        "rename and alter",
        &[
            "ALTER TABLE seeded RENAME TO renamed",
            "ALTER TABLE heap ADD COLUMN more DEFAULT 5",
            "ALTER TABLE plain DROP COLUMN note",
            "ALTER TABLE heap RENAME COLUMN a TO c",
        ],
    ),
    schema("indexes", &["CREATE INDEX new_one ON parent (name, id)", "DROP INDEX by_day", "REINDEX"]),
    schema(
        "views and triggers",
        &[
            "DROP VIEW names",
            "DROP TRIGGER child_gone",
            "CREATE VIEW another AS SELECT 1 AS one",
            "CREATE TRIGGER more AFTER UPDATE ON heap BEGIN DELETE FROM plain; END",
        ],
    ),
    schema(
        "the file's header",
        &[
            "PRAGMA user_version = {n}",
            "PRAGMA application_id = {n}",
            "PRAGMA auto_vacuum = FULL; VACUUM",
            "PRAGMA page_size = 8192; VACUUM",
            "PRAGMA schema_version = 4711",
        ],
    ),
    schema(
        "the schema by hand",
        &[
            "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'audit'",
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'garbage' WHERE name = 'heap'",
        ],
    ),
    schema("maintenance", &["VACUUM", "ANALYZE"]),
];
