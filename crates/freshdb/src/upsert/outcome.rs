//! What became of the rows.

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowOutcome {
    /// Its key was not in the table before.
    Inserted,
    /// Its key was there, and a column that the upsert updates has another value now.
    Updated,
    /// Its key was there, and nothing of what the upsert updates has changed.
    Unchanged,
}

/// One row of the input, afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpsertedRow<T> {
    /// What became of it.
    pub outcome: RowOutcome,
    /// The column asked for with [`Upsert::returning`](super::Upsert::returning); `()` if none was.
    pub returned: T,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<T = ()> {
    rows: Vec<UpsertedRow<T>>,
    inserted: usize,
    updated: usize,
    unchanged: usize,
}

impl<T> Outcome<T> {
    /// `keys` has each key's outcome once, `rows` that of every row of the input.
    pub(super) fn new(keys: impl IntoIterator<Item = RowOutcome>, rows: Vec<UpsertedRow<T>>) -> Self {
        let mut outcome = Self { rows, inserted: 0, updated: 0, unchanged: 0 };
        for key in keys {
            match key {
                RowOutcome::Inserted => outcome.inserted += 1,
                RowOutcome::Updated => outcome.updated += 1,
                RowOutcome::Unchanged => outcome.unchanged += 1,
            }
        }
        outcome
    }

    /// How many rows the table has more. A key that the input names twice counts once, here and below.
    pub fn inserted(&self) -> usize {
        self.inserted
    }

    /// How many rows of the table have changed.
    pub fn updated(&self) -> usize {
        self.updated
    }

    /// How many rows of the table were there and are as they were.
    pub fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// Every row of the input, in its order. Rows of one key are alike: each has what became of the key from before the
    /// batch to after it.
    pub fn rows(&self) -> &[UpsertedRow<T>] {
        &self.rows
    }

    /// The same as [`rows`](Self::rows), to keep.
    pub fn into_rows(self) -> Vec<UpsertedRow<T>> {
        self.rows
    }
}
