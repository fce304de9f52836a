//! From times to figures, and how those are printed.

use serde::Serialize;

use super::contender::Contender;
use super::suite::{Run, TESTS};
use crate::engine::Engine;
use crate::quantile::quantile;

/// One line of JSON, or a cell of a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    benchmark: &'static str,
    engine: &'static str,
    tables: usize,
    workers: usize,
    contender: Contender,
    /// The median of the rounds: the time from the start of the process to its end, by the number of tests.
    ms_per_test: f64,
    /// The median of all tests of all rounds: what a test spent on having a database.
    database_ms: f64,
    tests: usize,
    rounds: usize,
}

impl Record {
    #[allow(clippy::cast_precision_loss, reason = "two hundred")]
    pub(super) fn of(engine: Engine, tables: usize, workers: usize, contender: Contender, rounds: &[Run]) -> Self {
        let millis: Vec<f64> = rounds.iter().map(|run| run.time.as_secs_f64() * 1e3 / TESTS as f64).collect();
        let databases: Vec<f64> =
            rounds.iter().flat_map(|run| &run.databases).map(|time| time.as_secs_f64() * 1e3).collect();
        Self {
            benchmark: "pytest",
            engine: engine.name(),
            tables,
            workers,
            contender,
            ms_per_test: (quantile(&millis, 0.5) * 100.0).round() / 100.0,
            database_ms: (quantile(&databases, 0.5) * 100.0).round() / 100.0,
            tests: TESTS,
            rounds: rounds.len(),
        }
    }
}

pub(super) const HEADER: &str = "\
| engine   | tables | workers | take, give back | create, drop | times | run, freshdb | run, create-all | times |
|----------|-------:|--------:|----------------:|-------------:|------:|-------------:|----------------:|------:|
";

/// A row of the table, of what both contenders took.
pub(super) fn line([ours, theirs]: &[Record; 2]) -> String {
    format!(
        "| {:<8} | {:>6} | {:>7} | {:>15.2} | {:>12.2} | {:>5.1} | {:>12.1} | {:>15.1} | {:>5.2} |\n",
        ours.engine,
        ours.tables,
        ours.workers,
        ours.database_ms,
        theirs.database_ms,
        theirs.database_ms / ours.database_ms,
        ours.ms_per_test,
        theirs.ms_per_test,
        theirs.ms_per_test / ours.ms_per_test,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn records() -> [Record; 2] {
        let runs = |seconds: [u64; 3], database| {
            seconds.map(|seconds| Run {
                time: Duration::from_secs(seconds),
                databases: vec![Duration::from_millis(database); TESTS],
            })
        };
        [(Contender::Freshdb, runs([5, 4, 6], 2)), (Contender::CreateAll, runs([31, 28, 30], 130))]
            .map(|(contender, runs)| Record::of(Engine::Mysql, 30, 2, contender, &runs))
    }

    #[test]
    fn the_table_has_both_beside_each_other() {
        insta::assert_snapshot!(format!("{HEADER}{}", line(&records())));
    }

    #[test]
    fn json_has_a_line_for_each_record() {
        let [ours, _] = records();
        insta::assert_snapshot!(serde_json::to_string(&ours).expect("JSON"));
    }
}
