//! Many at the same time.

use std::collections::HashMap;
use std::sync::Arc;

use freshdb::OrmEngine;
use freshdb::test::Lease;
use freshdb::upsert::{Outcome, RowOutcome, Upsert, UpsertError};
use sea_orm::{ConnectionTrait, IsolationLevel, TransactionTrait};
use test_support::eventually;
use tokio::sync::Barrier;

use crate::harness::{counts, elsewhere, isolates_snapshots, items, note, notes, stored_notes};

/// Has MariaDB's transactions write to rows that others have written since, or not; and says whether it can be told so.
async fn isolate_snapshots(connection: &impl ConnectionTrait, isolates: bool) -> bool {
    let can_be_told = isolates_snapshots(connection).await.is_some();
    if can_be_told {
        let sql = format!("SET SESSION innodb_snapshot_isolation = {}", if isolates { "ON" } else { "OFF" });
        connection.execute_unprepared(&sql).await.expect("it is set");
    }
    can_be_told
}

/// What the second of two comes to that upsert the same. Where snapshots are isolated it has to begin anew, as it has begun to read before the first
/// was committed.
async fn second<T: Clone + Send>(connection: &OrmEngine, upsert: Upsert<T>) -> Outcome<T> {
    let outcome = upsert.clone().execute(connection).await;
    match outcome {
        Err(error) if isolates_snapshots(connection).await == Some(true) => {
            assert!(error.is_conflict(), "{error:?}");
            upsert.execute(connection).await.expect("an outcome")
        }
        outcome => outcome.expect("an outcome"),
    }
}

const WRITERS: usize = 8;
const ROUNDS: usize = 6;
const KEYS_OF_A_ROUND: usize = 30;

/// Upserts twenty of a round's thirty names, in an order of its own, until it is not in another's way.
async fn write(connection: &OrmEngine, round: usize, writer: usize) -> Vec<(String, RowOutcome)> {
    let name = |key: usize| format!("round {round} key {}", (writer * 7 + key * 11) % KEYS_OF_A_ROUND);
    let names: Vec<String> = (0..20).map(name).collect();
    let value = format!("by {writer}");
    loop {
        let upsert = notes(names.iter().map(|name| (name.as_str(), Some(value.as_str()))));
        match upsert.execute(connection).await {
            Ok(outcome) => {
                let rows = outcome.rows().iter().map(|row| row.outcome);
                return names.into_iter().zip(rows).collect();
            }
            Err(error) => assert!(error.is_conflict(), "{error:?}"),
        }
    }
}

#[freshdb::test(schema = items(), flavor = "multi_thread")]
async fn each_key_is_inserted_once_and_no_update_is_lost(connection: OrmEngine) {
    let barrier = Arc::new(Barrier::new(WRITERS));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (connection, barrier) = (connection.clone(), barrier.clone());
            tokio::spawn(async move {
                let mut written = Vec::new();
                for round in 0..ROUNDS {
                    barrier.wait().await;
                    written.extend(write(&connection, round, writer).await);
                }
                written
            })
        })
        .collect();
    let mut outcomes: HashMap<String, Vec<(usize, RowOutcome)>> = HashMap::new();
    for (writer, task) in writers.into_iter().enumerate() {
        for (name, outcome) in task.await.expect("the writer ends") {
            outcomes.entry(name).or_default().push((writer, outcome));
        }
    }
    let stored = stored_notes(&connection).await;
    assert_eq!(stored.len(), outcomes.len());
    for (name, value) in stored {
        let outcomes = &outcomes[&name];
        let count = |which| outcomes.iter().filter(|(_, outcome)| *outcome == which).count();
        let context = format!("{name}: {outcomes:?}");
        assert_eq!(count(RowOutcome::Inserted), 1, "{context}");
        // Every writer's value is another than that of the one before it.
        assert_eq!(count(RowOutcome::Updated), outcomes.len() - 1, "{context}");
        let value = value.expect("a value");
        assert!(outcomes.iter().any(|(writer, _)| value == format!("by {writer}")), "{context}: {value}");
    }
}

/// Two that wait for each other cannot both go on. SQLite lets the second wait before it has anything.
#[freshdb::test(schema = items(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn a_deadlock_is_a_conflict_and_the_connection_goes_on(connection: OrmEngine) {
    notes([("a", None), ("b", None)]).execute(&connection).await.expect("an outcome");
    let barrier = Arc::new(Barrier::new(2));
    let cross = |first: &'static str, second: &'static str| {
        let (connection, barrier) = (connection.clone(), barrier.clone());
        tokio::spawn(async move {
            let transaction = connection.begin().await.expect("a transaction");
            notes([(first, Some(first))]).execute(&transaction).await.expect("an outcome");
            barrier.wait().await;
            match notes([(second, Some(first))]).execute(&transaction).await {
                Ok(_) => transaction.commit().await.map_err(UpsertError::Database),
                Err(error) => {
                    // MySQL and MariaDB have rolled all of it back themselves, the savepoint too.
                    transaction.rollback().await.expect("it rolls back");
                    Err(error)
                }
            }
        })
    };
    let (one, other) = tokio::join!(cross("a", "b"), cross("b", "a"));
    let failed: Vec<_> = [one.expect("it ends"), other.expect("it ends")].into_iter().filter_map(Result::err).collect();
    let [error] = failed.as_slice() else { panic!("one of two fails: {failed:?}") };
    assert!(error.is_conflict(), "{error:?}");
    // Every connection of the pool is as good as new, and none is in a transaction.
    for round in 0..16 {
        let round = round.to_string();
        let outcome = notes([("a", Some(round.as_str()))]).execute(&connection).await.expect("an outcome");
        assert_eq!(counts(&outcome), [0, 1, 0]);
    }
    let stored = stored_notes(&connection).await;
    assert_eq!(stored[0], note("a", Some("15")));
}

/// What others have committed since is seen, and not what the transaction saw first.
#[freshdb::test(schema = items(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn a_row_that_another_has_inserted_meanwhile_is_updated(connection: OrmEngine) {
    let transaction = connection.begin().await.expect("a transaction");
    isolate_snapshots(&transaction, false).await;
    assert_eq!(stored_notes(&transaction).await, [], "on MySQL and MariaDB, this is what it goes on seeing");
    notes([("a", Some("theirs")), ("b", Some("same"))]).execute(&connection).await.expect("an outcome");
    let upsert = notes([("a", Some("mine")), ("b", Some("same")), ("c", None)]);
    let outcome = upsert.execute(&transaction).await.expect("an outcome");
    assert_eq!(counts(&outcome), [1, 1, 1]);
    transaction.commit().await.expect("a commit");
    let mut stored = stored_notes(&connection).await;
    stored.sort();
    assert_eq!(stored, [note("a", Some("mine")), note("b", Some("same")), note("c", None)]);
}

/// The second waits for the first, and finds that there is nothing left to do. (SQLite lets the second wait before it has
/// begun.)
#[freshdb::test(schema = items(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn of_two_that_write_the_same_at_once_one_has_and_one_has_not(connection: OrmEngine, lease: Lease) {
    notes([("old", Some("old"))]).execute(&connection).await.expect("an outcome");
    let rows = || notes([("new", Some("new")), ("old", Some("new"))]).returning::<i64>("id");

    let first = connection.begin().await.expect("a transaction");
    let one = rows().execute(&first).await.expect("an outcome");
    let second = tokio::spawn({
        let connection = connection.clone();
        async move { second(&connection, rows()).await }
    });
    eventually("the second waits", async || elsewhere(&lease).waiting_transactions().await == 1).await;
    first.commit().await.expect("a commit");
    let other = second.await.expect("it ends");

    assert_eq!((counts(&one), counts(&other)), ([1, 1, 0], [0, 0, 2]));
    let ids = |outcome: &Outcome<i64>| outcome.rows().iter().map(|row| row.returned).collect::<Vec<_>>();
    assert_eq!(ids(&one), ids(&other));
}

#[freshdb::test(schema = items(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn the_second_of_two_that_update_one_row_says_what_it_has_changed(connection: OrmEngine, lease: Lease) {
    notes([("a", Some("old"))]).execute(&connection).await.expect("an outcome");
    // Beside what the row had when the second began, the first is a change and the second none; or the other way round.
    for (begun, one, other, expected) in [("old", "new", "new", [0, 0, 1]), ("new", "old", "new", [0, 1, 0])] {
        assert_eq!(stored_notes(&connection).await, [note("a", Some(begun))]);
        let first = connection.begin().await.expect("a transaction");
        notes([("a", Some(one))]).execute(&first).await.expect("an outcome");
        let second = tokio::spawn({
            let connection = connection.clone();
            async move { second(&connection, notes([("a", Some(other))])).await }
        });
        eventually("the second waits", async || elsewhere(&lease).waiting_transactions().await == 1).await;
        first.commit().await.expect("a commit");
        let outcome = second.await.expect("it ends");
        assert_eq!(counts(&outcome), expected, "{one}, then {other}");
        assert_eq!(stored_notes(&connection).await, [note("a", Some(other))]);
    }
}

#[freshdb::test(schema = items(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn a_row_that_another_has_deleted_meanwhile_is_inserted(connection: OrmEngine, lease: Lease) {
    notes([("a", Some("old"))]).execute(&connection).await.expect("an outcome");
    let transaction = connection.begin().await.expect("a transaction");
    assert_eq!(stored_notes(&transaction).await.len(), 1, "on MySQL and MariaDB, it goes on seeing the row");
    elsewhere(&lease).execute("DELETE FROM items").await;
    let outcome = notes([("a", Some("new")), ("b", None)]).execute(&transaction).await.expect("an outcome");
    assert_eq!(counts(&outcome), [2, 0, 0]);
    transaction.commit().await.expect("a commit");
    assert_eq!(stored_notes(&connection).await.len(), 2);
}

/// PostgreSQL does not let a transaction see what it began before, once it has asked to see nothing new.
#[freshdb::test(schema = items(), on = [postgres], flavor = "multi_thread")]
async fn under_repeatable_read_what_another_has_done_is_a_conflict(connection: OrmEngine) {
    notes([("a", Some("old"))]).execute(&connection).await.expect("an outcome");
    let isolation = Some(IsolationLevel::RepeatableRead);
    for (name, value) in [("a", "theirs"), ("new", "theirs")] {
        let transaction = connection.begin_with_config(isolation, None).await.expect("a transaction");
        stored_notes(&transaction).await;
        notes([(name, Some(value))]).execute(&connection).await.expect("an outcome");
        let error = notes([(name, Some("mine"))]).execute(&transaction).await.expect_err("an error");
        assert!(error.is_conflict(), "{name}: {error:?}");
        transaction.rollback().await.expect("a rollback");
    }
}

/// MariaDB's snapshots, by its default from 11.6.2 on. All of the transaction is rolled back.
#[freshdb::test(schema = items(), on = [mariadb], flavor = "multi_thread")]
async fn where_snapshots_are_isolated_what_another_has_done_is_a_conflict(connection: OrmEngine) {
    notes([("a", Some("old"))]).execute(&connection).await.expect("an outcome");
    for (name, value) in [("a", "theirs"), ("new", "theirs")] {
        let transaction = connection.begin().await.expect("a transaction");
        if !isolate_snapshots(&transaction, true).await {
            test_support::say("this MariaDB isolates no snapshots: those of 10.6.18, 10.11.8 and later do");
            return transaction.rollback().await.expect("a rollback");
        }
        notes([("mine", None)]).execute(&transaction).await.expect("an outcome");
        stored_notes(&transaction).await;
        notes([(name, Some(value))]).execute(&connection).await.expect("an outcome");
        let error = notes([(name, Some("mine"))]).execute(&transaction).await.expect_err("an error");
        assert!(error.is_conflict(), "{name}: {error:?}");
        transaction.rollback().await.expect("a rollback");
        let stored = stored_notes(&connection).await;
        assert!(stored.contains(&note(name, Some(value))) && !stored.contains(&note("mine", None)), "{stored:?}");
    }
}
