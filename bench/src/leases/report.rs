//! From times to figures, and how those are printed.

use std::collections::BTreeMap;
use std::time::Duration;

use freshdb_databases::ResetReport;
use serde::Serialize;

use crate::engine::Engine;

/// One line of JSON, or of a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    pub(super) benchmark: &'static str,
    pub(super) engine: &'static str,
    pub(super) measure: &'static str,
    pub(super) tables: usize,
    pub(super) seed_rows: usize,
    pub(super) touched: &'static str,
    pub(super) samples: usize,
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
    /// The median of each step, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<(&'static str, f64)>,
    /// In how many of the samples the database could not be put back and was copied anew.
    pub(super) replaced: usize,
}

pub(super) const HEADER: &str = "\
| engine   | measure  | tables | seed rows | touched   | samples | median ms |  p99 ms | replaced | by step, ms |
|----------|----------|-------:|----------:|-----------|--------:|----------:|--------:|---------:|-------------|
";

impl Record {
    pub(super) fn of_times(engine: Engine, measure: &'static str, tables: usize, times: &[Duration]) -> Self {
        Self {
            benchmark: "leases",
            engine: engine.name(),
            measure,
            tables,
            seed_rows: 0,
            touched: "3 tables",
            samples: times.len(),
            median_ms: quantile(times, 0.5),
            p99_ms: quantile(times, 0.99),
            steps: Vec::new(),
            replaced: 0,
        }
    }

    pub(super) fn of_resets(
        engine: Engine,
        tables: usize,
        seed_rows: usize,
        touched: &'static str,
        reports: &[ResetReport],
    ) -> Self {
        let times: Vec<Duration> = reports.iter().map(ResetReport::elapsed).collect();
        let mut order = Vec::new();
        let mut by_step: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
        for report in reports {
            for (step, time) in report.steps() {
                if !order.contains(step) {
                    order.push(*step);
                }
                by_step.entry(step).or_default().push(*time);
            }
        }
        let steps = order.into_iter().map(|step| (step, quantile(&by_step[step], 0.5))).collect();
        Self {
            seed_rows,
            touched,
            steps,
            replaced: reports.iter().filter(|report| report.changed().is_some()).count(),
            ..Self::of_times(engine, "reset", tables, &times)
        }
    }

    pub(super) fn line(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(|(step, time)| format!("{step} {time:.2}")).collect();
        format!(
            "| {:<8} | {:<8} | {:>6} | {:>9} | {:<9} | {:>7} | {:>9.3} | {:>7.3} | {:>8} | {} |\n",
            self.engine,
            self.measure,
            self.tables,
            self.seed_rows,
            self.touched,
            self.samples,
            self.median_ms,
            self.p99_ms,
            self.replaced,
            steps.join(", "),
        )
    }
}

fn quantile(times: &[Duration], part: f64) -> f64 {
    let millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    crate::quantile::quantile(&millis, part)
}
