//! How a database was put back.

use std::time::Duration;

use crate::dialect::{Outcome, Reset, ServerSession};

/// How a database was put back after its lease.
#[derive(Clone, Debug)]
pub struct ResetReport {
    database: String,
    outcome: Option<Outcome>,
    sessions: Vec<ServerSession>,
    steps: Vec<(&'static str, Duration)>,
}

impl ResetReport {
    pub(crate) fn of(database: &str, reset: &Reset) -> Self {
        Self {
            database: database.to_owned(),
            outcome: Some(reset.outcome.clone()),
            sessions: reset.ended.clone(),
            steps: reset.steps.clone(),
        }
    }

    pub(crate) fn kept(database: &str) -> Self {
        Self { database: database.to_owned(), outcome: None, sessions: Vec::new(), steps: Vec::new() }
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// How many tables had been touched, where the database was put back.
    pub fn touched(&self) -> Option<usize> {
        match self.outcome {
            Some(Outcome::Pristine { touched }) => Some(touched),
            _ => None,
        }
    }

    /// What could not be put back, so that the database was dropped instead: `table "x" was altered`.
    pub fn changed(&self) -> Option<&str> {
        match &self.outcome {
            Some(Outcome::Changed(what)) => Some(what),
            _ => None,
        }
    }

    /// Whether it was left as it was, because the lease asked for that.
    pub fn is_kept(&self) -> bool {
        self.outcome.is_none()
    }

    /// The sessions that were still connected to it when it was given back. They were ended.
    pub fn sessions(&self) -> &[ServerSession] {
        &self.sessions
    }

    /// What took how long, in order.
    pub fn steps(&self) -> &[(&'static str, Duration)] {
        &self.steps
    }

    /// How long it took from beginning to end.
    pub fn elapsed(&self) -> Duration {
        self.steps.iter().map(|(_, time)| *time).sum()
    }
}
