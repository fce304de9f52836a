//! Who else does something on a slot: ended, and named.

use super::super::reset::is_disturbed;
use super::dirtyings::SCHEMA;
use super::*;

#[tokio::test]
async fn prepared_transactions_are_rolled_back() {
    let mut fixture = Fixture::new("prepared", SCHEMA).await;
    let allowed = value(&mut fixture.admin, "SHOW max_prepared_transactions").await.expect("the server answers");
    if allowed.as_deref() == Some("0") {
        eprintln!(
            "NOT TESTED: this server has max_prepared_transactions = 0, so nobody can prepare a transaction on it"
        );
        let mut user = fixture.user().await;
        let refused = execute(&mut user, "BEGIN; DELETE FROM seeded; PREPARE TRANSACTION 'it''s'").await;
        refused.expect_err("the server says that it allows none");
        return fixture.drop().await;
    }
    let gid = format!("it's \\ {}", free_name("gid"));
    let prepare = format!("PREPARE TRANSACTION {}", crate::dialect::postgres::connection::literal(&gid));
    for _ in 0..2 {
        let user = fixture.run(&format!("BEGIN; DELETE FROM seeded; LOCK TABLE empty; {prepare}")).await;
        user.close().await.expect("it closes");
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
        assert_eq!(fixture.dump(), fixture.pristine);
    }
    // A database is dropped with what is prepared in it.
    fixture.run(&format!("BEGIN; DELETE FROM seeded; {prepare}")).await;
    fixture.drop().await;
}

#[tokio::test]
async fn a_session_that_stays_is_named_and_one_that_was_closed_is_not() {
    let mut fixture = Fixture::new("leak", SCHEMA).await;
    for _ in 0..20 {
        fixture.run("INSERT INTO empty (x) VALUES ('a')").await.close().await.expect("it closes");
        let reset = fixture.reset().await;
        assert_eq!(reset.ended, []);
        assert_eq!(reset.outcome, Outcome::Pristine { touched: 2 });
    }
    let mut left = fixture.run("BEGIN; SELECT 'left'").await;
    let reset = fixture.reset().await;
    let [ended] = reset.ended.as_slice() else { panic!("{:?}", reset.ended) };
    assert_eq!(ended.client.as_deref(), Some("a test"));
    execute(&mut left, "SELECT 1").await.expect_err("it was ended");
    fixture.drop().await;
}

#[tokio::test]
async fn who_holds_a_lock_is_ended_and_not_waited_for() {
    let mut fixture = Fixture::new("locked", SCHEMA).await;
    // From the second on it is asked in another way.
    for resets in [0, 0, 2, 0] {
        for _ in 0..resets {
            fixture.reset().await;
        }
        let left = fixture.run("BEGIN; TRUNCATE empty; LOCK TABLE seeded").await;
        // To wait for a lock takes twenty seconds.
        let reset =
            tokio::time::timeout(std::time::Duration::from_secs(15), fixture.reset()).await.expect("it is soon done");
        assert_eq!(reset.ended.len(), 1, "{reset:?}");
        assert!(matches!(reset.outcome, Outcome::Pristine { .. }), "{reset:?}");
        drop(left);
    }
    fixture.drop().await;
}

#[tokio::test]
async fn a_session_that_compares_is_ended_and_not_named() {
    let mut fixture = Fixture::new("compares", "CREATE TABLE t (id serial PRIMARY KEY)").await;
    let mut own = connect(&fixture.server, &fixture.slot.name).await.expect("a connection");
    let user = fixture.run("SELECT 1").await;
    let reset = fixture.reset().await;
    assert_eq!(reset.ended.len(), 1, "{reset:?}");
    execute(&mut own, "SELECT 1").await.expect_err("it is ended all the same");
    drop(user);
    fixture.drop().await;
}

/// Clients with a pool do that.
#[tokio::test]
async fn who_connects_again_when_ended_is_named() {
    let mut fixture = Fixture::new("again", "CREATE TABLE t (id serial PRIMARY KEY)").await;
    let (server, name) = (fixture.server.clone(), fixture.slot.name.clone());
    let client = tokio::spawn(async move {
        loop {
            let Ok(mut connection) = connect(&server, &name).await else { continue };
            // It is ended in the middle, or not.
            let does = "INSERT INTO public.t DEFAULT VALUES; SELECT pg_sleep(0.2)";
            let _: Result<(), _> = execute(&mut connection, does).await;
            drop(connection.close().await);
        }
    });
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        match fixture.reset().await.outcome {
            Outcome::Changed(reason) if reason == "whoever was ended connects to it again" => break,
            Outcome::Changed(_) => fixture.anew().await,
            Outcome::Pristine { .. } => {}
        }
        assert!(std::time::Instant::now() < deadline, "nobody is named");
    }
    client.abort();
    fixture.drop().await;
}

/// As where a server, or a role, does not count.
#[tokio::test]
async fn what_who_connects_again_writes_is_seen_without_counters() {
    let mut fixture = Fixture::new("uncounted", "CREATE TABLE t (x text); INSERT INTO t VALUES ('a')").await;
    fixture.template.counters = false;
    fixture.unknown().await;
    for dirt in ["UPDATE t SET x = 'b'", "CREATE TABLE other ()", "INSERT INTO t VALUES ('b')"] {
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
        assert!(!is_disturbed(&mut fixture.slot, &fixture.template, &[]).await.expect("the server answers"), "{dirt}");
        fixture.run(dirt).await.close().await.expect("it closes");
        assert!(is_disturbed(&mut fixture.slot, &fixture.template, &[]).await.expect("the server answers"), "{dirt}");
        fixture.anew().await;
        fixture.unknown().await;
    }
    fixture.drop().await;
}

#[tokio::test]
async fn replication_slots_are_dropped_and_sessions_on_other_databases_left_alone() {
    let mut fixture = Fixture::new("replication", SCHEMA).await;
    let mut neighbour = user(&fixture.server, REGISTRY).await;
    let logical =
        value(&mut fixture.admin, "SHOW wal_level").await.expect("the server answers").as_deref() == Some("logical");
    if !logical {
        eprintln!(
            "NOT TESTED: this server has not wal_level = logical, so nobody can make a logical replication slot on it"
        );
    }
    for _ in 0..2 {
        if logical {
            let sql = format!("SELECT pg_create_logical_replication_slot('{}', 'test_decoding')", free_name("slot"));
            fixture.run(&sql).await;
        }
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
        let sql = format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{}'", fixture.slot.name);
        assert_eq!(value(&mut fixture.admin, &sql).await.expect("the server answers").as_deref(), Some("0"));
    }
    if logical {
        let sql = format!("SELECT pg_create_logical_replication_slot('{}', 'test_decoding')", free_name("slot"));
        fixture.run(&sql).await;
    }
    fixture.drop().await;
    execute(&mut neighbour, "SELECT 1").await.expect("nobody touched it");
}
