//! From times to figures, and how those are printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::case::{Contender, Threads};
use super::run::TESTS;
use crate::engine::Engine;
use crate::quantile::quantile;

/// One line of JSON, or a cell of a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    pub(super) engine: &'static str,
    pub(super) contender: Contender,
    pub(super) tables: usize,
    pub(super) threads: Threads,
    /// The median of the rounds: the time from the start of the test program, or of nextest, to its end, by the number of tests.
    pub(super) ms_per_test: Option<f64>,
    /// Why there is no figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) tests: usize,
    pub(super) rounds: usize,
    /// What a program that runs a single test takes, from its start to its end: process, connections, and all else that
    /// comes once. It is part of `ms_per_test`, shared among the tests.
    pub(super) one_test_ms: Option<f64>,
}

/// The times of one contender's rounds, or why there are none.
#[derive(Clone, Debug)]
pub(super) enum Times {
    Rounds(Vec<Duration>),
    Failed(String),
}

impl Times {
    fn median_ms(&self) -> Option<f64> {
        match self {
            Self::Rounds(rounds) if !rounds.is_empty() => {
                let millis: Vec<f64> = rounds.iter().map(|time| time.as_secs_f64() * 1e3).collect();
                Some(quantile(&millis, 0.5))
            }
            _ => None,
        }
    }
}

impl Record {
    #[allow(clippy::cast_precision_loss, reason = "two hundred")]
    pub(super) fn of(
        engine: Engine,
        contender: Contender,
        tables: usize,
        threads: Threads,
        times: &Times,
        one_test: &Times,
    ) -> Self {
        let (rounds, error) = match times {
            Times::Rounds(rounds) => (rounds.len(), None),
            Times::Failed(reason) => (0, Some(reason.clone())),
        };
        Self {
            engine: engine.name(),
            contender,
            tables,
            threads,
            ms_per_test: times.median_ms().map(|millis| rounded(millis / TESTS as f64)),
            error,
            tests: TESTS,
            rounds,
            one_test_ms: one_test.median_ms().map(rounded),
        }
    }
}

/// To microseconds: more would be noise.
fn rounded(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}

/// Prints records, of one engine, size and number of threads at a time.
pub(super) struct Printer<W> {
    to: W,
    json: bool,
    contenders: Vec<Contender>,
    all: Vec<Record>,
}

impl<W: Write> Printer<W> {
    pub(super) fn start(mut to: W, json: bool, contenders: Vec<Contender>) -> io::Result<Self> {
        if !json {
            to.write_all(header(&contenders).as_bytes())?;
        }
        Ok(Self { to, json, contenders, all: Vec::new() })
    }

    /// One record for each contender, in their order.
    pub(super) fn print(&mut self, records: &[Record]) -> io::Result<()> {
        if self.json {
            for record in records {
                writeln!(self.to, "{}", serde_json::to_string(record)?)?;
            }
        } else {
            self.to.write_all(line(records).as_bytes())?;
        }
        self.all.extend_from_slice(records);
        self.to.flush()
    }

    /// What stands below the table, and all that was printed.
    pub(super) fn finish(mut self) -> io::Result<Vec<Record>> {
        if !self.json {
            self.to.write_all(single_tests(&self.contenders, &self.all).as_bytes())?;
            self.to.write_all(reasons(&self.all).as_bytes())?;
        }
        Ok(self.all)
    }
}

fn header(contenders: &[Contender]) -> String {
    let names = cells(contenders.iter().map(|contender| contender.name().to_owned()));
    let rules = "----------------:|".repeat(contenders.len());
    format!(
        "| engine   | tables | threads |{names} × best peer | × rollback |\n\
         |----------|-------:|--------:|{rules}------------:|-----------:|\n"
    )
}

fn line(records: &[Record]) -> String {
    let Some(first) = records.first() else { return String::new() };
    let cells = cells(records.iter().map(|record| cell(record.ms_per_test)));
    let of = |contender| records.iter().find(|record| record.contender == contender)?.ms_per_test;
    let ours = of(Contender::Freshdb);
    let best_peer = Contender::PEERS.into_iter().filter_map(of).reduce(f64::min);
    let share = |upper: Option<f64>, lower: Option<f64>| match upper.zip(lower) {
        Some((upper, lower)) => format!("{:.2}", upper / lower),
        None => "–".to_owned(),
    };
    format!(
        "| {:<8} | {:>6} | {:>7} |{cells} {:>11} | {:>10} |\n",
        first.engine,
        first.tables,
        first.threads.to_string(),
        share(best_peer, ours),
        share(ours, of(Contender::Rollback)),
    )
}

/// Beside each other, one for each contender.
fn cells(texts: impl Iterator<Item = String>) -> String {
    texts.fold(String::new(), |mut cells, text| {
        write!(cells, " {text:>15} |").expect("a text takes all");
        cells
    })
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "fails".into(), |value| format!("{value:.2}"))
}

/// A second table: what a program with a single test takes.
fn single_tests(contenders: &[Contender], records: &[Record]) -> String {
    let names = cells(contenders.iter().map(|contender| contender.name().to_owned()));
    let rules = "----------------:|".repeat(contenders.len());
    let mut text = format!(
        "\nA program that runs one test, from its start to its end, ms:\n\n\
         | engine   | tables |{names}\n|----------|-------:|{rules}\n"
    );
    let mut seen = Vec::new();
    for first in records {
        if seen.contains(&(first.engine, first.tables)) {
            continue;
        }
        seen.push((first.engine, first.tables));
        let of = |contender: &Contender| {
            let same = |record: &&Record| {
                (record.engine, record.tables, record.contender) == (first.engine, first.tables, *contender)
            };
            records.iter().find(same).and_then(|record| record.one_test_ms)
        };
        let cells = cells(contenders.iter().map(|contender| cell(of(contender))));
        writeln!(text, "| {:<8} | {:>6} |{cells}", first.engine, first.tables).expect("a text takes all");
    }
    text
}

/// Why a contender has no figure, each reason once.
fn reasons(records: &[Record]) -> String {
    let mut by_reason: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    for record in records {
        if let Some(error) = &record.error {
            let place = format!("{}/{}", record.tables, record.threads);
            by_reason.entry((record.engine, record.contender.name(), error)).or_default().push(place);
        }
    }
    let mut text = String::new();
    for ((engine, contender, reason), places) in by_reason {
        let places = places.join(", ");
        writeln!(text, "\n{contender} fails on {engine} (tables/threads {places}): {reason}")
            .expect("a text takes all");
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One engine that all run on, and one that db-pool fails on.
    pub(in super::super) fn records() -> Vec<Record> {
        let mut records = Vec::new();
        for (engine, tables, threads) in [
            (Engine::Sqlite, 30, Threads::Libtest(1)),
            (Engine::Postgres, 30, Threads::Libtest(2)),
            (Engine::Postgres, 30, Threads::Nextest),
        ] {
            for (contender, millis) in Contender::ALL.into_iter().zip([300, 250, 9_000, 4_000, 12_000, 200]) {
                let rounds = [millis * 3, millis, millis + 1].map(Duration::from_millis).to_vec();
                let times = match contender.lacks(engine) {
                    Some(reason) => Times::Failed(reason.into()),
                    None => Times::Rounds(rounds),
                };
                let one = match &times {
                    Times::Rounds(_) => Times::Rounds(vec![Duration::from_micros(12_345)]),
                    Times::Failed(_) => times.clone(),
                };
                records.push(Record::of(engine, contender, tables, threads, &times, &one));
            }
        }
        records
    }

    fn printed(json: bool) -> String {
        let mut text = Vec::new();
        let mut printer = Printer::start(&mut text, json, Contender::ALL.to_vec()).expect("a text takes all");
        for row in records().chunks(Contender::ALL.len()) {
            printer.print(row).expect("a text takes all");
        }
        printer.finish().expect("a text takes all");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_table_has_a_row_for_all_contenders() {
        insta::assert_snapshot!(printed(false));
    }

    #[test]
    fn json_has_a_line_for_each_record() {
        let lines = printed(true);
        let lines: Vec<&str> = lines.lines().take(3).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
