//! What tells one template from another.

use std::fmt;

use sha2::{Digest, Sha256};

/// Collects what decides how a template turns out.
#[derive(Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part. `what` names it; where one part ends and the next begins makes a difference.
    pub fn add(&mut self, what: &str, content: impl AsRef<[u8]>) -> &mut Self {
        for bytes in [what.as_bytes(), content.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        self
    }

    /// Sixteen hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        self.0.clone().finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({})", self.digest())
    }
}
