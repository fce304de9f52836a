//! Values that are too long to be told whole: cut so that what differs is seen.

use sha2::{Digest, Sha256};

use super::RowChange;

/// How much is told of a value, in characters.
const LONGEST: usize = 4096;

impl RowChange {
    /// From which character on two texts are best shown, where `longest` characters of each are: from the first, if that shows where they
    /// begin to differ.
    pub fn shown_from(before: &str, after: &str, longest: usize) -> usize {
        if before == after {
            return 0;
        }
        let alike = before.chars().zip(after.chars()).take_while(|(one, other)| one == other).count();
        if alike <= longest / 2 { 0 } else { alike - longest / 4 }
    }

    /// Cut where it is too long.
    pub(super) fn new(
        before: Option<Vec<Option<String>>>,
        after: Option<Vec<Option<String>>>,
        columns: &[String],
    ) -> Self {
        let mut row = Self { before, after, cut: Vec::new() };
        row.cut(columns);
        row
    }

    /// Cuts what is too long, and notes of which columns.
    fn cut(&mut self, columns: &[String]) {
        for (at, column) in columns.iter().enumerate() {
            let sides = [&self.before, &self.after].map(|row| row.as_ref().and_then(|row| row.get(at)?.as_deref()));
            let from = match sides {
                [Some(before), Some(after)] => Self::shown_from(before, after, LONGEST),
                _ => 0,
            };
            let shortened = sides.map(|value| value.and_then(|value| shortened(value, from)));
            if shortened.iter().any(Option::is_some) {
                self.cut.push(column.clone());
            }
            for (row, value) in [&mut self.before, &mut self.after].into_iter().zip(shortened) {
                if let (Some(row), Some(value)) = (row, value) {
                    row[at] = Some(value);
                }
            }
        }
    }
}

/// What is shown of a text that is too long, with how long it is, and the beginning of its hash: two that differ are never told alike,
/// wherever they do.
fn shortened(value: &str, from: usize) -> Option<String> {
    let length = value.chars().count();
    if length <= LONGEST {
        return None;
    }
    let shown: String = value.chars().skip(from).take(LONGEST).collect();
    let (left, right) = (if from > 0 { "…" } else { "" }, if from + LONGEST < length { "…" } else { "" });
    let hash = Sha256::digest(value);
    let hash = u64::from_be_bytes(*hash.first_chunk().expect("a SHA-256 is of 32 bytes")) >> 16;
    Some(format!("{left}{shown}{right} ({length} characters, SHA-256 {hash:012x}…)"))
}
