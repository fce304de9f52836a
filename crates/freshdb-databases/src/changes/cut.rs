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

    /// Cuts what is too long, and notes of which columns.
    pub(super) fn cut(&mut self, columns: &[String]) {
        for (at, column) in columns.iter().enumerate() {
            let mut value = |side: usize| {
                let row = if side == 0 { self.before.as_mut() } else { self.after.as_mut() };
                row.and_then(|row| row.get_mut(at)).and_then(Option::take)
            };
            let (before, after) = (value(0), value(1));
            let from = match (&before, &after) {
                (Some(before), Some(after)) => Self::shown_from(before, after, LONGEST),
                _ => 0,
            };
            let is_long =
                |value: &Option<String>| value.as_ref().is_some_and(|value| value.chars().nth(LONGEST).is_some());
            if is_long(&before) || is_long(&after) {
                self.cut.push(column.clone());
            }
            for (row, value) in [(&mut self.before, before), (&mut self.after, after)] {
                if let Some(place) = row.as_mut().and_then(|row| row.get_mut(at)) {
                    *place = value.map(|value| shortened(value, from));
                }
            }
        }
    }
}

/// With how long it is, and the beginning of its hash: two that differ are never told alike, wherever they do.
fn shortened(value: String, from: usize) -> String {
    let length = value.chars().count();
    if length <= LONGEST {
        return value;
    }
    let shown: String = value.chars().skip(from).take(LONGEST).collect();
    let (left, right) = (if from > 0 { "…" } else { "" }, if from + LONGEST < length { "…" } else { "" });
    let hash = Sha256::digest(&value);
    let hash = u64::from_be_bytes(*hash.first_chunk().expect("a SHA-256 is of 32 bytes")) >> 16;
    format!("{left}{shown}{right} ({length} characters, SHA-256 {hash:012x}…)")
}
