//! Why a benchmark ended early.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// A fact, its cause, and the way out where that is no guess. Displayed, it is lines for standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    fact: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    notes: Vec<String>,
    hint: Option<String>,
    exit_code: u8,
    /// What failed besides, such as the clean-up after this.
    also: Option<Box<Failure>>,
}

impl Failure {
    pub(crate) fn new(fact: impl Into<String>) -> Self {
        Self { fact: fact.into(), cause: None, notes: Vec::new(), hint: None, exit_code: 1, also: None }
    }

    /// A signal has asked the benchmark to stop.
    pub(crate) fn interrupted(signal: &str, number: u8) -> Self {
        Self { exit_code: 128 + number, ..Self::new(format!("interrupted by {signal}")) }
    }

    pub(crate) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds lines that stand below the fact.
    pub(crate) fn notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_code)
    }
}

/// The outcome of work and of the clean-up after it: neither hides the other.
pub(crate) fn both<T>(outcome: Result<T, Failure>, cleaned_up: Result<(), Failure>) -> Result<T, Failure> {
    match (outcome, cleaned_up) {
        (outcome, Ok(())) => outcome,
        (Ok(_), Err(failure)) => Err(failure),
        (Err(mut failure), Err(other)) => {
            let mut last = &mut failure;
            while last.also.is_some() {
                last = last.also.as_mut().expect("it was just seen");
            }
            last.also = Some(Box::new(other));
            Err(failure)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "error: {}", self.fact)?;
        let mut cause = self.cause.as_deref().map(|error| error as &dyn Error);
        while let Some(error) = cause {
            writeln!(formatter, "  caused by: {error}")?;
            cause = error.source();
        }
        for note in &self.notes {
            writeln!(formatter, "  {note}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(formatter, "hint: {hint}")?;
        }
        self.also.as_ref().map_or(Ok(()), |also| also.fmt(formatter))
    }
}

/// Says what was being done when an error came up.
pub(crate) trait OrFail<T> {
    fn or_fail(self, fact: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, fact: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(fact()).because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_shown_with_everything_that_is_known() {
        let failed = Failure::new("the server is away")
            .because(std::io::Error::other("connection refused"))
            .notes(["its log is empty".to_owned()])
            .hint("start it");
        let shown = both::<()>(Err(failed), Err(Failure::new("a file is left"))).expect_err("it failed").to_string();
        assert_eq!(
            shown,
            "error: the server is away\n  caused by: connection refused\n  its log is empty\nhint: start it\n\
             error: a file is left\n"
        );
    }

    #[test]
    fn of_work_and_clean_up_each_failure_counts() {
        assert!(both(Ok(1), Ok(())).is_ok());
        assert!(both(Ok(1), Err(Failure::new("left over"))).is_err());
        assert!(both::<()>(Err(Failure::new("failed")), Ok(())).is_err());
    }
}
