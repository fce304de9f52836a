//! How a test ended, as it is told to the broker: within what a request may have, or it would not be heard at all.

use serde_json::{Value, json};

/// How much is told of one text, in characters. The broker writes down 4000, with what is said of the rest.
const LONGEST: usize = 3900;
/// How many texts are told of what a test left open.
const MOST_LEAKS: usize = 49;
/// What they may have together, as JSON: the request may have 64 KiB, and the longest failure has 24 KB of them.
const MOST_BYTES: usize = 36 * 1024;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed, also where that [could not be told](super::Lease::tell_failure) with what it did.
    Failed,
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

/// Why a test failed, and what it left open.
pub(super) fn failed(failure: &str, leaks: &[String]) -> Value {
    json!({"outcome": "failed", "failure": shortened(failure), "leaks": fitting(leaks)})
}

/// That it failed, and no more.
pub(super) fn bare() -> Value {
    json!({"outcome": "failed"})
}

/// As many as fit, and how many more there are.
fn fitting(leaks: &[String]) -> Vec<String> {
    let mut room = MOST_BYTES;
    let mut told = Vec::new();
    for leak in leaks.iter().take(MOST_LEAKS) {
        let leak = shortened(leak);
        let length = Value::from(leak.as_str()).to_string().len();
        if length > room {
            break;
        }
        room -= length;
        told.push(leak);
    }
    if told.len() < leaks.len() {
        told.push(format!("and {} more", leaks.len() - told.len()));
    }
    told
}

/// Its beginning, in whole lines where it has several, and how many more it has.
fn shortened(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(LONGEST) else { return text.to_owned() };
    match text[..end].rsplit_once('\n') {
        Some((beginning, _)) => {
            let more = text[beginning.len()..].trim_end().lines().count() - 1;
            format!("{beginning}\n  and {more} more lines")
        }
        None => format!("{}…", &text[..end]),
    }
}
