//! What was leased in a run, written down, and the page that shows it.

mod page;
mod secrets;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use freshdb_databases::{Error, GivenBack, ResetReport};
use serde::Deserialize;
use tokio::task::JoinHandle;
use utoipa::ToSchema;

pub(crate) use page::Summary;
pub(crate) use secrets::Secrets;

/// Which line of the report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(usize);

/// Writes down what is leased.
pub(crate) struct Recorder {
    began: Instant,
    began_at: SystemTime,
    secrets: Secrets,
    lines: Mutex<Vec<Line>>,
    /// Those who wait for a database to be put back.
    following: Mutex<Vec<JoinHandle<()>>>,
}

/// A lease that begins.
pub(crate) struct Begun {
    pub(crate) engine: &'static str,
    pub(crate) database: String,
    /// The connection that took it, if that means anything.
    pub(crate) worker: Option<u64>,
    pub(crate) note: String,
    pub(crate) asked: Instant,
    pub(crate) waited: Duration,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// What a test says of itself when it has ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    /// Why it failed.
    #[serde(default)]
    failure: String,
    /// What it left open, a line each.
    #[serde(default)]
    leaks: Vec<String>,
    /// How long it took to open the first connection.
    connect_ms: Option<f64>,
    /// How long it took to close what was open.
    close_ms: Option<f64>,
}

/// A lease, as far as it has come.
struct Line {
    begun: Begun,
    outcome: Option<Outcome>,
    failure: String,
    leaks: Vec<String>,
    connect_ms: Option<f64>,
    close_ms: Option<f64>,
    given_back: Option<Instant>,
    reset: Option<Duration>,
    touched: Option<usize>,
    changed: Option<String>,
    kept: Option<String>,
    /// What it did to its database, if it failed.
    wrote: Option<String>,
}

/// How much is written down of a text.
const LONGEST: usize = 4000;
/// Of one test's leaks.
const MOST_LEAKS: usize = 50;

impl Recorder {
    pub(crate) fn begin_now(secrets: Secrets) -> Self {
        Self {
            began: Instant::now(),
            began_at: SystemTime::now(),
            secrets,
            lines: Mutex::default(),
            following: Mutex::default(),
        }
    }

    pub(crate) fn begin(&self, mut begun: Begun) -> Number {
        begun.note = self.secrets.hidden_in(&begun.note);
        let mut lines = self.lines();
        lines.push(Line {
            begun,
            outcome: None,
            failure: String::new(),
            leaks: Vec::new(),
            connect_ms: None,
            close_ms: None,
            given_back: None,
            reset: None,
            touched: None,
            changed: None,
            kept: None,
            wrote: None,
        });
        Number(lines.len() - 1)
    }

    pub(crate) fn tell(&self, Number(number): Number, told: &Told) {
        let line = &mut self.lines()[number];
        line.end_as(told.outcome);
        // What is told later adds to what was told, and takes nothing of it away.
        if !told.failure.is_empty() {
            line.failure = self.noted(&told.failure);
        }
        if !told.leaks.is_empty() {
            line.leaks = self.fitting(&told.leaks);
        }
        line.connect_ms = told.connect_ms.or(line.connect_ms);
        line.close_ms = told.close_ms.or(line.close_ms);
    }

    /// What a failed test did to its database.
    pub(crate) fn wrote(&self, Number(number): Number, what: &str) {
        self.lines()[number].wrote = Some(self.noted(what));
    }

    /// How it ended, unless that was told before. One that failed has failed all the same.
    pub(crate) fn tell_at_last(&self, Number(number): Number, outcome: Outcome) {
        let line = &mut self.lines()[number];
        if line.outcome.is_none() || outcome == Outcome::Failed {
            line.end_as(outcome);
        }
    }

    /// Sees a database being put back, whether anybody awaits this or not.
    pub(crate) fn follow(
        self: &Arc<Self>,
        Number(number): Number,
        name: String,
        given_back: GivenBack,
    ) -> impl Future<Output = Result<ResetReport, Error>> + use<> {
        self.lines()[number].given_back = Some(Instant::now());
        let (told, answer) = tokio::sync::oneshot::channel();
        let recorder = self.clone();
        let task = tokio::spawn(async move {
            let report = given_back.await;
            recorder.end(number, name, &report);
            // Whoever gave it back need not wait.
            drop(told.send(report));
        });
        self.following.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        async { answer.await.expect("the task above tells it") }
    }

    fn end(&self, number: usize, name: String, report: &Result<ResetReport, Error>) {
        let line = &mut self.lines()[number];
        match report {
            Ok(report) if report.is_kept() => line.kept = Some(name),
            Ok(report) => {
                line.reset = Some(report.elapsed());
                line.touched = report.touched();
                line.changed = report.changed().map(|what| self.noted(what));
                line.leaks
                    .extend(report.sessions().iter().take(MOST_LEAKS).map(|session| self.noted(&session.to_string())));
            }
            Err(error) => line.changed = Some(self.noted(&error.to_string())),
        }
    }

    /// Waits until all that was given back is put back.
    pub(crate) async fn settle(&self) {
        let following = std::mem::take(&mut *self.following.lock().unwrap_or_else(PoisonError::into_inner));
        for task in following {
            // One that panicked has said so.
            drop(task.await);
        }
    }

    /// A text as it is written down.
    fn noted(&self, text: &str) -> String {
        // First without secrets, of which a part might be left at the end otherwise.
        shortened(self.secrets.hidden_in(text))
    }

    /// As many as are written down, and how many more there are.
    fn fitting(&self, leaks: &[String]) -> Vec<String> {
        let mut noted: Vec<String> = leaks.iter().take(MOST_LEAKS).map(|leak| self.noted(leak)).collect();
        if noted.len() < leaks.len() {
            noted.push(format!("and {} more", leaks.len() - noted.len()));
        }
        noted
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// A test that has failed stays failed: a fixture may end well after it, and say so.
    fn end_as(&mut self, outcome: Outcome) {
        if self.outcome != Some(Outcome::Failed) {
            self.outcome = Some(outcome);
        }
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}
