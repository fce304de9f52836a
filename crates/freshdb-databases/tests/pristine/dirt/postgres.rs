//! What can be done to PostgreSQL.

use super::{Kind, rows, schema};

/// It wants a server that allows it: `max_prepared_transactions` is zero unless somebody sets it.
pub(crate) const PREPARED: &str = "prepare a transaction";

/// It came with 15.
pub(crate) const MERGE: &str = "merge";

/// The role came with 14.
pub(crate) const OWNER: &str = "make `pg_database_owner` an owner";

pub(super) const KINDS: &[Kind] = &[
    rows(
        "insert",
        &[
            "INSERT INTO plain (name) VALUES ('n{n}')",
            "INSERT INTO seeded (name, amount, data) VALUES ('n{n}', {n}.125, '{}')",
            "INSERT INTO parent (name) VALUES ('p{n}')",
            "INSERT INTO names (id, name) VALUES (5000 + {n}, 'through the view')",
            "INSERT INTO heap VALUES ({n}, 'x'), ({n}, 'x')",
            "INSERT INTO partitioned (year, v) VALUES (1900 + {n}, 'p')",
            "INSERT INTO derived VALUES ({n}, 'd', 1)",
            "INSERT INTO unlogged (v) VALUES ('{n}')",
            "INSERT INTO columnless DEFAULT VALUES",
            "INSERT INTO large (name) VALUES ('n{n}'), (repeat('n', {n} % 500))",
            "INSERT INTO \"Other schema\".plain (v) VALUES ('{n}')",
        ],
    ),
    rows(
        "insert odd values",
        &[
            "INSERT INTO plain (name, note) VALUES ('', NULL)",
            "INSERT INTO seeded DEFAULT VALUES",
            "INSERT INTO seeded (content, raw, ratio, day) VALUES (decode(repeat('00ff27', {n}), 'hex'), '[[], {\"\": null}]', 'NaN', '-infinity')",
            "INSERT INTO heap VALUES (NULL, NULL), (NULL, '')",
            "INSERT INTO plain (name, note) VALUES ('long {n}', (SELECT string_agg(gen_random_uuid()::text, '') FROM generate_series(1, 500)))",
        ],
    ),
    rows(
        "move a counter",
        &[
            "SELECT nextval('numbers')",
            "SELECT setval('numbers', 9000)",
            "SELECT nextval('plain_id_seq')",
            "INSERT INTO seeded (name) VALUES ('x'); DELETE FROM seeded WHERE name = 'x'",
            "SELECT setval('plain_id_seq', 1, false), setval('parent_id_seq', 43, false)",
            "SELECT nextval('\"it''s \"\"a\"\" sequence\"')",
            "INSERT INTO parent (name) VALUES ('one') ON CONFLICT DO NOTHING",
        ],
    ),
    rows(
        "roll back",
        &[
            "BEGIN; INSERT INTO plain (name) VALUES ('r{n}'); ROLLBACK",
            "BEGIN; INSERT INTO seeded (name) VALUES ('r'); INSERT INTO partitioned (year) VALUES (2000); ROLLBACK",
            "BEGIN; INSERT INTO parent (name) VALUES ('r{n}'); SAVEPOINT s; DELETE FROM parent; ROLLBACK TO SAVEPOINT s; COMMIT",
            "BEGIN; DROP TABLE seeded; TRUNCATE heap; CREATE TABLE gone (); ROLLBACK",
            "BEGIN; TRUNCATE plain RESTART IDENTITY; ROLLBACK",
            "BEGIN; INSERT INTO large (name) VALUES (''); UPDATE large SET name = 'r' WHERE id % 50 = 0; ROLLBACK",
        ],
    ),
    rows(
        "update",
        &[
            "UPDATE seeded SET name = name || '{n}' WHERE id = 1",
            "UPDATE seeded SET name = upper(name), content = '', data = NULL, both_.a = 5",
            "UPDATE heap SET b = '' WHERE a IS NULL",
            "UPDATE computed SET a = a + 100 + {n}",
            "UPDATE composite SET b = 'y' WHERE b = ''",
            "UPDATE partitioned SET year = year + 500",
            "UPDATE base SET v = 'all'",
            "UPDATE unlogged SET v = NULL",
            "UPDATE large SET name = 'changed' WHERE id = {n} % 2500",
            "UPDATE seeded SET id = id + 100000 + {n}",
        ],
    ),
    rows(
        "update and back",
        &[
            "UPDATE seeded SET amount = 7 WHERE id = 7; UPDATE seeded SET amount = 0 WHERE id = 7",
            "UPDATE heap SET a = a",
            "INSERT INTO large (name) SELECT 'own' FROM generate_series(1, 30); UPDATE large SET name = 'mine' WHERE name = 'own'; DELETE FROM large WHERE name = 'mine' AND id % 3 = 0",
        ],
    ),
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
            "DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap)",
            "DELETE FROM partitioned WHERE year < 2000",
            "DELETE FROM ONLY base",
            "DELETE FROM unlogged",
            "DELETE FROM columnless",
            "DELETE FROM large WHERE id % 100 = {n} % 100",
            "DELETE FROM \"Other schema\".plain",
        ],
    ),
    rows(
        "delete and insert again",
        &[
            "DELETE FROM heap WHERE a = 1; INSERT INTO heap VALUES (1, 'twice'), (1, 'twice')",
            "DELETE FROM composite WHERE b = ''; INSERT INTO composite VALUES (1, '', NULL)",
            "WITH gone AS (DELETE FROM base RETURNING *) SELECT * FROM gone",
        ],
    ),
    rows("upsert", &["INSERT INTO parent (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'one {n}'"]),
    rows(
        MERGE,
        &[
            "MERGE INTO heap USING composite ON heap.a = composite.a WHEN MATCHED AND composite.b = 'x' THEN UPDATE SET b = 'merged' WHEN NOT MATCHED THEN DO NOTHING",
        ],
    ),
    rows(
        "truncate",
        &[
            "TRUNCATE seeded",
            "TRUNCATE plain RESTART IDENTITY",
            "TRUNCATE heap, columnless, base",
            "TRUNCATE partitioned",
            "TRUNCATE parent CASCADE",
            "TRUNCATE parent RESTART IDENTITY CASCADE",
            "TRUNCATE past",
            "TRUNCATE unlogged",
        ],
    ),
    rows(
        "without checks",
        &[
            "SET session_replication_role = replica; INSERT INTO child VALUES (500 + {n}, 99999); SET session_replication_role = origin",
            "SET session_replication_role = replica; DELETE FROM hen; SET session_replication_role = origin",
            "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO egg VALUES (60 + {n}, 60 + {n}); INSERT INTO hen VALUES (60 + {n}, 60 + {n}); COMMIT",
        ],
    ),
    rows(
        "cycles",
        &[
            "BEGIN; DELETE FROM hen; DELETE FROM egg; COMMIT; SET CONSTRAINTS ALL IMMEDIATE",
            "INSERT INTO tree VALUES (100 + {n}, 1)",
            "UPDATE tree SET up = 4 WHERE id = 1",
            "UPDATE egg SET hen = 1",
        ],
    ),
    rows(
        "hostile names",
        &[
            "INSERT INTO \"select\" (\"where\") VALUES ('{n}'); UPDATE \"select\" SET \"where\" = ''",
            "INSERT INTO \"it's \"\"quoted\"\"\" VALUES (2 + {n}, ''';--')",
            "INSERT INTO \"back`tick\" (v) VALUES ({n})",
            "DELETE FROM \" two  words \" WHERE v IS NULL",
            "UPDATE \"crab 🦀 ünï\" SET v = DEFAULT; INSERT INTO \"crab 🦀 ünï\" (v) VALUES (NULL)",
            "INSERT INTO \"%s {} \\ $1 ?\" VALUES (1 + {n}, NULL)",
            "INSERT INTO \"Upper\" VALUES ({n})",
        ],
    ),
    rows(
        "many rows",
        &[
            "INSERT INTO audit (what) SELECT i::text FROM generate_series(1, 3000) AS i",
            "INSERT INTO heap SELECT a.a, b.b FROM heap a, heap b, heap c",
            "INSERT INTO plain (name) SELECT 'm' || i FROM generate_series(1, 500) AS i",
        ],
    ),
    rows("call a routine", &["CALL fill(1 + {n} % 7)", "DO $$ BEGIN DELETE FROM parent; RAISE NOTICE 'gone'; END $$"]),
    rows(
        "large objects",
        &["SELECT lo_from_bytea(0, 'new')", "SELECT lo_put(4711, 2, 'changed')", "SELECT lo_unlink(4711)"],
    ),
    rows(
        "fill a materialized view",
        &[
            "REFRESH MATERIALIZED VIEW counted",
            "INSERT INTO parent VALUES (77, '77'); REFRESH MATERIALIZED VIEW counted; DELETE FROM parent WHERE id = 77",
        ],
    ),
    rows(
        "leave a transaction open",
        &[
            "BEGIN; INSERT INTO plain (name) VALUES ('open {n}')",
            "BEGIN; DELETE FROM seeded; UPDATE parent SET name = 'open' WHERE id = 1",
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM heap FOR UPDATE",
            "BEGIN; CREATE TABLE uncommitted (); DROP TABLE heap",
            "BEGIN; DECLARE c CURSOR FOR SELECT * FROM seeded; FETCH c",
        ],
    ),
    rows(
        PREPARED,
        &[
            "BEGIN; INSERT INTO plain (name) VALUES ('{tag}'); PREPARE TRANSACTION '{tag}'",
            "BEGIN; DELETE FROM seeded; CREATE TABLE prepared (); PREPARE TRANSACTION 'it''s {tag}'",
        ],
    ),
    rows(
        "session variables",
        &[
            "SET search_path = \"Other schema\"; INSERT INTO plain (v) VALUES ('path {n}')",
            "SET time zone 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'; SET extra_float_digits = -5",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET my.variable = '{n}'; SET standard_conforming_strings = off",
        ],
    ),
    rows(
        "temporary tables",
        &[
            "CREATE TEMPORARY TABLE seeded (x integer); INSERT INTO seeded VALUES ({n})",
            "CREATE TEMPORARY TABLE scratch AS SELECT * FROM heap; DROP TABLE scratch",
            "CREATE TEMPORARY SEQUENCE numbers; SELECT nextval('numbers')",
            "CREATE FUNCTION pg_temp.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        ],
    ),
    rows(
        "locks",
        &[
            "SELECT pg_advisory_lock({n}), pg_advisory_lock_shared(1, {n})",
            "BEGIN; LOCK TABLE seeded IN ACCESS EXCLUSIVE MODE",
            "BEGIN; LOCK TABLE plain, parent IN SHARE MODE; SELECT pg_advisory_xact_lock({n})",
        ],
    ),
    rows(
        "listeners, cursors, statements",
        &[
            "LISTEN \"a channel\"",
            "NOTIFY \"another channel\", '{n}'",
            "BEGIN; DECLARE c_{n} CURSOR WITH HOLD FOR SELECT * FROM seeded; COMMIT",
            "PREPARE s_{n} AS INSERT INTO plain (name) VALUES ($1); EXECUTE s_{n}('prepared {n}')",
        ],
    ),
    schema(
        "create tables",
        &[
            "CREATE TABLE new_{n} (id serial PRIMARY KEY); INSERT INTO new_{n} VALUES (1)",
            "CREATE TABLE \"a `new\"\" one's 🦀\" (LIKE seeded INCLUDING ALL)",
            "CREATE TABLE copied AS SELECT * FROM seeded",
            "CREATE TABLE pointing (id integer REFERENCES parent)",
            "CREATE TABLE more PARTITION OF partitioned FOR VALUES FROM (5000) TO (6000)",
        ],
    ),
    schema(
        "drop tables",
        &[
            "DROP TABLE heap",
            "DROP TABLE parent CASCADE",
            "DROP TABLE \"it's \"\"quoted\"\"\", \"back`tick\"",
            "DROP TABLE past",
            "DROP SCHEMA \"Other schema\" CASCADE",
            "DROP TABLE base CASCADE",
        ],
    ),
    schema(
        "drop a table and make it again",
        &[
            "DROP TABLE heap; CREATE TABLE heap (a integer, b text); INSERT INTO heap VALUES (1, 'twice'), (1, 'twice'), (NULL, NULL), (0, '')",
            "DROP TABLE \"Upper\"; CREATE TABLE \"Upper\" (id integer PRIMARY KEY)",
        ],
    ),
    schema(
        "rename",
        &[
            "ALTER TABLE seeded RENAME TO renamed",
            "ALTER TABLE hen RENAME TO other; ALTER TABLE egg RENAME TO hen; ALTER TABLE other RENAME TO egg",
            "ALTER TABLE heap SET SCHEMA \"Other schema\"",
            "ALTER SCHEMA \"Other schema\" RENAME TO third",
            "ALTER SEQUENCE numbers RENAME TO figures",
            "ALTER TABLE plain RENAME TO x; ALTER TABLE x RENAME TO plain",
        ],
    ),
    schema(
        "alter columns",
        &[
            "ALTER TABLE seeded ADD COLUMN more integer DEFAULT 5",
            "ALTER TABLE plain DROP COLUMN note",
            "ALTER TABLE plain ALTER COLUMN name SET DEFAULT 'nobody'",
            "ALTER TABLE plain ALTER COLUMN name DROP DEFAULT",
            "ALTER TABLE plain ALTER COLUMN name DROP NOT NULL",
            "ALTER TABLE heap RENAME COLUMN a TO c",
            "ALTER TABLE heap ALTER COLUMN a TYPE bigint",
            "ALTER TABLE computed ALTER COLUMN squared DROP EXPRESSION",
            "ALTER TABLE computed ALTER COLUMN always SET GENERATED BY DEFAULT",
            "ALTER TABLE plain ADD COLUMN more integer; ALTER TABLE plain DROP COLUMN more",
            "ALTER TABLE plain ALTER COLUMN note SET STORAGE EXTERNAL",
        ],
    ),
    schema(
        "alter collations and options",
        &[
            "ALTER TABLE plain ALTER COLUMN note TYPE text COLLATE \"C\"",
            "ALTER COLLATION \"ignoring case\" RENAME TO \"caseless\"",
            "COMMENT ON TABLE plain IS 'other'",
            "COMMENT ON COLUMN plain.note IS 'a note'",
            "ALTER TABLE heap SET (fillfactor = 50)",
            "ALTER TABLE heap SET UNLOGGED",
            "ALTER TABLE unlogged SET LOGGED",
            "ALTER TABLE heap REPLICA IDENTITY FULL",
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''5MB''', current_database()); END $$",
            "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS ''dirty''', current_database()); END $$",
        ],
    ),
    schema(
        "indexes",
        &[
            "CREATE INDEX new_one ON parent (name, id)",
            "CREATE UNIQUE INDEX ON audit (id) INCLUDE (what)",
            "DROP INDEX by_day",
            "ALTER INDEX by_day RENAME TO by_night",
            "REINDEX TABLE seeded",
            "CLUSTER parent USING parent_pkey",
        ],
    ),
    schema(
        "constraints",
        &[
            "ALTER TABLE child DROP CONSTRAINT \"child's parent\"",
            "ALTER TABLE audit ADD CONSTRAINT positive CHECK (id > 0) NOT VALID",
            "ALTER TABLE computed DROP CONSTRAINT small",
            "ALTER TABLE plain DROP CONSTRAINT plain_name_key",
            "ALTER TABLE hen ALTER CONSTRAINT first_the_egg DEFERRABLE INITIALLY DEFERRED",
            "ALTER DOMAIN small DROP CONSTRAINT small_check",
        ],
    ),
    schema(
        "partitions and inheritance",
        &[
            "ALTER TABLE partitioned DETACH PARTITION present",
            "ALTER TABLE derived NO INHERIT base",
            "ALTER TABLE partitioned DETACH PARTITION past; ALTER TABLE partitioned ATTACH PARTITION past FOR VALUES FROM (1000) TO (2000)",
        ],
    ),
    schema(
        "sequences",
        &[
            "ALTER SEQUENCE numbers INCREMENT BY 3",
            "ALTER SEQUENCE numbers RESTART WITH 5000",
            "DROP SEQUENCE \"it's \"\"a\"\" sequence\"",
            "CREATE SEQUENCE another OWNED BY heap.a",
            "ALTER SEQUENCE plain_id_seq MAXVALUE 5000",
        ],
    ),
    schema(
        "views",
        &[
            "DROP VIEW names CASCADE",
            "CREATE OR REPLACE VIEW names AS SELECT id, name FROM parent",
            "CREATE VIEW another AS SELECT 1 AS one",
            "ALTER VIEW names RENAME TO nouns",
            "REFRESH MATERIALIZED VIEW unfilled",
            "DROP MATERIALIZED VIEW counted",
        ],
    ),
    schema(
        "routines and types",
        &[
            "DROP PROCEDURE fill",
            "CREATE OR REPLACE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT n + n'",
            "ALTER FUNCTION twice SET work_mem = '5MB'",
            "CREATE FUNCTION \"another one's\"() RETURNS void LANGUAGE sql AS ''",
            "ALTER TYPE mood ADD VALUE 'happy' BEFORE 'sad'",
            "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
            "CREATE TYPE another AS (x integer)",
            "DROP AGGREGATE longest(text)",
        ],
    ),
    schema(
        "triggers and rules",
        &[
            "DROP TRIGGER parent_changed ON parent",
            "CREATE TRIGGER plain_changed BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION note()",
            "ALTER TABLE parent DISABLE TRIGGER parent_changed",
            "DROP RULE quiet ON composite",
            "CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watched()",
        ],
    ),
    schema(
        "privileges and policies",
        &[
            "REVOKE SELECT ON plain FROM PUBLIC",
            "GRANT INSERT ON heap TO PUBLIC",
            "DROP POLICY positive ON composite",
            "ALTER TABLE composite DISABLE ROW LEVEL SECURITY",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        ],
    ),
    schema(
        "the rest of the catalog",
        &[
            "CREATE SCHEMA third",
            "DROP STATISTICS together",
            "CREATE PUBLICATION papers FOR ALL TABLES",
            "ALTER PUBLICATION news ADD TABLE heap",
            "CREATE SUBSCRIPTION \"{tag}'s\" CONNECTION 'dbname=nowhere' PUBLICATION news WITH (connect = false, slot_name = NONE)",
            "CREATE SUBSCRIPTION at_work CONNECTION 'dbname=nowhere' PUBLICATION news WITH (connect = false, slot_name = {tag}); ALTER SUBSCRIPTION at_work ENABLE",
            "CREATE CAST (pair AS text) WITH INOUT",
            "CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq)",
            "CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple)",
        ],
    ),
    schema(OWNER, &["ALTER TABLE heap OWNER TO pg_database_owner"]),
    schema("maintenance", &["VACUUM FULL seeded", "VACUUM heap", "ANALYZE"]),
];
