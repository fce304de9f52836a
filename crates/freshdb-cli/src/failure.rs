//! What goes wrong in the command itself.

use std::fmt::Display;
use std::process::ExitCode;

use crate::say::say;

/// The fact, its causes, and what to do, where that is no guess.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    hint: Option<String>,
    code: u8,
}

/// freshdb itself failed, and not the command that it ran: what `env` and `timeout` say as well.
pub(crate) const OWN_FAILURE: u8 = 125;
/// As clap says it.
pub(crate) const WRONG_ARGUMENT: u8 = 2;
pub(crate) const CANNOT_BE_RUN: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;

impl Failure {
    pub(crate) fn new(fact: impl Into<String>) -> Self {
        Self { text: fact.into(), hint: None, code: OWN_FAILURE }
    }

    #[must_use]
    pub(crate) fn because(mut self, cause: impl Display) -> Self {
        self.text = format!("{}\n  caused by: {cause}", self.text);
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn report(self) -> ExitCode {
        say(format!("error: {}", self.text));
        if let Some(hint) = self.hint {
            say(format!("hint: {hint}"));
        }
        ExitCode::from(self.code)
    }
}

impl From<freshdb_databases::Error> for Failure {
    fn from(error: freshdb_databases::Error) -> Self {
        let (text, hint) = error.explained();
        Self { hint: hint.map(ToOwned::to_owned), ..Self::new(text) }
    }
}
