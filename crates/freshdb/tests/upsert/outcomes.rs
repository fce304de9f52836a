//! What became of each row, and what is stored.

use freshdb::OrmEngine;
use freshdb::upsert::RowOutcome::{Inserted, Unchanged, Updated};
use freshdb::upsert::{Upsert, UpsertError};
use sea_orm::sea_query::{Alias, Query, ValueTuple};
use sea_orm::{ConnectionTrait, Value};

use crate::harness::{counts, items, note, notes, outcomes, stored_notes};

#[freshdb::test(schema = items())]
async fn rows_are_inserted_updated_or_unchanged(connection: OrmEngine) {
    let outcome = notes([("b", Some("1")), ("a", None)]).execute(&connection).await.expect("an outcome");
    assert_eq!((outcomes(&outcome), counts(&outcome)), (vec![Inserted, Inserted], [2, 0, 0]));

    let rows = [("c", Some("3")), ("b", Some("2")), ("a", None)];
    let outcome = notes(rows).execute(&connection).await.expect("an outcome");
    assert_eq!((outcomes(&outcome), counts(&outcome)), (vec![Inserted, Updated, Unchanged], [1, 1, 1]));

    let mut stored = stored_notes(&connection).await;
    stored.sort();
    assert_eq!(stored, [note("a", None), note("b", Some("2")), note("c", Some("3"))]);
}

#[freshdb::test(schema = items())]
async fn the_generated_key_of_each_row_is_returned(connection: OrmEngine) {
    let ids = async |names: [&'static str; 3]| {
        let upsert = notes(names.map(|name| (name, Some("n")))).returning::<i64>("id");
        let outcome = upsert.execute(&connection).await.expect("an outcome");
        outcome.rows().iter().map(|row| row.returned).collect::<Vec<_>>()
    };
    let first = ids(["b", "a", "b"]).await;
    assert_eq!(first[0], first[2], "rows of one key have one number");
    assert_ne!(first[0], first[1]);
    let second = ids(["a", "c", "b"]).await;
    assert_eq!((second[0], second[2]), (first[1], first[0]), "rows that were there keep theirs");
    let mut select = Query::select();
    select
        .column(Alias::new("id"))
        .from(Alias::new("items"))
        .and_where(sea_orm::sea_query::ExprTrait::eq(sea_orm::sea_query::Expr::col(Alias::new("name")), "c"));
    let stored = connection.query_one(&select).await.expect("an answer").expect("a row");
    assert_eq!(second[1], stored.try_get_by_index::<i64>(0).expect("a number"));
}

#[freshdb::test(schema = items())]
async fn rows_of_one_key_count_as_if_posted_one_after_another(connection: OrmEngine) {
    notes([("old", Some("0")), ("same", Some("0"))]).execute(&connection).await.expect("an outcome");
    let rows = [
        ("new", Some("1")),
        ("old", Some("1")),
        ("same", Some("1")),
        ("new", None),
        ("same", Some("0")),
        ("old", Some("2")),
        ("new", Some("3")),
    ];
    let outcome = notes(rows).execute(&connection).await.expect("an outcome");
    let expected = vec![Inserted, Updated, Unchanged, Inserted, Unchanged, Updated, Inserted];
    assert_eq!((outcomes(&outcome), counts(&outcome)), (expected, [1, 1, 1]));
    let mut stored = stored_notes(&connection).await;
    stored.sort();
    assert_eq!(stored, [note("new", Some("3")), note("old", Some("2")), note("same", Some("0"))]);
}

#[freshdb::test(schema = items())]
async fn columns_that_are_not_updated_stay_and_are_inserted(connection: OrmEngine) {
    let upsert = |code: i32, note: &'static str, update: &'static [&'static str]| {
        let upsert = Upsert::into("items").key(["name"]).columns(["code", "name", "note"]);
        upsert.update(update.iter().copied()).returning::<i32>("code").rows([(code, "n", note)])
    };
    let outcome = upsert(1, "first", &["note"]).execute(&connection).await.expect("an outcome");
    assert_eq!((outcomes(&outcome), outcome.rows()[0].returned), (vec![Inserted], 1));
    let outcome = upsert(2, "second", &["note"]).execute(&connection).await.expect("an outcome");
    assert_eq!((outcomes(&outcome), outcome.rows()[0].returned), (vec![Updated], 1));
    assert_eq!(stored_notes(&connection).await, [note("n", Some("second"))]);
    let outcome = upsert(3, "third", &[]).execute(&connection).await.expect("an outcome");
    assert_eq!((outcomes(&outcome), outcome.rows()[0].returned), (vec![Unchanged], 1));
    assert_eq!(stored_notes(&connection).await, [note("n", Some("second"))]);
}

#[freshdb::test(schema = items())]
async fn no_rows_are_no_work(connection: OrmEngine) {
    let outcome = notes([]).execute(&connection).await.expect("an outcome");
    assert_eq!((outcome.rows().len(), counts(&outcome)), (0, [0, 0, 0]));
}

/// 72 000 values: more than a statement of any of the engines takes.
#[freshdb::test(schema = items())]
async fn a_batch_may_have_any_number_of_rows(connection: OrmEngine) {
    const ROWS: i32 = 24_000;
    let upsert = |step: i32| {
        let upsert = Upsert::into("items").key(["name"]).columns(["name", "code", "note"]).returning::<i32>("code");
        let rows = (0..ROWS).map(|row| (format!("name {row}"), row, if row % step == 0 { "changes" } else { "stays" }));
        upsert.rows(rows)
    };
    let outcome = upsert(ROWS).execute(&connection).await.expect("an outcome");
    assert_eq!(counts(&outcome), [24_000, 0, 0]);
    assert!(outcome.rows().iter().zip(0..).all(|(row, code)| row.returned == code), "in the order of the input");
    let outcome = upsert(100).execute(&connection).await.expect("an outcome");
    assert_eq!(counts(&outcome), [0, 239, 23_761]);
    let expected = |row| if row % 100 == 0 && row != 0 { Updated } else { Unchanged };
    assert!(outcome.rows().iter().zip(0..ROWS).all(|(row, number)| row.outcome == expected(number)));
    assert_eq!(stored_notes(&connection).await.len(), 24_000);
}

#[freshdb::test(schema = items())]
async fn a_row_that_is_no_row_is_an_error_and_nothing_is_stored(connection: OrmEngine) {
    let short = Upsert::into("items").key(["name"]).columns(["name", "note"]);
    let short = short.rows([ValueTuple::Many(vec!["a".into(), "n".into()]), ValueTuple::Many(vec!["b".into()])]);
    let error = short.execute(&connection).await.expect_err("an error");
    assert_eq!(error.to_string(), "row 1 has 1 values for 2 columns");

    let null = Upsert::into("items").key(["name"]).columns(["name", "note"]);
    let null = null.rows([(Value::from("a"), "n"), (Value::String(None), "n")]);
    let error = null.execute(&connection).await.expect_err("an error");
    assert_eq!(error.to_string(), "row 1 has NULL in the key column `name`");
    assert_eq!(stored_notes(&connection).await, []);
}

/// MySQL's own upsert would take the row that has the code for the one that is meant.
#[freshdb::test(schema = items())]
async fn a_conflict_with_another_unique_key_is_an_error(connection: OrmEngine) {
    let upsert =
        |rows: Vec<(&'static str, i32)>| Upsert::into("items").key(["name"]).columns(["name", "code"]).rows(rows);
    upsert(vec![("one", 1), ("two", 2)]).execute(&connection).await.expect("an outcome");

    for rows in [vec![("none", 0), ("three", 1)], vec![("none", 0), ("two", 1)], vec![("none", 5), ("other", 5)]] {
        let what = format!("{rows:?}");
        let error = upsert(rows).execute(&connection).await.expect_err(&what);
        assert!(matches!(error, UpsertError::AnotherKey(_)), "{what}: {error:?}");
        assert_eq!(error.to_string(), "a row conflicts with another unique key than the one named");
        let names: Vec<_> = stored_notes(&connection).await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["one", "two"], "{what}");
    }
}

#[freshdb::test(schema = items())]
async fn a_batch_that_fails_leaves_the_callers_transaction_as_it_was(connection: OrmEngine) {
    let transaction = connection.begin().await.expect("a transaction");
    notes([("kept", None)]).execute(&transaction).await.expect("an outcome");
    let upsert = Upsert::into("items").key(["name"]).columns(["name", "code"]).rows([("x", 1), ("y", 1)]);
    upsert.execute(&transaction).await.expect_err("an error");
    notes([("kept too", None)]).execute(&transaction).await.expect("an outcome");
    transaction.commit().await.expect("a commit");
    assert_eq!(stored_notes(&connection).await, [note("kept", None), note("kept too", None)]);
}

#[freshdb::test(schema = items())]
async fn what_the_caller_rolls_back_was_not_upserted(connection: OrmEngine) {
    let transaction = connection.begin().await.expect("a transaction");
    notes([("gone", None)]).execute(&transaction).await.expect("an outcome");
    transaction.rollback().await.expect("a rollback");
    assert_eq!(stored_notes(&connection).await, []);
}
