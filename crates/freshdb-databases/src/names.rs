//! What databases and locks are called. A name carries whose it is and of which schema, so that two checkouts on one server never
//! meet, and a part that nobody else draws, so that nothing of the user's ever has the same.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::registry::{Entry, Role, State};
use crate::schema::Fingerprint;

/// Names of one checkout's databases of one schema.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    checkout: String,
    fingerprint: String,
}

impl Names {
    pub(crate) fn new(checkout: &str, fingerprint: &Fingerprint) -> Self {
        Self { checkout: digest_of_checkout(checkout), fingerprint: fingerprint.digest() }
    }

    pub(crate) fn checkout(&self) -> &str {
        &self.checkout
    }

    pub(crate) fn new_template(&self) -> String {
        self.name("t")
    }

    pub(crate) fn new_slot(&self) -> String {
        self.name("s")
    }

    pub(crate) fn new_user(&self) -> String {
        self.name("u")
    }

    /// Held by whoever makes the template.
    pub(crate) fn template_lock(&self) -> String {
        template_lock(&self.checkout, &self.fingerprint)
    }

    pub(crate) fn is_template(&self, entry: &Entry) -> bool {
        entry.role == Role::Template && entry.checkout == self.checkout && entry.fingerprint == self.fingerprint
    }

    pub(crate) fn entry(&self, name: &str, role: Role, state: State, template: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            role,
            state,
            checkout: self.checkout.clone(),
            fingerprint: self.fingerprint.clone(),
            template: template.to_owned(),
            since: SystemTime::now(),
            note: String::new(),
        }
    }

    fn name(&self, role: &str) -> String {
        let random: String =
            std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase()).take(RANDOM).collect();
        format!("freshdb_{role}_{}_{}_{random}", &self.checkout[..6], &self.fingerprint[..6])
    }
}

/// Whether freshdb could have given it to what it makes. Any other has no place in a statement.
pub(crate) fn is_ours(name: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    let [freshdb, role, parts @ ..] = &parts[..] else { return false };
    *freshdb == "freshdb"
        && matches!(*role, "t" | "s" | "u")
        && parts.iter().all(|part| is_digest(part))
        && parts.iter().map(|part| part.len()).eq([6, 6, RANDOM])
}

/// Whether it is made of what digests are made of, and harmless between quotes.
pub(crate) fn is_digest(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

/// How long the part of a name is that nobody else draws.
const RANDOM: usize = 10;

/// A name for another database of the same template.
pub(crate) fn sibling(entry: &Entry) -> String {
    let names = Names { checkout: entry.checkout.clone(), fingerprint: entry.fingerprint.clone() };
    names.new_slot()
}

pub(crate) fn digest_of_checkout(checkout: &str) -> String {
    Fingerprint::new().add("checkout", checkout).digest()
}

pub(crate) fn template_lock(checkout: &str, fingerprint: &str) -> String {
    format!("freshdb_make_{checkout}_{fingerprint}")
}

/// What tells this checkout from another on the same server: the nearest directory above that has a `Cargo.lock` or a
/// repository in it, or else the current one.
pub(crate) fn this_checkout() -> String {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let is_root = |directory: &&Path| directory.join("Cargo.lock").exists() || directory.join(".git").exists();
    here.ancestors().find(is_root).unwrap_or(&here).to_string_lossy().into_owned()
}

/// Whether a database is of the checkout that this process works in, as far as its name tells.
pub(crate) fn is_of_this_checkout(database: &str) -> bool {
    database.split('_').nth(2) == Some(&digest_of_checkout(&this_checkout())[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_every_server_takes_and_nobody_elses() {
        let names = Names::new("/home/me/näme'; --", Fingerprint::new().add("a", "b"));
        for name in [names.new_template(), names.new_slot(), names.new_user(), names.template_lock()] {
            assert!(name.len() <= 63, "{name}");
            assert!(name.starts_with("freshdb_"), "{name}");
        }
        for name in [names.new_template(), names.new_slot(), names.new_user()] {
            assert!(is_ours(&name), "{name}");
        }
        for other in [
            "",
            "payroll",
            "freshdb_registry",
            "freshdb_t",
            "freshdb_t_abcdef_abcdef_",
            "freshdb_t_abcdef_abcdef_abcde'ghij",
        ] {
            assert!(!is_ours(other), "{other}");
        }
        assert_ne!(names.new_slot(), names.new_slot());
        assert_ne!(names.checkout(), Names::new("/home/you", &Fingerprint::new()).checkout());
    }
}
