//! From measurements to figures, and how those are printed.

use std::io::{self, Write};

use serde::Serialize;

use super::contender::{Contender, Flavor, Operation};
use crate::engine::Engine;
use crate::quantile::quantile;

pub(super) const HEADER: &str = "\
| engine   | runtime        | operation | contender     | median µs | quarter under | of sqlx | beyond sqlx µs |
|----------|----------------|-----------|---------------|----------:|--------------:|--------:|---------------:|
";

/// The figures of one contender.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    benchmark: &'static str,
    engine: &'static str,
    runtime: &'static str,
    operation: &'static str,
    contender: &'static str,
    batches: usize,
    median_us: f64,
    /// A quarter of the batches took less.
    lower_quartile_us: f64,
    /// Of sqlx's pool with its default settings.
    share_of_sqlx: Option<f64>,
}

impl Record {
    /// The figures of every contender, the first being sqlx's pool.
    pub(super) fn all(
        engine: Engine,
        flavor: Flavor,
        operation: Operation,
        measured: &[(Contender, Vec<f64>)],
    ) -> Vec<Self> {
        let sqlx = measured.first().map(|(_, times)| quantile(times, 0.5));
        let record = |(contender, times): &(Contender, Vec<f64>)| {
            let median_us = quantile(times, 0.5);
            Self {
                benchmark: "sessions",
                engine: engine.name(),
                runtime: flavor.name(),
                operation: operation.name(),
                contender: contender.name(),
                batches: times.len(),
                median_us,
                lower_quartile_us: quantile(times, 0.25),
                share_of_sqlx: sqlx.map(|sqlx| median_us / sqlx),
            }
        };
        measured.iter().map(record).collect()
    }

    pub(super) fn print(&self, json: bool, mut to: impl Write) -> io::Result<()> {
        if json {
            return writeln!(to, "{}", serde_json::to_string(self)?);
        }
        let share = self.share_of_sqlx.unwrap_or(f64::NAN);
        writeln!(
            to,
            "| {:<8} | {:<14} | {:<9} | {:<13} | {:>9.1} | {:>13.1} | {share:>7.2} | {:>14.1} |",
            self.engine,
            self.runtime,
            self.operation,
            self.contender,
            self.median_us,
            self.lower_quartile_us,
            self.median_us - self.median_us / share,
        )
    }
}
