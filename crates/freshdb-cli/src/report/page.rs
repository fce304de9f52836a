//! The page: one file, which asks for nothing from anywhere.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::oneshot;

use super::{Line, Outcome, Recorder};
use crate::failure::Failure;

const PAGE: &str = include_str!("page.html");
/// Where the data go.
const PLACE: &str = "/*DATA*/null";

/// What is said of the run as a whole.
pub(crate) struct Summary<'a> {
    pub(crate) command: String,
    pub(crate) exit_code: u8,
    /// Each engine's name, and where its server is.
    pub(crate) engines: Vec<(&'a str, String)>,
}

#[derive(Serialize)]
struct Data<'a> {
    version: &'a str,
    command: String,
    began: String,
    elapsed_ms: f64,
    exit_code: u8,
    engines: Vec<EngineData<'a>>,
    leases: Vec<LeaseData<'a>>,
}

#[derive(Serialize)]
struct EngineData<'a> {
    engine: &'a str,
    server: &'a str,
}

#[derive(Serialize)]
struct LeaseData<'a> {
    engine: &'a str,
    database: &'a str,
    worker: String,
    note: &'a str,
    outcome: Option<&'static str>,
    start_ms: f64,
    phases: Vec<(&'static str, f64)>,
    touched: Option<usize>,
    changed: Option<&'a str>,
    kept: Option<&'a str>,
    wrote: Option<&'a str>,
    failure: Option<&'a str>,
    leaks: &'a [String],
}

impl Recorder {
    /// Writes the page: to a pipe, once somebody reads. Not by way of another file, which would take the place of a pipe, a device or a
    /// link, and could not take that of a mount.
    pub(crate) async fn write(&self, path: &Path, summary: &Summary<'_>) -> Result<(), Failure> {
        let failed = |error| Failure::new(format!("cannot write the report `{}`", path.display())).because(error);
        let (place, page) = (path.to_owned(), self.page(summary));
        let (told, written) = oneshot::channel();
        // Not one of the runtime's threads, for which that would wait when this is given up.
        let write = move || drop(told.send(std::fs::write(place, page)));
        std::thread::Builder::new().name("report".to_owned()).spawn(write).map_err(failed)?;
        written.await.expect("the thread tells it").map_err(failed)
    }

    fn page(&self, summary: &Summary<'_>) -> String {
        let elapsed = self.began.elapsed();
        let lines = self.lines();
        // In the order of their first lease, which says more than a connection's number.
        let mut workers: Vec<Option<u64>> = Vec::new();
        let leases = lines.iter().map(|line| {
            let known = workers.iter().position(|worker| *worker == line.begun.worker);
            let worker = known.unwrap_or_else(|| {
                workers.push(line.begun.worker);
                workers.len() - 1
            });
            LeaseData {
                engine: line.begun.engine,
                database: &line.begun.database,
                worker: (worker + 1).to_string(),
                note: &line.begun.note,
                outcome: line.outcome.map(|outcome| match outcome {
                    Outcome::Passed => "passed",
                    Outcome::Failed => "failed",
                    Outcome::Skipped => "skipped",
                }),
                start_ms: milliseconds(line.begun.asked.saturating_duration_since(self.began)),
                phases: line.phases(self.began + elapsed),
                touched: line.touched,
                changed: line.changed.as_deref(),
                kept: line.kept.as_deref(),
                wrote: line.wrote.as_deref(),
                failure: Some(line.failure.as_str()).filter(|failure| !failure.is_empty()),
                leaks: &line.leaks,
            }
        });
        let data = Data {
            version: env!("CARGO_PKG_VERSION"),
            command: self.secrets.hidden_in(&summary.command),
            began: humantime::format_rfc3339_seconds(self.began_at).to_string(),
            elapsed_ms: milliseconds(elapsed),
            exit_code: summary.exit_code,
            engines: summary.engines.iter().map(|(engine, server)| EngineData { engine, server }).collect(),
            leases: leases.collect(),
        };
        // In JSON it stands in texts alone; in a page it could end the script.
        let data = serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c");
        PAGE.replacen(PLACE, &data, 1)
    }
}

impl Line {
    /// What took how long, one after the other. `now` ends what is out still.
    fn phases(&self, now: Instant) -> Vec<(&'static str, f64)> {
        let taken = self.begun.asked + self.begun.waited;
        let held = milliseconds(self.given_back.unwrap_or(now).saturating_duration_since(taken));
        let (connect, close) = (self.connect_ms.unwrap_or(0.0), self.close_ms.unwrap_or(0.0));
        // What a client claims cannot have taken longer than it had the lease.
        let is_possible = connect >= 0.0 && close >= 0.0 && connect + close <= held;
        let (connect, close) = if is_possible { (self.connect_ms, self.close_ms) } else { (None, None) };
        let body = held - connect.unwrap_or(0.0) - close.unwrap_or(0.0);
        let phases = [
            ("acquire", Some(milliseconds(self.begun.waited))),
            ("connect", connect),
            ("body", Some(body)),
            ("close", close),
            ("reset", self.reset.map(milliseconds)),
        ];
        phases.into_iter().filter_map(|(name, time)| Some((name, round(time?)))).collect()
    }
}

fn milliseconds(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3)
}

fn round(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_the_data_and_asks_for_nothing() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
        // A namespace's name is nobody's address, and the icon is in the page.
        let page = PAGE.replace("'http://www.w3.org/2000/svg'", "").replace(r#"<link rel="icon" href="data:"#, "");
        for forbidden in ["http:", "https:", "//cdn", "@import", "<link", "<iframe", "url(", "fetch(", "innerHTML"] {
            assert!(!page.contains(forbidden), "{forbidden} is in the page");
        }
        assert!(page.contains("default-src 'none'"), "the browser would see to it as well");
    }

    #[test]
    fn no_text_ends_the_script() {
        let recorder = Recorder::begin_now(super::super::Secrets::default());
        let begun = super::super::Begun {
            engine: "sqlite",
            database: "x".into(),
            worker: None,
            note: "</script><script>alert(1)</script>".into(),
            asked: Instant::now(),
            waited: Duration::ZERO,
        };
        recorder.begin(begun);
        let page = recorder.page(&Summary { command: "<!--<script>".into(), exit_code: 0, engines: Vec::new() });
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(page.contains(r"\u003c/script>"));
    }
}
