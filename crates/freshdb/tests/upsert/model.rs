//! The upsert is held to a plain model of it: a map, written to row by row.

use std::collections::BTreeMap;

use freshdb::OrmEngine;
use freshdb::upsert::{RowOutcome, Upsert};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Alias, Query};
use tokio::runtime::Handle;

use crate::harness::{items, outcomes, stored_notes};

type Batch = Vec<(String, Option<String>)>;
type Model = BTreeMap<String, Option<String>>;

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let text = prop::sample::select(vec!["", "x", "X", "y", "'", "\\", "\u{e9}"]).prop_map(str::to_owned);
    let name = prop::sample::select((0..12).collect::<Vec<_>>()).prop_map(|name| format!("name {name}"));
    let batch = prop::collection::vec((name, prop::option::of(text)), 0..16);
    prop::collection::vec(batch, 1..4)
}

/// What becomes of each row.
fn upsert(model: &mut Model, batch: &Batch) -> Vec<RowOutcome> {
    let before = model.clone();
    model.extend(batch.iter().cloned());
    let outcome = |(name, _): &(String, Option<String>)| match before.get(name) {
        None => RowOutcome::Inserted,
        Some(value) if *value == model[name] => RowOutcome::Unchanged,
        Some(_) => RowOutcome::Updated,
    };
    batch.iter().map(outcome).collect()
}

async fn check(connection: &OrmEngine, batches: Vec<Batch>) -> Result<(), TestCaseError> {
    let delete = Query::delete().from_table(Alias::new("items")).take();
    connection.execute(&delete).await.expect("the table is emptied");
    let mut model = Model::new();
    for batch in batches {
        let expected = upsert(&mut model, &batch);
        let outcome =
            Upsert::into("items").key(["name"]).columns(["name", "note"]).rows(batch).execute(connection).await;
        prop_assert_eq!(outcomes(&outcome.expect("an outcome")), expected);
        let stored: Model = stored_notes(connection).await.into_iter().collect();
        prop_assert_eq!(&stored, &model);
    }
    Ok(())
}

#[freshdb::test(schema = items(), flavor = "multi_thread")]
async fn any_batches_have_the_models_outcome(connection: OrmEngine) {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let verdict = tokio::task::block_in_place(|| {
        runner.run(&batches(), |batches| Handle::current().block_on(check(&connection, batches)))
    });
    verdict.unwrap_or_else(|failure| panic!("{failure}"));
}
