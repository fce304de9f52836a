//! What README says.

use std::fs;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

/// The section of the first test: its blocks of code, in order.
pub(crate) struct Section {
    /// What goes into Cargo.toml.
    pub(crate) manifest: String,
    /// The test.
    pub(crate) passing: String,
    /// What the harness says of it.
    pub(crate) passes: String,
    /// One that leaves something behind.
    pub(crate) failing: String,
    /// How that looks.
    pub(crate) failure: String,
}

impl Section {
    pub(crate) fn read() -> Self {
        let readme = fs::read_to_string(README).expect("README");
        let (_, section) = readme.split_once("\n## A test with a database\n").expect("the section");
        let section = section.split("\n## ").next().unwrap_or(section);
        let block = |language: &str, index: usize| {
            let fence = format!("\n```{language}\n");
            let block = section
                .split(&fence)
                .nth(index + 1)
                .unwrap_or_else(|| panic!("no block {index} of {language} in:\n{section}"));
            block.split("```").next().unwrap_or(block).to_owned()
        };
        Self {
            manifest: block("toml", 0),
            passing: block("rust", 0),
            failing: block("rust", 1),
            passes: block("text", 0),
            failure: block("text", 1),
        }
    }
}

/// A report without what differs from run to run: numbers that are no lines of a file, and the letters that were drawn for a name.
pub(crate) fn masked(report: &str) -> String {
    let mut masked = String::new();
    for word in report.trim().split_inclusive([' ', '\n', '`', '/']) {
        if word.starts_with("freshdb_") {
            masked.push_str("freshdb_…");
            masked.push_str(&word[word.trim_end_matches([' ', '\n', '`', '/']).len()..]);
        } else if word.contains(".rs:") {
            masked.push_str(word);
        } else {
            // Of a number only that there is one.
            let mut last = ' ';
            for character in word.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }) {
                if (character, last) != ('0', '0') {
                    masked.push(character);
                }
                last = character;
            }
        }
    }
    masked
}
