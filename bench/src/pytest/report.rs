//! From times to figures, and how those are printed.

use std::time::Duration;

use serde::Serialize;

use super::contender::Contender;
use super::suite::TESTS;
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
    tests: usize,
    rounds: usize,
}

impl Record {
    #[allow(clippy::cast_precision_loss, reason = "two hundred")]
    pub(super) fn of(engine: Engine, tables: usize, workers: usize, contender: Contender, rounds: &[Duration]) -> Self {
        let millis: Vec<f64> = rounds.iter().map(|time| time.as_secs_f64() * 1e3 / TESTS as f64).collect();
        Self {
            benchmark: "pytest",
            engine: engine.name(),
            tables,
            workers,
            contender,
            ms_per_test: (quantile(&millis, 0.5) * 100.0).round() / 100.0,
            tests: TESTS,
            rounds: rounds.len(),
        }
    }
}

pub(super) const HEADER: &str = "\
| engine   | tables | workers |    freshdb | create-all | create-all / freshdb |
|----------|-------:|--------:|-----------:|-----------:|---------------------:|
";

/// A row of the table, of what both contenders took.
pub(super) fn line([ours, theirs]: &[Record; 2]) -> String {
    format!(
        "| {:<8} | {:>6} | {:>7} | {:>10.1} | {:>10.1} | {:>20.2} |\n",
        ours.engine,
        ours.tables,
        ours.workers,
        ours.ms_per_test,
        theirs.ms_per_test,
        theirs.ms_per_test / ours.ms_per_test,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> [Record; 2] {
        [(Contender::Freshdb, [5, 4, 6]), (Contender::CreateAll, [31, 28, 30])]
            .map(|(contender, seconds)| Record::of(Engine::Mysql, 30, 2, contender, &seconds.map(Duration::from_secs)))
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
