//! What a reset costs: printed with `--nocapture`.

use std::time::{Duration, Instant};

use super::*;

/// Thirty tables with a unique key and a foreign key each.
fn tables(count: usize) -> String {
    (0..count).fold(String::new(), |mut sql, number| {
        let parent =
            if number == 0 { String::new() } else { format!(", parent bigint REFERENCES t{} (id)", number - 1) };
        writeln!(sql, "CREATE TABLE t{number} (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE{parent});")
            .expect("a string can be written to");
        sql
    })
}

async fn measure(what: &str, schema: &str, dirty: &str, times: usize) {
    let mut fixture = Fixture::new(what, schema).await;
    let (mut totals, mut steps) = (Vec::new(), Vec::<(&str, Duration)>::new());
    for _ in 0..times {
        let user = fixture.run(dirty).await;
        user.close().await.expect("it closes");
        // The time that the server takes to notice the end of a session is the test's own.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !Postgres::sessions(&mut fixture.admin, &fixture.slot.name).await.expect("the server answers").is_empty()
        {
            assert!(Instant::now() < deadline, "the session does not end");
        }
        let start = Instant::now();
        let reset = fixture.reset().await;
        totals.push(start.elapsed());
        assert!(matches!(reset.outcome, Outcome::Pristine { .. }), "{:?}", reset.outcome);
        steps.extend(reset.steps);
    }
    totals.sort();
    let median = totals[totals.len() / 2];
    println!("{what}: best {:?}, median {median:?}, worst {:?}", totals[0], totals[totals.len() - 1]);
    for name in ["end sessions", "probe", "compare schema", "put rows back", "remember"] {
        let mut of = steps.iter().filter(|step| step.0 == name).map(|step| step.1).collect::<Vec<_>>();
        of.sort();
        println!("  {name}: best {:?}, median {:?}", of[0], of[of.len() / 2]);
    }
    assert_eq!(fixture.dump(), fixture.pristine);
    let mut anew = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        fixture.anew().await;
        anew.push(start.elapsed());
    }
    anew.sort();
    println!("  dropped and copied anew: best {:?}, median {:?}", anew[0], anew[2]);
    fixture.drop().await;
    // On a busy machine both take longer: only one in terms of the other says something.
    assert!(median < anew[2], "{what}: a reset takes {median:?}, a new copy {:?}", anew[2]);
}

#[tokio::test]
async fn a_reset_costs_what_was_touched() {
    let dirty =
        "INSERT INTO t0 (name) VALUES ('a'); INSERT INTO t1 (name) VALUES ('a'); INSERT INTO t2 (name) VALUES ('a')";
    measure("three_of_30", &tables(30), dirty, 100).await;
    measure("three_of_300", &tables(300), dirty, 30).await;
    let seeds = "INSERT INTO t0 (name) SELECT 'n' || i FROM generate_series(1, 100) i";
    measure("seeded_insert", &format!("{}{seeds}", tables(30)), dirty, 30).await;
    measure("seeded_update", &format!("{}{seeds}", tables(30)), "UPDATE t0 SET name = 'x' WHERE id = 5", 30).await;
    measure("temporary_table", &tables(30), "CREATE TEMPORARY TABLE x (id serial, y text)", 50).await;
    let seeds = "INSERT INTO t0 (name) SELECT 'n' || i FROM generate_series(1, 100000) i";
    measure("big_seed_insert", &format!("{}{seeds}", tables(30)), dirty, 30).await;
}

#[tokio::test]
async fn a_slot_stays_small_however_often_it_is_used() {
    let mut fixture = Fixture::new("bloat", "CREATE TABLE t (id serial PRIMARY KEY, x text)").await;
    let mut user = fixture.user().await;
    for _ in 0..40 {
        // As a test's session it would be ended: it is told apart by its name here, so that the loop is fast.
        execute(&mut user, "INSERT INTO t (x) SELECT repeat('x', 100) FROM generate_series(1, 300)")
            .await
            .expect("rows");
        user.close().await.expect("it closes");
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
        user = fixture.user().await;
    }
    let size =
        value(&mut user, "SELECT pg_relation_size('public.t')").await.expect("the server answers").expect("a size");
    assert!(size.parse::<u64>().expect("a number") < 300 << 10, "{size}");
    fixture.drop().await;
}
