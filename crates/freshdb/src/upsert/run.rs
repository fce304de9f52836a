//! How a batch is carried out: chunk by chunk, each key inserted or found, and those found updated.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::{ConnectionTrait, DbErr, QueryResult, TryGetable};

use super::batch::Row;
use super::dialect::{self, Dialect, Find, Given, Insert};
use super::error::{UpsertError, is_unique_violation};
use super::outcome::{RowOutcome, UpsertedRow};
use super::plan::Plan;

/// Reads the column to return.
pub(super) type Read<T> = fn(&QueryResult, usize) -> Result<T, DbErr>;

/// How often a row that others delete is looked for, and inserted again.
const ROUNDS: usize = 10;

/// An upsert under way.
pub(super) struct Run<'run, C, T> {
    pub(super) connection: &'run C,
    pub(super) dialect: &'run dyn Dialect,
    pub(super) plan: Plan,
    pub(super) read: Read<T>,
}

/// Values as the dialect writes them out.
type Texts = Vec<Option<String>>;

/// A row as it is stored.
struct Stored<T> {
    key: Texts,
    contents: Texts,
    differs: bool,
    returned: T,
}

/// What inserting did.
#[derive(Default)]
struct Inserted {
    rows: Vec<usize>,
    /// In the server's words, rows that have some unique key in common with one that is there.
    refused: HashMap<usize, DbErr>,
}

impl<C: ConnectionTrait, T: Send> Run<'_, C, T> {
    /// Each row's outcome, in the order of `rows`.
    pub(super) async fn run(&mut self, rows: &[Row]) -> Result<Vec<UpsertedRow<T>>, UpsertError> {
        if let Some(types) = self.dialect.types(&self.plan) {
            let types = self.connection.query_one(&types).await.map_err(UpsertError::Database)?;
            let count = self.plan.columns.len();
            let names = types.iter().flat_map(|row| (0..count).map(|index| row.try_get_by_index(index)));
            self.plan.types = names.collect::<Result<_, _>>().map_err(UpsertError::Database)?;
        }
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut keys: HashMap<Texts, usize> = HashMap::with_capacity(rows.len());
        for chunk in dialect::chunks(self.dialect, &self.plan, rows) {
            for (row, (key, outcome)) in chunk.iter().zip(self.chunk(chunk).await?) {
                if let Some(other) = keys.insert(key, row.number()) {
                    return Err(UpsertError::EqualKeys {
                        row: row.number().min(other),
                        other: row.number().max(other),
                    });
                }
                outcomes.push(outcome);
            }
        }
        Ok(outcomes)
    }

    /// The key of each row, as the database has it, and its outcome.
    async fn chunk(&self, rows: &[Row]) -> Result<Vec<(Texts, UpsertedRow<T>)>, UpsertError> {
        let (inserted, mut found) = self.insert_or_find(rows).await?;
        let differing: Vec<usize> = found.iter().filter(|(_, row)| row.differs).map(|(number, _)| *number).collect();
        if !differing.is_empty() {
            for update in self.dialect.update(&self.plan, &given(rows, &differing)) {
                self.connection.execute(&update).await.map_err(UpsertError::storing)?;
            }
        }
        let mut written = self.find(rows, &[inserted, differing].concat()).await?;
        let outcome = |(number, row): (usize, &Row)| {
            let (outcome, stored) = match (found.remove(&number), written.remove(&number)) {
                (None, Some(stored)) => (RowOutcome::Inserted, stored),
                (Some(stored), None) if !stored.differs => (RowOutcome::Unchanged, stored),
                // That it differed was a guess on the safe side: what is stored now tells.
                (Some(before), Some(stored)) if before.contents == stored.contents => (RowOutcome::Unchanged, stored),
                (Some(_), Some(stored)) => (RowOutcome::Updated, stored),
                (_, None) => return Err(UpsertError::NotFound { row: row.number() }),
            };
            Ok((stored.key, UpsertedRow { outcome, returned: stored.returned }))
        };
        rows.iter().enumerate().map(outcome).collect()
    }

    /// Inserts the rows that are missing, and locks and reads the others.
    async fn insert_or_find(&self, rows: &[Row]) -> Result<(Vec<usize>, BTreeMap<usize, Stored<T>>), UpsertError> {
        let all: Vec<usize> = (0..rows.len()).collect();
        let present = self.dialect.find(&self.plan, &given(rows, &all), Find::Numbers);
        let present = self.connection.query_all(&present).await.map_err(UpsertError::Database)?;
        let present = present.iter().map(number).collect::<Result<HashSet<_>, _>>().map_err(UpsertError::Database)?;
        let (mut waiting, mut missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|row| present.contains(row));
        let (mut inserted, mut found) = (Vec::new(), BTreeMap::new());
        for _ in 0..ROUNDS {
            let mut these = self.insert(rows, &missing).await?;
            let known: HashSet<usize> = these.rows.iter().copied().collect();
            waiting.extend(missing.drain(..).filter(|row| !known.contains(row)));
            inserted.append(&mut these.rows);
            // In the order in which everybody locks them.
            waiting.sort_unstable();
            let mut stored = self.find(rows, &waiting).await?;
            for row in waiting.drain(..) {
                match (stored.remove(&row), these.refused.remove(&row)) {
                    (Some(stored), _) => drop(found.insert(row, stored)),
                    (None, Some(error)) => return Err(UpsertError::AnotherKey(error)),
                    (None, None) => missing.push(row),
                }
            }
            if missing.is_empty() {
                return Ok((inserted, found));
            }
        }
        Err(UpsertError::NotFound { row: missing.first().map_or(0, |row| rows[*row].number()) })
    }

    async fn insert(&self, rows: &[Row], missing: &[usize]) -> Result<Inserted, UpsertError> {
        let mut inserted = Inserted::default();
        // Parts of `missing`, the first on top.
        let mut parts = vec![missing];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.dialect.insert(&self.plan, &given(rows, part)) {
                Insert::LeavesOut(insert) => {
                    let keys = self.connection.query_all(&insert).await.map_err(UpsertError::storing)?;
                    inserted.rows.extend(self.rows_of_keys(rows, part, &keys).await?);
                }
                Insert::Refuses(insert) => match (self.connection.execute(&insert).await, part) {
                    (Ok(_), part) => inserted.rows.extend(part),
                    (Err(error), _) if !is_unique_violation(&error) => return Err(UpsertError::Database(error)),
                    (Err(error), [row]) => drop(inserted.refused.insert(*row, error)),
                    (Err(_), part) => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
            }
        }
        Ok(inserted)
    }

    /// Those of `part` whose keys these are.
    async fn rows_of_keys(
        &self,
        rows: &[Row],
        part: &[usize],
        keys: &[QueryResult],
    ) -> Result<Vec<usize>, UpsertError> {
        if keys.len() == part.len() {
            return Ok(part.to_vec());
        }
        let keys = keys.iter().map(|row| texts(row, 0, self.plan.key().len()));
        let keys = keys.collect::<Result<HashSet<_>, _>>().map_err(UpsertError::Database)?;
        let stored = self.find(rows, part).await?;
        Ok(stored.into_iter().filter(|(_, stored)| keys.contains(&stored.key)).map(|(row, _)| row).collect())
    }

    async fn find(&self, rows: &[Row], which: &[usize]) -> Result<BTreeMap<usize, Stored<T>>, UpsertError> {
        let mut found = BTreeMap::new();
        if which.is_empty() {
            return Ok(found);
        }
        let find = self.dialect.find(&self.plan, &given(rows, which), Find::Rows);
        for row in self.connection.query_all(&find).await.map_err(UpsertError::Database)? {
            let (number, stored) = self.stored(&row).map_err(UpsertError::Database)?;
            if found.insert(number, stored).is_some() {
                return Err(UpsertError::NotUnique { row: rows[number].number() });
            }
        }
        Ok(found)
    }

    /// The columns of [`Find::Rows`].
    fn stored(&self, row: &QueryResult) -> Result<(usize, Stored<T>), DbErr> {
        let (key, update) = (self.plan.key().len(), self.plan.update().len());
        let stored = Stored {
            differs: row.try_get_by_index(1)?,
            key: texts(row, 2, key)?,
            contents: texts(row, 2 + key, update)?,
            returned: (self.read)(row, 2 + key + update)?,
        };
        Ok((number(row)?, stored))
    }
}

fn given<'row>(rows: &'row [Row], which: &[usize]) -> Vec<Given<'row>> {
    which.iter().map(|row| (*row, rows[*row].values.as_slice())).collect()
}

fn number(row: &QueryResult) -> Result<usize, DbErr> {
    let number: i64 = row.try_get_by_index(0)?;
    usize::try_from(number).map_err(|_| DbErr::Type(format!("{number} is not the number of a row")))
}

fn texts(row: &QueryResult, from: usize, count: usize) -> Result<Texts, DbErr> {
    (from..from + count).map(|index| row.try_get_by_index(index)).collect()
}

/// The column to return, as a `T`.
pub(super) fn read<T: TryGetable>(row: &QueryResult, index: usize) -> Result<T, DbErr> {
    row.try_get_by_index(index)
}
