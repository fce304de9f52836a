//! What an upsert is to do, checked: the table and its columns, by name and by place in a row.

use sea_orm::Value;
use sea_orm::sea_query::{DynIden, TableName};

use super::error::UpsertError;

/// The table, and what of it is read and written.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) table: TableName,
    pub(super) columns: Vec<DynIden>,
    /// Where in `columns` the key stands.
    key: Vec<usize>,
    /// Where in `columns` those stand that are updated.
    update: Vec<usize>,
    pub(super) returning: Option<DynIden>,
    /// The types of `columns`, as the server spells them, where the dialect asks for them.
    pub(super) types: Vec<String>,
}

impl Plan {
    pub(super) fn new(
        table: TableName,
        key: &[DynIden],
        columns: Vec<DynIden>,
        update: Option<Vec<DynIden>>,
        returning: Option<DynIden>,
    ) -> Result<Self, UpsertError> {
        if key.is_empty() {
            return Err(UpsertError::Columns("it has no key".into()));
        }
        for named in [Some(key), Some(&columns), update.as_deref()].into_iter().flatten() {
            if let Some(column) = repeated(named) {
                return Err(UpsertError::Columns(format!("the column `{column}` is named twice")));
            }
        }
        let place = |column: &DynIden| {
            let place = columns.iter().position(|other| other == column);
            place.ok_or_else(|| UpsertError::Columns(format!("`{column}` is not among its columns")))
        };
        let key: Vec<usize> = key.iter().map(place).collect::<Result<_, _>>()?;
        let update: Vec<usize> = match update {
            Some(update) => update.iter().map(place).collect::<Result<_, _>>()?,
            None => (0..columns.len()).filter(|place| !key.contains(place)).collect(),
        };
        if let Some(place) = update.iter().find(|place| key.contains(place)) {
            return Err(UpsertError::Columns(format!("the key column `{}` cannot be updated", columns[*place])));
        }
        Ok(Self { table, columns, key, update, returning, types: Vec::new() })
    }

    pub(super) fn key(&self) -> impl ExactSizeIterator<Item = &DynIden> {
        self.key.iter().map(|place| &self.columns[*place])
    }

    pub(super) fn update(&self) -> impl ExactSizeIterator<Item = &DynIden> {
        self.update.iter().map(|place| &self.columns[*place])
    }

    pub(super) fn key_of<'row>(&self, values: &'row [Value]) -> impl ExactSizeIterator<Item = &'row Value> {
        self.key.iter().map(|place| &values[*place])
    }

    pub(super) fn update_of<'row>(&self, values: &'row [Value]) -> impl ExactSizeIterator<Item = &'row Value> {
        self.update.iter().map(|place| &values[*place])
    }

    /// The type of a column of the key's, or further on of those that are updated, where the dialect asks for it.
    pub(super) fn type_of(&self, place: usize) -> Option<&str> {
        let place = self.key.iter().chain(&self.update).nth(place)?;
        self.types.get(*place).map(String::as_str)
    }

    /// Whether the column at this place is updated in rows that are there.
    pub(super) fn updates(&self, place: usize) -> bool {
        self.update.contains(&place)
    }

    /// Puts what `from` says of the columns that are updated into `values`.
    pub(super) fn take_update(&self, values: &mut [Value], mut from: Vec<Value>) {
        for place in &self.update {
            std::mem::swap(&mut values[*place], &mut from[*place]);
        }
    }

    /// The most parameters that any statement has for one row.
    pub(super) fn parameters_per_row(&self) -> usize {
        // The key, what is updated, that once more where a dialect compares it twice, and the row's number.
        self.columns.len().max(self.key.len() + 2 * self.update.len() + 1)
    }
}

fn repeated(columns: &[DynIden]) -> Option<&DynIden> {
    columns.iter().enumerate().find(|(place, column)| columns[..*place].contains(column)).map(|(_, column)| column)
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::{Alias, IntoIden};

    use super::*;

    fn columns(names: &[&str]) -> Vec<DynIden> {
        names.iter().map(|name| Alias::new(*name).into_iden()).collect()
    }

    #[track_caller]
    fn check(key: &[&str], all: &[&str], update: Option<&[&str]>, expected: Result<&[&str], &str>) {
        let plan = Plan::new("t".into(), &columns(key), columns(all), update.map(columns), None);
        match expected {
            Ok(expected) => {
                let plan = plan.expect("a plan");
                assert_eq!(plan.update().cloned().collect::<Vec<_>>(), columns(expected));
            }
            Err(expected) => assert_eq!(plan.expect_err("an error").to_string(), expected),
        }
    }

    #[test]
    fn columns_make_an_upsert_or_an_error() {
        check(&["a"], &["a", "b", "c"], None, Ok(&["b", "c"]));
        check(&["a"], &["a", "b", "c"], Some(&["c"]), Ok(&["c"]));
        check(&["a", "b"], &["b", "a"], None, Ok(&[]));
        check(&[], &["a"], None, Err("the upsert cannot be built: it has no key"));
        check(&["b"], &["a"], None, Err("the upsert cannot be built: `b` is not among its columns"));
        check(&["a"], &["a"], Some(&["b"]), Err("the upsert cannot be built: `b` is not among its columns"));
        check(&["a"], &["a"], Some(&["a"]), Err("the upsert cannot be built: the key column `a` cannot be updated"));
        check(&["a"], &["a", "a"], None, Err("the upsert cannot be built: the column `a` is named twice"));
    }
}
