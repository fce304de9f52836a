//! What tells one template from another.

use std::fmt;

use sha2::{Digest, Sha256};

/// Collects what decides how a template turns out.
///
/// It is the same in every process and on every machine for the same parts in the same order: so leave out what differs
/// there and decides nothing, such as absolute paths and times of change. It is not secret, and cannot be turned back into its parts.
///
/// # Examples
///
/// ```
/// use freshdb_databases::schema::Fingerprint;
///
/// let mut one = Fingerprint::new();
/// one.add("file", "a").add("file", "bc");
/// let mut other = Fingerprint::new();
/// other.add("file", "ab").add("file", "c");
///
/// // Where one part ends and the next begins makes a difference.
/// assert_ne!(one, other);
/// ```
#[derive(Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part: `what` names it. What is added makes a difference, in which order, and under which names; and so does
    /// where one part ends and the next begins, so that no part can be moved in pieces into its neighbour.
    pub fn add(&mut self, what: &str, content: impl AsRef<[u8]>) -> &mut Self {
        for bytes in [what.as_bytes(), content.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        self
    }

    /// Sixteen hexadecimal digits.
    pub fn digest(&self) -> String {
        let half = self.0.clone().finalize().first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(half))
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.clone().finalize() == other.0.clone().finalize()
    }
}

impl Eq for Fingerprint {}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({})", self.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    fn of(parts: &[(&str, &str)]) -> String {
        let mut fingerprint = Fingerprint::new();
        for (what, content) in parts {
            fingerprint.add(what, content);
        }
        fingerprint.digest()
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let all = [
            of(&[]),
            of(&[("", "")]),
            of(&[("a", "bc")]),
            of(&[("ab", "c")]),
            of(&[("abc", "")]),
            of(&[("a", "b"), ("c", "")]),
            of(&[("a", "b"), ("", "c")]),
            of(&[("a", "bc"), ("", "")]),
            of(&[("", "c"), ("a", "b")]),
            // As if somebody had written the lengths himself.
            of(&[("a", "b\u{1}\0\0\0\0\0\0\0c")]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "number {index} equals another: {all:?}");
        }
    }

    /// A literal, so that neither a process nor a build may change it unnoticed: that would orphan every template.
    #[test]
    fn is_the_same_in_every_process() {
        assert_eq!(of(&[("file", "001.sql"), ("content", "CREATE TABLE t (id INT)")]), "e28056c9c40cf1be");
    }
}
