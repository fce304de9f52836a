//! The order in which rows are read that are read without `ORDER BY`. Nobody may rely on it, and whoever does is not to see another one just
//! because the database was used before.

use std::time::Instant;

use super::super::connection::rows;
use super::super::undo::{Touched, Undone, undo};
use super::*;

async fn column(fixture: &Fixture, sql: &str) -> Vec<String> {
    let mut user = fixture.user().await;
    let found = rows(&mut user, sql).await.expect("rows");
    user.close().await.expect("it closes");
    found.into_iter().flatten().flatten().collect()
}

#[tokio::test]
async fn what_is_added_comes_last() {
    // A row was deleted before the schema was complete.
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, x text);
        INSERT INTO t (x) SELECT 'row' || i FROM generate_series(1, 6) i; DELETE FROM t WHERE id = 3";
    let mut fixture = Fixture::new("gap", schema).await;
    for (number, dirt) in
        ["SELECT 1", "UPDATE t SET x = 'other' WHERE id = 1", "DELETE FROM t WHERE id = 5"].iter().enumerate()
    {
        fixture.run("INSERT INTO t (x) VALUES ('new')").await.close().await.expect("it closes");
        assert_eq!(
            column(&fixture, "SELECT x FROM t").await,
            ["row1", "row2", "row4", "row5", "row6", "new"],
            "{number}"
        );
        fixture.run(dirt).await.close().await.expect("it closes");
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
        assert_eq!(fixture.dump(), fixture.pristine);
    }
    fixture.drop().await;
}

#[tokio::test]
async fn rows_of_all_lengths_stay_in_order() {
    let schema = "CREATE TABLE posts (id serial PRIMARY KEY, body text)";
    let mut fixture = Fixture::new("lengths", schema).await;
    for _ in 0..300 {
        let insert = |_| {
            let length = fastrand::u32(1..40);
            format!(
                "INSERT INTO posts (body) VALUES ((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, {length})));"
            )
        };
        let inserts: String = (0..fastrand::u32(2..=6)).map(insert).collect();
        fixture.run(&inserts).await.close().await.expect("it closes");
        let ids = column(&fixture, "SELECT id::text FROM posts").await;
        let ids: Vec<u32> = ids.iter().map(|id| id.parse().expect("a number")).collect();
        assert!(ids.is_sorted(), "{ids:?} after {inserts}");
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
    }
    fixture.drop().await;
}

/// A table that an index holds all of can be read in the index's order, and is where the server is kept from reading tables, so that tests find
/// queries without an index.
#[tokio::test]
async fn rows_come_back_in_their_order_where_tables_are_read_by_index() {
    let schema = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$;
        CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (3), (1), (2)";
    let mut fixture = Fixture::new("index", schema).await;
    fixture.run("UPDATE t SET id = 4 WHERE id = 1").await.close().await.expect("it closes");
    assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 1 });
    assert_eq!(fixture.dump(), fixture.pristine);
    fixture.drop().await;
}

/// Whoever has looked at them before they were old does, and an autovacuum that looks through the catalogs.
#[tokio::test]
async fn old_rows_that_somebody_holds_are_waited_for_but_not_for_long() {
    let mut fixture = Fixture::new("held", "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2)").await;
    let touched = [Touched { index: 0, inserted: Some(0), changed: true, moved: false }];
    let looks = format!(
        "SELECT 1 FROM pg_stat_activity WHERE datname = '{}' AND state = 'idle' AND query LIKE 'SELECT pg_relation_size%'",
        fixture.slot.name
    );
    let started = Instant::now();
    loop {
        let onlooker = fixture.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t").await;
        fixture.run("UPDATE t SET id = 3 WHERE id = 1").await.close().await.expect("it closes");
        let (template, slot, admin) = (&fixture.template, &mut fixture.slot, &mut fixture.admin);
        let mut marks = std::mem::take(&mut slot.marks);
        let maintenance = slot.maintenance().await.expect("it is connected");
        let undone = undo(maintenance, template, &touched, &[], &mut marks).await.expect("the server answers");
        let Undone::Not(reason) = undone else { panic!("somebody holds them") };
        assert_eq!(reason, "rows of public.t were changed, and the server does not let go of the old ones");

        // What it asked last.
        execute(&mut maintenance.connection, "SELECT 1").await.expect("the server answers");
        let undoing = undo(maintenance, template, &touched, &[], &mut marks);
        let letting_go = async {
            while value(admin, &looks).await.expect("the server answers").is_none() {}
            onlooker.close().await
        };
        let (undone, closed) = tokio::join!(undoing, letting_go);
        closed.expect("it closes");
        slot.marks = marks;
        match undone.expect("the server answers") {
            Undone::All { has_written: true, .. } => break,
            // On a busy machine they can be let go of too late.
            Undone::Not(_) if started.elapsed() < test_support::DEADLINE => fixture.anew().await,
            _ => panic!("they are put back"),
        }
    }
    assert_eq!(fixture.dump(), fixture.pristine);
    fixture.drop().await;
}

/// Which takes longer, and cannot be where somebody holds old rows.
#[tokio::test]
async fn rows_are_not_written_anew_where_a_test_has_changed_only_its_own() {
    let schema = "CREATE TABLE users (id serial PRIMARY KEY, name text); INSERT INTO users (name) VALUES ('admin')";
    let mut fixture = Fixture::new("own", schema).await;
    let own = "INSERT INTO users (name) VALUES ('a'), ('b'); UPDATE users SET name = 'c' WHERE name = 'a';
        DELETE FROM users WHERE name = 'b'";
    for _ in 0..3 {
        for dirt in [own, "BEGIN; UPDATE users SET name = 'd'; ROLLBACK"] {
            fixture.run(dirt).await.close().await.expect("it closes");
        }
        let before = column(&fixture, "SELECT xmin FROM users WHERE name = 'admin'").await;
        assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 1 });
        assert_eq!(column(&fixture, "SELECT xmin FROM users").await, before);
        assert_eq!(fixture.dump(), fixture.pristine);
    }
    fixture.drop().await;
}

/// A row is put into the room that a longer one has left on a page before.
#[tokio::test]
async fn rows_that_would_come_back_in_another_order_cost_the_database() {
    // What is compressed stays so when it may not be any more, until the row is written anew: the four are on one page, and on two then.
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, x text);
        INSERT INTO t (x) SELECT repeat('x', length) FROM unnest(ARRAY[5000, 5000, 2000, 3000]) length;
        ALTER TABLE t ALTER x SET STORAGE PLAIN";
    let mut fixture = Fixture::new("room", schema).await;
    fixture.run("UPDATE t SET x = 'y' WHERE id = 1").await.close().await.expect("it closes");
    let Outcome::Changed(reason) = fixture.reset().await.outcome else { panic!("its rows are in another order") };
    assert_eq!(reason, "rows of public.t were changed, and do not come back in their order");
    fixture.drop().await;
}
