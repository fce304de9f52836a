//! What later servers have.

use super::dirtyings::{Dirtyings, Known, put_back_or_named};
use super::*;

/// What came with a version: a statement that no earlier one understands, a schema that has it, and what tests do to that.
struct Later {
    statement: &'static str,
    schema: &'static str,
    dirtyings: Dirtyings,
}

const LATER: [Later; 4] = [
    // 14.
    Later {
        statement: "SELECT '{}'::int4multirange",
        schema: "CREATE TABLE spans (id int, at datemultirange, x text COMPRESSION pglz);
            INSERT INTO spans VALUES (1, '{[2020-01-01,2020-02-01),[2021-01-01,)}', 'x'), (2, '{}', NULL);
            CREATE STATISTICS by_half ON (id / 2) FROM spans;
            CREATE FUNCTION half(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT n / 2; END",
        dirtyings: &[
            ("UPDATE spans SET at = at + '{[2022-01-01,2022-02-01)}' WHERE id = 2", ""),
            ("ALTER TABLE spans ALTER x SET COMPRESSION DEFAULT", "table public.spans"),
            ("DROP STATISTICS by_half", "pg_statistic_ext"),
            (
                "CREATE OR REPLACE FUNCTION half(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT n / 3; END",
                "routine public.half",
            ),
        ],
    },
    // 15.
    Later {
        statement: "CREATE TABLE later (x int UNIQUE NULLS NOT DISTINCT)",
        schema: "CREATE TABLE news (id int PRIMARY KEY, x int UNIQUE NULLS NOT DISTINCT);
            INSERT INTO news VALUES (1, NULL), (2, 1);
            CREATE PUBLICATION some FOR TABLE news (id, x) WHERE (id > 5);
            CREATE VIEW seen WITH (security_invoker = true) AS SELECT * FROM news",
        dirtyings: &[
            (
                "MERGE INTO news USING (VALUES (2), (9)) AS v (id) ON news.id = v.id
                    WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.id)",
                "",
            ),
            ("ALTER PUBLICATION some SET TABLE news (id, x) WHERE (id > 6)", "pg_publication_rel"),
            ("ALTER PUBLICATION some SET TABLE news (id) WHERE (id > 5)", "pg_publication_rel"),
            ("CREATE PUBLICATION all_of_it FOR TABLES IN SCHEMA public", "pg_publication"),
            ("ALTER VIEW seen SET (security_invoker = false)", "view public.seen"),
        ],
    },
    // 17.
    Later {
        statement: "CREATE COLLATION later (provider = builtin, locale = 'C.UTF-8')",
        schema: "CREATE COLLATION by_number (provider = builtin, locale = 'C.UTF-8');
            CREATE TABLE dated (id int GENERATED ALWAYS AS IDENTITY, at date, x text COLLATE by_number,
                twice text GENERATED ALWAYS AS (x || x) STORED) PARTITION BY RANGE (at);
            CREATE TABLE dated_old PARTITION OF dated FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
            CREATE TABLE dated_new PARTITION OF dated DEFAULT;
            INSERT INTO dated (at, x) VALUES ('2001-01-01', 'a'), ('2021-01-01', NULL)",
        dirtyings: &[
            ("INSERT INTO dated (at) VALUES ('2002-01-01'), ('2022-01-01')", ""),
            (
                "MERGE INTO dated USING (VALUES ('b')) AS v (x) ON dated.x = v.x
                    WHEN NOT MATCHED BY SOURCE THEN UPDATE SET x = 'gone' RETURNING merge_action(), dated.*",
                "",
            ),
            ("ALTER TABLE dated ALTER twice SET EXPRESSION AS (x || '2')", "differs in"),
            ("GRANT MAINTAIN ON dated TO PUBLIC", "table public.dated"),
            ("CREATE COLLATION more (provider = builtin, locale = 'C')", "pg_collation"),
            (
                "CREATE FUNCTION greet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
                    CREATE EVENT TRIGGER greeting ON login EXECUTE FUNCTION greet()",
                "differs in",
            ),
        ],
    },
    // 18.
    Later {
        statement: "CREATE TABLE later (x int, y int GENERATED ALWAYS AS (x) VIRTUAL)",
        schema: "CREATE TABLE computed (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL,
                tenth int GENERATED ALWAYS AS (10 / id) VIRTUAL);
            INSERT INTO computed VALUES (0), (1);
            CREATE TABLE orders (id int PRIMARY KEY);
            CREATE TABLE lines (number int CONSTRAINT positive CHECK (number > 0) NOT ENFORCED,
                ordered int CONSTRAINT there NOT NULL CONSTRAINT known REFERENCES orders NOT ENFORCED, x int);
            INSERT INTO lines VALUES (-1, 99, NULL);
            ALTER TABLE lines ADD CONSTRAINT later NOT NULL x NOT VALID;
            CREATE TABLE rooms (numbers int4range, at daterange, PRIMARY KEY (numbers, at WITHOUT OVERLAPS));
            CREATE TABLE guests (numbers int4range, at daterange,
                FOREIGN KEY (numbers, PERIOD at) REFERENCES rooms (numbers, PERIOD at));
            INSERT INTO rooms VALUES ('[1,3)', '[2025-01-01,2025-02-01)'), ('[1,3)', '[2025-02-01,)');
            INSERT INTO guests VALUES ('[1,3)', '[2025-01-20,2025-02-03)')",
        dirtyings: &[
            ("INSERT INTO computed VALUES (5)", ""),
            ("UPDATE computed SET id = 7 WHERE id = 0", ""),
            ("DELETE FROM computed", ""),
            ("INSERT INTO lines VALUES (-2, 98, 1)", ""),
            ("UPDATE lines SET number = -3, x = 3", "rows of public.lines cannot be written back"),
            (
                "UPDATE guests SET at = '[2025-01-25,2025-01-26)'; INSERT INTO rooms VALUES ('[9,9]', '[2025-01-01,)')",
                "",
            ),
            ("DELETE FROM guests; UPDATE rooms SET at = '[2026-01-01,)' WHERE lower(at) = '2025-02-01'", ""),
            ("ALTER TABLE computed ALTER twice SET EXPRESSION AS (id * 3)", "differs in"),
            ("DELETE FROM lines; ALTER TABLE lines ALTER CONSTRAINT known ENFORCED", "differs in"),
            ("DELETE FROM lines; ALTER TABLE lines VALIDATE CONSTRAINT later", "differs in"),
            ("ALTER TABLE lines RENAME CONSTRAINT there TO here", "pg_constraint"),
            ("ALTER TABLE lines ALTER CONSTRAINT there NO INHERIT", "differs in"),
            ("COMMENT ON CONSTRAINT there ON lines IS 'c'", "pg_description"),
        ],
    },
];

/// Whether the server understands it.
async fn understands(statement: &str) -> bool {
    let mut admin = admin().await;
    match execute(&mut admin, &format!("BEGIN; {statement}; ROLLBACK")).await {
        Ok(()) => true,
        Err(error) => {
            test_support::say(&format!("postgres: `{statement}` is NOT tested: {error}"));
            false
        }
    }
}

#[tokio::test]
async fn what_a_test_does_to_it_is_put_back_or_named() {
    for later in LATER {
        if understands(later.statement).await {
            put_back_or_named("later", later.schema, later.dirtyings, Known::All).await;
            put_back_or_named("later", later.schema, later.dirtyings, Known::Nothing).await;
        }
    }
}

/// Who logs in fires them, and freshdb does so whenever it likes.
#[tokio::test]
async fn freshdbs_own_connections_fire_no_login_triggers() {
    let schema = "CREATE TABLE logins (who text); INSERT INTO logins VALUES ('first');
        CREATE FUNCTION greet() RETURNS event_trigger LANGUAGE plpgsql
            AS 'BEGIN INSERT INTO public.logins VALUES (''another''); END';
        CREATE EVENT TRIGGER greeting ON login EXECUTE FUNCTION greet()";
    if !understands("SET event_triggers = on").await {
        return;
    }
    let mut fixture = Fixture::new("login", schema).await;
    for _ in 0..3 {
        let mut user = test_support::Client::connect(&fixture.server.with_database(&fixture.slot.name).reveal()).await;
        assert_eq!(user.number("SELECT count(*) FROM logins").await, 3, "the schema's, that of the dump, and its own");
        user.close().await;
        assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 1 });
    }
    fixture.drop().await;
}
