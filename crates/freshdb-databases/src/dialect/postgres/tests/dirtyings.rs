//! Whatever a test does, a reset puts it back or says that it cannot.

use super::*;

/// All kinds of what a schema may hold.
pub(super) const SCHEMA: &str = r#"
    CREATE SCHEMA other;
    CREATE EXTENSION IF NOT EXISTS plpgsql;
    CREATE TABLE empty (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x text UNIQUE, y text);
    CREATE TABLE seeded (id serial PRIMARY KEY, x text, twice text GENERATED ALWAYS AS (x || x) STORED, b bytea, at timestamptz);
    INSERT INTO seeded (x, b, at) VALUES ('', NULL, 'epoch'), (NULL, '\x00ff5c0a'::bytea, 'infinity'), (E'tab\tand\nline\\N', '', NULL);
    CREATE TABLE child (id serial PRIMARY KEY, parent int NOT NULL REFERENCES seeded (id) ON DELETE CASCADE, note text);
    INSERT INTO child (parent, note) SELECT 1 + i % 3, repeat('n', i * 40) FROM generate_series(1, 90) i;
    DELETE FROM child WHERE id % 7 = 0;
    UPDATE child SET note = 'moved' WHERE id = 2;
    CREATE TABLE left_side (id int PRIMARY KEY, other int);
    CREATE TABLE right_side (id int PRIMARY KEY, other int REFERENCES left_side);
    ALTER TABLE left_side ADD FOREIGN KEY (other) REFERENCES right_side DEFERRABLE INITIALLY DEFERRED;
    BEGIN; INSERT INTO left_side VALUES (1, 1); INSERT INTO right_side VALUES (1, 1); COMMIT;
    CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE CASCADE);
    INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);
    CREATE TABLE parted (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE parted_old PARTITION OF parted FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
    CREATE TABLE parted_new PARTITION OF parted DEFAULT;
    INSERT INTO parted VALUES (1, '2001-01-01'), (2, '2021-01-01');
    CREATE TABLE base (id int, x text);
    CREATE TABLE derived (extra text) INHERITS (base);
    INSERT INTO base VALUES (1, 'base'); INSERT INTO derived VALUES (2, 'derived', 'more');
    CREATE UNLOGGED TABLE fast (id serial, x text);
    CREATE TABLE log (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.log VALUES (TG_TABLE_NAME || TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER noted AFTER INSERT OR DELETE ON empty FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER cut AFTER TRUNCATE ON seeded EXECUTE FUNCTION note();
    CREATE RULE never AS ON DELETE TO fast DO INSTEAD NOTHING;
    CREATE TABLE hidden (id int, owner text);
    ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; ALTER TABLE hidden FORCE ROW LEVEL SECURITY;
    CREATE POLICY mine ON hidden USING (owner = current_user);
    INSERT INTO hidden VALUES (1, 'somebody');
    CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM seeded;
    CREATE MATERIALIZED VIEW texts AS SELECT x FROM seeded;
    CREATE MATERIALIZED VIEW later AS SELECT 1 AS one WITH NO DATA;
    CREATE VIEW seen AS SELECT * FROM seeded;
    CREATE SEQUENCE free START 7 INCREMENT -2 MINVALUE -100 MAXVALUE 100; SELECT setval('free', 5, false);
    CREATE TABLE other.seeded (id int PRIMARY KEY); INSERT INTO other.seeded VALUES (1);
    CREATE TABLE wide (id int, big text); ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
    INSERT INTO wide VALUES (1, repeat('w', 9000)), (2, NULL);
    CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN small AS int CHECK (VALUE < 10);
    CREATE TABLE typed (m mood, s small, j jsonb, a text[], r int4range, n numeric, f float8, i interval);
    INSERT INTO typed VALUES ('bad', 3, '{"a": [1, null]}', ARRAY['', NULL, '"'], '[1,5)', 'NaN', 0.1, '1 mon -3 days');
    CREATE TYPE pair AS (x int, y text); CREATE TABLE pairs (p pair, n int); INSERT INTO pairs VALUES ((1, 'a,b"'), 2), (NULL, 3);
    CREATE SCHEMA "s ""'' %I"; CREATE TYPE "s ""'' %I"."t ""'' %I" AS ENUM ('a,', '"', 'NULL');
    CREATE TABLE kinds (e "s ""'' %I"."t ""'' %I", s small, c char(5), v varchar(3), o "char", n name, b box, y bytea, u uuid, t text, f float4,
        d numeric(7,3), z timestamptz(2), i interval day to second, h bit(3), k json, x xml, g regclass, q tsvector, a inet, m money);
    INSERT INTO kinds VALUES ('NULL', 9, ' a', 'ä🦀,', '"', 'na''me', '(1,2),(3,4)', '\x5c22272c', gen_random_uuid(), '{"a\",NULL}', 0.1, 1.5,
        '2001-02-03 04:05:06.78+09', '1 day -2:03:04.5', B'101', '{ "x" : 1 }', '<a b="c"/>', 'pg_class', '''it''''s'':1 a', '::1/64', 12.34),
        ('"', NULL, '', '', '\', '', NULL, '', NULL, 'NULL', 'NaN', 'NaN', '-infinity', NULL, NULL, '"\u0041"', NULL, NULL, '', NULL, NULL),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE "select" ("from" int); CREATE TABLE "a ""quote"" `tick' \ and space" ("x"" 'y" text); CREATE TABLE "😀" ("🎉" int);
    CREATE TABLE "sixty-three bytes: äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäö!" (id serial, x int);
    INSERT INTO "a ""quote"" `tick' \ and space" VALUES ('''; DROP TABLE x; --');
"#;

const HOSTILE: &str = r#"INSERT INTO "select" VALUES (1); INSERT INTO "a ""quote"" `tick' \ and space" VALUES ('x'), ('y');
    UPDATE "a ""quote"" `tick' \ and space" SET "x"" 'y" = NULL; INSERT INTO "😀" VALUES (1);
    INSERT INTO "sixty-three bytes: äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäö!" (x) VALUES (1), (2)"#;

/// What a test does, and why its database must be made anew; an empty reason if it can be put back.
pub(super) type Dirtyings = &'static [(&'static str, &'static str)];

const DIRTYINGS: Dirtyings = &[
    ("SELECT 1", ""),
    ("INSERT INTO empty (x) VALUES ('a'), (''), (NULL)", ""),
    ("INSERT INTO empty (x) VALUES ('a'); UPDATE empty SET x = 'b'; DELETE FROM empty", ""),
    ("BEGIN; INSERT INTO empty (x) VALUES ('a'); INSERT INTO seeded (x) VALUES ('a'); ROLLBACK", ""),
    ("INSERT INTO empty OVERRIDING SYSTEM VALUE VALUES (99, 'x', 'y'); TRUNCATE empty RESTART IDENTITY", ""),
    ("INSERT INTO seeded (x) VALUES ('new')", ""),
    ("INSERT INTO seeded (x) SELECT repeat('n', 500) FROM generate_series(1, 200)", ""),
    ("INSERT INTO seeded (x) VALUES ('new'); DELETE FROM seeded WHERE x = 'new'", ""),
    ("UPDATE seeded SET x = x WHERE id = 1", ""),
    ("UPDATE seeded SET b = 'x', at = now()", ""),
    ("DELETE FROM seeded WHERE id = 2", ""),
    ("DELETE FROM seeded", ""),
    ("TRUNCATE seeded CASCADE", ""),
    ("TRUNCATE seeded RESTART IDENTITY CASCADE; INSERT INTO seeded (x) VALUES ('only')", ""),
    ("BEGIN; TRUNCATE seeded CASCADE; ROLLBACK", ""),
    ("INSERT INTO child (parent, note) VALUES (1, 'fits a gap'), (2, repeat('z', 3000))", ""),
    ("INSERT INTO child (parent) SELECT 1 FROM generate_series(1, 500); DELETE FROM child WHERE id > 50", ""),
    ("DELETE FROM left_side; DELETE FROM right_side", "fails"),
    ("BEGIN; UPDATE left_side SET other = NULL; DELETE FROM right_side; DELETE FROM left_side; COMMIT", ""),
    ("DELETE FROM tree WHERE id = 1", ""),
    ("UPDATE parted SET at = '2030-01-01'; INSERT INTO parted VALUES (3, '2002-02-02')", ""),
    ("UPDATE base SET x = 'both'", ""),
    ("DELETE FROM ONLY base; INSERT INTO derived VALUES (5, 'x', 'y')", ""),
    ("INSERT INTO fast (x) VALUES ('f')", ""),
    ("DELETE FROM hidden; INSERT INTO hidden VALUES (2, 'me')", ""),
    ("UPDATE wide SET big = big || 'x'; INSERT INTO wide VALUES (3, repeat('v', 90000))", ""),
    ("UPDATE typed SET m = 'good'", ""),
    ("UPDATE kinds SET e = 'a,'; UPDATE pairs SET n = 4", ""),
    ("INSERT INTO other.seeded VALUES (2)", ""),
    ("DELETE FROM other.seeded", ""),
    (HOSTILE, ""),
    ("SELECT nextval('free')", ""),
    ("SELECT setval('free', 5, true)", ""),
    ("SELECT setval('seeded_id_seq', 1000)", ""),
    ("ALTER SEQUENCE free RESTART WITH 50", ""),
    ("ALTER SEQUENCE free INCREMENT 3", "sequence public.free"),
    ("REFRESH MATERIALIZED VIEW summary", "the materialized view public.summary was refreshed"),
    ("REFRESH MATERIALIZED VIEW texts", "large values of public.texts differs in"),
    ("REFRESH MATERIALIZED VIEW later", "later"),
    ("CREATE TEMPORARY TABLE t (id serial, x text); INSERT INTO t (x) VALUES ('x')", ""),
    ("CREATE TEMPORARY TABLE seeded (id int); INSERT INTO seeded VALUES (1)", ""),
    ("CREATE TABLE brief (id int); DROP TABLE brief", ""),
    ("CREATE TABLE more (id int)", "table public.more"),
    ("CREATE TABLE other.\"odd 'name\" ()", "odd 'name"),
    ("DROP TABLE child", "differs in"),
    ("DROP TABLE empty", "differs in"),
    ("ALTER TABLE empty RENAME TO renamed", "differs in"),
    ("ALTER TABLE empty RENAME TO renamed; ALTER TABLE renamed RENAME TO empty", ""),
    ("ALTER TABLE seeded ADD COLUMN z int DEFAULT 5", "public.seeded"),
    ("ALTER TABLE empty ALTER x SET DEFAULT 'd'", "differs in"),
    ("ALTER TABLE empty ALTER x TYPE varchar(9)", "differs in"),
    ("ALTER TABLE empty ALTER y TYPE text COLLATE \"C\"", "differs in"),
    ("ALTER TABLE empty ALTER y SET STATISTICS 7", "table public.empty"),
    ("ALTER TABLE empty SET (fillfactor = 50)", "table public.empty"),
    ("ALTER TABLE empty DISABLE TRIGGER ALL", "trigger"),
    ("ALTER TABLE hidden DISABLE ROW LEVEL SECURITY", "table public.hidden"),
    ("CREATE INDEX i ON empty (y)", "index public.i"),
    ("DROP INDEX IF EXISTS nothing; CREATE UNIQUE INDEX u ON seeded ((lower(x)))", "index public.u"),
    ("CREATE VIEW v AS SELECT 1", "view public.v"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "routine public.f()"),
    ("CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'", "routine public.note()"),
    ("CREATE TRIGGER more AFTER INSERT ON seeded EXECUTE FUNCTION note()", "differs in"),
    ("CREATE RULE r AS ON INSERT TO seeded DO ALSO NOTHING", "differs in"),
    ("CREATE POLICY p ON hidden USING (true)", "pg_policy"),
    ("ALTER TYPE mood ADD VALUE 'meh'", "pg_enum"),
    ("CREATE TYPE t AS (a int)", "public.t"),
    ("CREATE SCHEMA s", "schema s"),
    ("DROP SCHEMA other CASCADE", "differs in"),
    ("CREATE SEQUENCE s", "sequence public.s"),
    ("ALTER SEQUENCE free OWNED BY empty.y", "pg_depend"),
    ("COMMENT ON TABLE empty IS 'c'", "pg_description"),
    ("COMMENT ON SCHEMA public IS 'c'", "server's own"),
    ("GRANT SELECT ON empty TO PUBLIC", "table public.empty"),
    ("REVOKE EXECUTE ON FUNCTION pg_catalog.upper(text) FROM PUBLIC", "server's own"),
    ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "pg_default_acl"),
    ("CREATE STATISTICS st ON x, y FROM empty", "pg_statistic_ext"),
    ("CREATE CAST (mood AS int) WITH INOUT", "pg_cast"),
    ("CREATE AGGREGATE agg (int) (SFUNC = int4pl, STYPE = int)", "agg"),
    ("CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()", "fails"),
    ("CREATE PUBLICATION p FOR TABLE empty", "pg_publication"),
    ("CREATE COLLATION c FROM \"C\"", "pg_collation"),
    ("CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)", "the database itself"),
    ("CREATE SUBSCRIPTION \"odd 'name\" CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false);
        ALTER SUBSCRIPTION \"odd 'name\" ENABLE", "the database itself"),
    ("SELECT lo_from_bytea(0, 'large')", "pg_largeobject"),
    ("CLUSTER child USING child_pkey", "differs in"),
    ("VACUUM FULL child", ""),
    ("VACUUM FULL", "server's own"),
    ("ANALYZE", ""),
    ("REINDEX TABLE seeded", ""),
    ("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''1MB''', current_database()); END $$", "the database itself"),
    ("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''1MB''', current_database());
        EXECUTE format('ALTER DATABASE %I RESET work_mem', current_database());
        EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 7', current_database());
        EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT -1', current_database()); END $$", ""),
    ("DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET work_mem = ''1MB''', current_user, current_database()); END $$",
        "the database itself"),
    ("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 7', current_database()); END $$", "the database itself"),
    ("DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS ''c''', current_database()); END $$", "the database itself"),
    ("DO $$ BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()); END $$", "the database itself"),
    ("SET TimeZone = 'Asia/Tokyo'; SET search_path = other; SELECT pg_advisory_lock(1); LISTEN x", ""),
    ("SELECT pg_stat_reset(); INSERT INTO empty (x) VALUES ('a'); DELETE FROM child WHERE id = 1", ""),
    ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
        DELETE FROM seeded", ""),
    ("BEGIN; LOCK TABLE seeded; DELETE FROM seeded", ""),
    ("UPDATE pg_class SET relhastriggers = false WHERE relname = 'child'", "table public.child differs in pg_class"),
    ("UPDATE pg_class SET relhasindex = false WHERE relname = 'tree'", "table public.tree differs in pg_class"),
    ("UPDATE pg_class SET relhassubclass = false WHERE relname = 'base'", "table public.base differs in pg_class"),
    ("UPDATE pg_class SET relhasrules = false WHERE relname = 'seen'", "view public.seen differs in pg_class"),
    ("BEGIN; ALTER TABLE empty ADD z int; INSERT INTO empty (x) VALUES ('x')", ""),
];

/// What whoever puts a slot back knows of it.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// It is his own.
    All,
    /// What was written down when it was made.
    Memo,
    Nothing,
}

async fn dirty_and_reset(what: &str, known: Known) {
    put_back_or_named(what, SCHEMA, DIRTYINGS, known).await;
}

pub(super) async fn put_back_or_named(what: &str, schema: &str, dirtyings: Dirtyings, known: Known) {
    let mut fixture = Fixture::new(what, schema).await;
    assert_eq!(fixture.dump(), fixture.pristine, "a copy equals its template");
    let mut failures = Vec::new();
    for (sql, reason) in dirtyings {
        let mut user = fixture.user().await;
        let did = execute(&mut user, sql).await;
        assert_eq!(did.is_err(), *reason == "fails", "{sql}: {did:?}");
        // Half of them are closed as they should be.
        if sql.len() % 2 == 0 {
            user.close().await.expect("it closes");
        }
        match known {
            Known::All => {}
            Known::Memo => fixture.left_behind().await,
            Known::Nothing => fixture.unknown().await,
        }
        match fixture.reset().await.outcome {
            Outcome::Pristine { .. } if reason.is_empty() || *reason == "fails" => {
                if fixture.dump() != fixture.pristine {
                    failures.push(format!("{sql}: said to be pristine, and is not"));
                    fixture.anew().await;
                }
            }
            Outcome::Changed(said) => {
                if reason.is_empty() || !said.contains(reason) {
                    failures.push(format!("{sql}: {said}"));
                }
                fixture.anew().await;
            }
            outcome @ Outcome::Pristine { .. } => {
                failures.push(format!("{sql}: {outcome:?}"));
                fixture.anew().await;
            }
        }
    }
    fixture.drop().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn what_a_test_does_is_put_back_or_named() {
    dirty_and_reset("dirty", Known::All).await;
}

#[tokio::test]
async fn so_it_is_by_a_process_that_knows_nothing_of_it() {
    dirty_and_reset("unknown", Known::Nothing).await;
}

#[tokio::test]
async fn so_it_is_by_a_process_that_finds_what_was_written_down() {
    dirty_and_reset("left", Known::Memo).await;
}

#[tokio::test]
async fn counters_that_were_reset_hide_nothing_from_whoever_finds_it() {
    let mut fixture = Fixture::new("counted", "CREATE TABLE t (x int)").await;
    if !counts_at_once(&mut fixture.admin).await {
        test_support::say("postgres: what resets counters is NOT tested: this server's are not believed");
        return fixture.drop().await;
    }
    fixture.left_behind().await;
    assert!(fixture.slot.baseline.is_some(), "{}", fixture.memo);
    assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 0 });
    let each = "SELECT pg_stat_reset_single_table_counters(oid) FROM pg_class WHERE relkind = 'r' AND NOT relisshared";
    for forget in ["SELECT pg_stat_reset()", each] {
        fixture.run("ALTER TABLE t ADD y int").await.close().await.expect("it closes");
        fixture.run(forget).await.close().await.expect("it closes");
        fixture.left_behind().await;
        match fixture.reset().await.outcome {
            Outcome::Changed(what) => assert!(what.contains("public.t"), "{forget}: {what}"),
            outcome @ Outcome::Pristine { .. } => panic!("{forget}: {outcome:?}"),
        }
        fixture.anew().await;
    }
    fixture.drop().await;
}

/// Whoever writes a page to disk has it pinned meanwhile, and a vacuum that does not insist leaves such a page as it is.
#[tokio::test]
async fn a_checkpoint_keeps_no_rows_from_being_put_back() {
    // An autovacuum at the same moment tells the server of room on the pages that are being filled, and then rows may not come back in their order.
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, x text) WITH (autovacuum_enabled = off);
        INSERT INTO t (x) SELECT repeat('x', 500) FROM generate_series(1, 600)";
    let mut fixture = Fixture::new("checkpoint", schema).await;
    let mut other = admin().await;
    let resets = async {
        for _ in 0..100 {
            fixture.run("UPDATE t SET x = 'y'").await.close().await.expect("it closes");
            assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 1 });
        }
    };
    let checkpoints = async {
        loop {
            execute(&mut other, "CHECKPOINT").await.expect("the server does so");
        }
    };
    tokio::select! {
        () = resets => {}
        () = checkpoints => {}
    }
    assert_eq!(fixture.dump(), fixture.pristine);
    fixture.drop().await;
}

/// Rows that were written back by another process can lie behind the last of the template's, where this one looks for what is not the template's.
#[tokio::test]
async fn what_another_process_has_written_back_is_known_for_it() {
    // What is compressed stays so when it may not be any more, until the row is written anew, which makes it longer: two of them fill a page then.
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, x text UNIQUE, y text);
        INSERT INTO t (x, y) SELECT 'row' || i, repeat('y', 3000) FROM generate_series(1, 3) i;
        ALTER TABLE t ALTER y SET STORAGE PLAIN";
    let mut fixture = Fixture::new("adopted", schema).await;
    fixture.run("UPDATE t SET y = 'gone' WHERE id = 2").await.close().await.expect("it closes");
    assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 1 });
    let seed = fixture.template.relations[0].seed.as_ref();
    assert_eq!(seed.map(|seed| seed.mark.last.as_str()), Some("(0,3)"));
    assert_eq!(fixture.slot.marks[0].as_ref().map(|mark| mark.last.as_str()), Some("(1,1)"));
    let name = fixture.slot.name.clone();
    let slot = Postgres::adopt(&fixture.server, &fixture.template, &name).await.expect("it can be taken over");
    Postgres::close(std::mem::replace(&mut fixture.slot, slot)).await;
    let mut user = fixture.user().await;
    execute(&mut user, "INSERT INTO t (x) VALUES ('row1')").await.expect_err("there is such a row");
    user.close().await.expect("it closes");
    assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
    assert_eq!(fixture.dump(), fixture.pristine);
    fixture.drop().await;
}

#[tokio::test]
async fn what_a_check_does_while_rows_are_written_back_is_named() {
    let schema = "CREATE TABLE log (x int); CREATE SEQUENCE s;
        CREATE FUNCTION tick() RETURNS bool LANGUAGE sql AS 'SELECT nextval(''public.s'') > 0';
        CREATE FUNCTION note() RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (1); RETURN true; END';
        CREATE TABLE ticked (x int CHECK (tick())); INSERT INTO ticked VALUES (1);
        CREATE TABLE noted (x int CHECK (note())); INSERT INTO noted VALUES (1); DELETE FROM log";
    let mut fixture = Fixture::new("check", schema).await;
    for (table, changed) in [("ticked", "public.s was changed"), ("noted", "public.log was changed")] {
        fixture.run(&format!("UPDATE {table} SET x = 2")).await.close().await.expect("it closes");
        match fixture.reset().await.outcome {
            Outcome::Changed(reason) => assert!(reason.starts_with(changed), "{reason}"),
            outcome @ Outcome::Pristine { .. } => panic!("{table}: {outcome:?}"),
        }
        fixture.anew().await;
    }
    fixture.drop().await;
}

/// The server refuses to take a row out of it, for which others have no name.
#[tokio::test]
async fn a_table_without_a_key_that_is_published_costs_the_database_and_says_why() {
    let schema = "CREATE TABLE audit (what text); CREATE TABLE seeded (what text); INSERT INTO seeded VALUES ('a');
        CREATE PUBLICATION everything FOR ALL TABLES";
    let mut fixture = Fixture::new("published", schema).await;
    for dirt in ["INSERT INTO audit VALUES ('a')", "INSERT INTO seeded VALUES ('b')"] {
        fixture.run(dirt).await.close().await.expect("it closes");
        let Outcome::Changed(reason) = fixture.reset().await.outcome else { panic!("it cannot be put back") };
        assert!(
            reason.starts_with("rows cannot be taken out again: ") && reason.contains("replica identity"),
            "{reason}"
        );
        fixture.anew().await;
    }
    fixture.drop().await;
}

/// The function finds its table by the search path of whoever writes rows, and not by that of whoever reads them for the planner.
#[tokio::test]
async fn an_index_of_what_fails_keeps_no_template_from_being_read() {
    let schema = "CREATE TABLE rates (x int); INSERT INTO rates VALUES (1);
        CREATE FUNCTION rate(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN n * (SELECT x FROM rates); END';
        CREATE TABLE t (x int); CREATE INDEX ON t (rate(x)); INSERT INTO t VALUES (1)";
    let mut fixture = Fixture::new("fails", schema).await;
    fixture.run("INSERT INTO t VALUES (2)").await.close().await.expect("it closes");
    assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
    assert_eq!(fixture.dump(), fixture.pristine);
    fixture.drop().await;
}
