//! Finding what was touched, by content.

use std::collections::HashMap;

use sqlx::MySqlConnection;

use super::catalog;
use super::connection::{OWN, literal, rows};
use super::look::Look;
use super::marks::Suspects;
use super::template::{Sequence, Template, sequences, with_rows};

/// What differs from the template, and can be put back: indexes of its tables.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Those that should be empty, and have rows.
    pub(super) filled: Vec<usize>,
    /// Those that have rows in the template, and may have others now.
    pub(super) suspect: Vec<usize>,
    /// Those that are written anew even if they have the template's rows again: their indexes may have entries of others.
    pub(super) stale_indexes: Vec<usize>,
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
    suspects: &Suspects,
) -> Result<Option<String>, sqlx::Error> {
    if !suspects.definitions {
        return Ok(None);
    }
    let catalog = catalog::read(connection, name).await?;
    Ok(catalog::difference(&template.catalog, &catalog))
}

/// What of the rows and counters is another one. The catalog is known to be the template's.
pub(super) async fn touched(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    suspects: &Suspects,
    look: &Look,
) -> Result<Touched, sqlx::Error> {
    let (mut suspect, empty): (Vec<usize>, Vec<usize>) =
        suspects.rows.iter().partition(|index| template.tables[**index].seeded);
    if !suspects.definitions {
        let emptied = template.emptied(connection, name, suspects).await?;
        suspect.extend(emptied);
    }
    let mut filled = match &look.filled {
        Some(filled) => filled.clone(),
        None => with_rows(connection, template, name, &empty).await?,
    };
    let mut moved = if let Some(moved) = look.marks.moved(template) {
        moved
    } else {
        let mut some = suspects.rows.clone();
        if suspects.truncated {
            // TRUNCATE sets any counter to 1.
            some.extend((0..template.tables.len()).filter(|index| template.tables[*index].counter != 1));
        }
        some.retain(|index| template.tables[*index].counts);
        moved(connection, template, name, &some).await?
    };
    // Whether rows are left, and where the counter stands, costs as much to ask as to put back.
    filled.extend(&suspects.written);
    filled.extend(suspects.stale_indexes.iter().filter(|index| !template.tables[**index].seeded));
    if template.features.truncate_is_cheaper {
        moved.extend(suspects.written.iter().filter(|index| template.tables[**index].counts));
        moved.sort_unstable();
        moved.dedup();
    }
    let sequences = moved_sequences(connection, template, name).await?;
    Ok(Touched { filled, suspect, stale_indexes: suspects.stale_indexes.clone(), moved, sequences })
}

/// Which of some tables have another AUTO_INCREMENT.
pub(super) async fn moved(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    some: &[usize],
) -> Result<Vec<usize>, sqlx::Error> {
    if some.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = some.iter().map(|index| literal(&template.tables[*index].name)).collect();
    // For several names MariaDB looks through every table, and in a list it takes those for equal that differ by case or accent alone.
    let among = if names.len() == 1 || template.features.truncate_is_cheaper {
        format!("AND table_name IN ({})", names.join(","))
    } else {
        String::new()
    };
    let sql = format!(
        "{OWN}SELECT table_name, auto_increment FROM information_schema.tables WHERE table_schema = {} {among}",
        literal(name)
    );
    let mut counters: HashMap<String, u64> = HashMap::new();
    for row in rows(connection, &sql).await? {
        let mut values = row.into_iter().flatten();
        if let (Some(table), Some(Ok(counter))) = (values.next(), values.next().map(|counter| counter.parse())) {
            counters.insert(table, counter);
        }
    }
    let mut moved = some.to_vec();
    moved.sort_unstable();
    moved.dedup();
    moved.retain(|index| {
        let table = &template.tables[*index];
        counters.get(&table.name).copied().unwrap_or(1) != table.counter
    });
    Ok(moved)
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
