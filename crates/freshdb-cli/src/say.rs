//! What is told on standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

/// A line for whoever listens. `eprintln!` ends the program where nobody does.
pub(crate) fn say(text: impl Display) {
    io::stderr().write_all(format!("freshdb: {text}\n").as_bytes()).ok();
}
