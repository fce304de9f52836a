//! Finding what was touched, by content.

use std::collections::HashMap;

use sqlx::MySqlConnection;

use super::catalog;
use super::connection::{literal, rows};
use super::template::{Sequence, Template, sequences, with_rows};

/// What differs from the template, and can be put back: indexes of its tables.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Those that should be empty, and have rows.
    pub(super) filled: Vec<usize>,
    /// Those that have rows in the template, and may have others now.
    pub(super) suspect: Vec<usize>,
    /// Those whose AUTO_INCREMENT is another one.
    pub(super) moved: Vec<usize>,
    /// Indexes of the template's sequences.
    pub(super) sequences: Vec<usize>,
}

impl Touched {
    pub(super) fn is_empty(&self) -> bool {
        self.filled.is_empty() && self.suspect.is_empty() && self.moved.is_empty() && self.sequences.is_empty()
    }
}

/// What of the catalog is another one, if anything is.
pub(super) async fn altered(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
    let catalog = catalog::read(connection, name).await?;
    Ok(catalog::difference(&template.catalog, &catalog))
}

/// What of the rows and counters is another one. The catalog is known to be the template's.
pub(super) async fn touched(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
) -> Result<Touched, sqlx::Error> {
    let empty: Vec<usize> = indexes(template, |index| !template.tables[index].seeded);
    Ok(Touched {
        filled: with_rows(connection, name, &template.tables, &empty).await?,
        suspect: indexes(template, |index| template.tables[index].seeded),
        moved: moved(connection, template, name).await?,
        sequences: moved_sequences(connection, template, name).await?,
    })
}

fn indexes(template: &Template, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..template.tables.len()).filter(|index| wanted(*index)).collect()
}

/// The tables whose AUTO_INCREMENT is another one.
pub(super) async fn moved(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
) -> Result<Vec<usize>, sqlx::Error> {
    let sql = format!(
        "SELECT table_name, auto_increment FROM information_schema.tables WHERE table_schema = {} AND auto_increment IS NOT NULL",
        literal(name)
    );
    let mut counters: HashMap<String, u64> = HashMap::new();
    for row in rows(connection, &sql).await? {
        let mut values = row.into_iter().flatten();
        if let (Some(table), Some(Ok(counter))) = (values.next(), values.next().map(|counter| counter.parse())) {
            counters.insert(table, counter);
        }
    }
    Ok(indexes(template, |index| {
        let table = &template.tables[index];
        counters.get(&table.name).copied().unwrap_or(1) != table.counter
    }))
}

pub(super) async fn moved_sequences(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
) -> Result<Vec<usize>, sqlx::Error> {
    let names = template.sequences.iter().map(|sequence| sequence.name.clone()).collect();
    let now: Vec<Sequence> = sequences(connection, name, names).await?;
    Ok((0..now.len()).filter(|index| now[*index].row != template.sequences[*index].row).collect())
}
