//! From the rows as they came to each key once, in the order of keys.

use std::collections::BTreeMap;

use sea_orm::Value;

use super::error::UpsertError;
use super::plan::Plan;

/// A key of the batch, and what the last row that has it says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// One for each column.
    pub(super) values: Vec<Value>,
    /// The rows of the input that have the key, in their order.
    pub(super) inputs: Vec<usize>,
}

impl Row {
    /// The first row of the input that has the key.
    pub(super) fn number(&self) -> usize {
        self.inputs.first().copied().unwrap_or_default()
    }

    /// About how many bytes its values are.
    pub(super) fn bytes(&self) -> usize {
        self.values.iter().map(bytes).sum()
    }
}

/// Folds rows of one key into one, as if they had been posted one after another, and puts them in an order that is the same
/// in every batch: two transactions that lock the rows they share in one order do not wait for each other in a circle.
///
/// Which order is of no importance. Values have none of their own, but each writes itself differently for debugging.
pub(super) fn fold(plan: &Plan, rows: Vec<Vec<Value>>) -> Result<Vec<Row>, UpsertError> {
    let mut keys: BTreeMap<String, Row> = BTreeMap::new();
    for (number, values) in rows.into_iter().enumerate() {
        if values.len() != plan.columns.len() {
            return Err(UpsertError::RowLength { row: number, expected: plan.columns.len(), found: values.len() });
        }
        for (column, value) in plan.key().zip(plan.key_of(&values)) {
            if is_null(value) {
                return Err(UpsertError::NullKey { row: number, column: column.to_string() });
            }
        }
        let key = format!("{:?}", plan.key_of(&values).collect::<Vec<_>>());
        match keys.get_mut(&key) {
            Some(row) => {
                // A column that is not updated keeps what the first row has inserted it with.
                plan.take_update(&mut row.values, values);
                row.inputs.push(number);
            }
            None => {
                keys.insert(key, Row { values, inputs: vec![number] });
            }
        }
    }
    Ok(keys.into_values().collect())
}

/// Refuses whole numbers that only MySQL and MariaDB have: sea-query panics where it would hand them to another driver.
pub(super) fn check_signed(plan: &Plan, rows: &[Row]) -> Result<(), UpsertError> {
    for row in rows {
        if let Some(place) = row.values.iter().position(is_too_large) {
            let number = if plan.updates(place) { row.inputs.last() } else { row.inputs.first() };
            let (row, column) = (number.copied().unwrap_or_default(), plan.columns[place].to_string());
            return Err(UpsertError::TooLarge { row, column });
        }
    }
    Ok(())
}

fn is_too_large(value: &Value) -> bool {
    match value {
        Value::BigUnsigned(Some(number)) => i64::try_from(*number).is_err(),
        #[cfg(feature = "postgres")]
        Value::Array(_, Some(values)) => values.iter().any(is_too_large),
        _ => false,
    }
}

fn bytes(value: &Value) -> usize {
    match value {
        Value::String(Some(text)) => text.len(),
        Value::Bytes(Some(bytes)) => bytes.len(),
        // Of a document or an array, that is longer than what is sent.
        value => format!("{value:?}").len(),
    }
}

fn is_null(value: &Value) -> bool {
    *value == value.as_null()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sea_orm::sea_query::{Alias, DynIden, IntoIden};

    use super::*;

    fn plan(update: &[&'static str]) -> Plan {
        let names = |names: &[&'static str]| names.iter().map(|name| Alias::new(*name).into_iden()).collect();
        let key: Vec<DynIden> = names(&["k"]);
        Plan::new("t".into(), &key, names(&["k", "a", "b"]), Some(names(update)), None).expect("a plan")
    }

    fn row(key: i32, a: i32, b: i32) -> Vec<Value> {
        vec![key.into(), a.into(), b.into()]
    }

    #[test]
    fn the_last_row_of_a_key_wins_in_what_is_updated_and_the_first_in_what_is_not() {
        let folded = fold(&plan(&["a"]), vec![row(2, 1, 1), row(1, 2, 2), row(2, 3, 3)]).expect("rows");
        let expected =
            [Row { values: row(1, 2, 2), inputs: vec![1] }, Row { values: row(2, 3, 1), inputs: vec![0, 2] }];
        assert_eq!(folded, expected);
    }

    #[test]
    fn a_row_that_is_none_is_named() {
        let plan = plan(&["a", "b"]);
        let short = fold(&plan, vec![row(1, 1, 1), vec![1.into()]]).expect_err("an error");
        assert_eq!(short.to_string(), "row 1 has 1 values for 3 columns");
        let null = vec![Value::Int(None), 1.into(), Value::Int(None)];
        let null = fold(&plan, vec![row(1, 1, 1), null]).expect_err("an error");
        assert_eq!(null.to_string(), "row 1 has NULL in the key column `k`");
    }

    proptest! {
        #[test]
        fn every_row_of_the_input_is_in_one_key_and_the_order_of_keys_is_not_the_inputs(
            keys in prop::collection::vec(0..20, 0..40),
        ) {
            let rows = |keys: &[i32]| keys.iter().map(|key| row(*key, 0, 0)).collect::<Vec<_>>();
            let folded = fold(&plan(&["a"]), rows(&keys)).expect("rows");
            let mut inputs: Vec<usize> = folded.iter().flat_map(|row| row.inputs.clone()).collect();
            inputs.sort_unstable();
            prop_assert_eq!(inputs, (0..keys.len()).collect::<Vec<_>>());
            let reversed: Vec<i32> = keys.iter().rev().copied().collect();
            let again = fold(&plan(&["a"]), rows(&reversed)).expect("rows");
            let values = |rows: &[Row]| rows.iter().map(|row| row.values.clone()).collect::<Vec<_>>();
            prop_assert_eq!(values(&folded), values(&again));
        }
    }
}
