//! From measurements to figures, and how those are printed.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::contender::Contender;
use super::request::Request;
use super::wrk::Load;
use crate::engine::Engine;

/// What the project promises of tags-api: requests per second, as a share of the bare handler's.
const LEAST_OF_BARE: f64 = 0.9;

/// The 99th percentile of an answer's time, as a multiple of the 50th.
const MOST_P99_OVER_P50: f64 = 5.0;

/// Peak memory, in MB.
const MOST_MEMORY: f64 = 50.0;

const HEADER: &str = "\
| engine   | request | contender | requests/s | of bare |  p50 ms |  p99 ms | p99/p50 | CPU ms/request | peak MB |
|----------|---------|-----------|-----------:|--------:|--------:|--------:|--------:|---------------:|--------:|
";

/// One run of the load generator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measurement {
    pub(super) load: Load,
    /// In milliseconds.
    pub(super) cpu_per_request: f64,
}

/// The figures of one contender: medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    benchmark: &'static str,
    engine: &'static str,
    request: &'static str,
    contender: &'static str,
    connections: u32,
    rounds: usize,
    #[serde(serialize_with = "rounded")]
    requests_per_second: f64,
    /// The median of the rounds' ratios, and not the ratio of the medians: of a round, both halves have met the machine
    /// in about the same mood.
    #[serde(serialize_with = "rounded_option")]
    of_bare: Option<f64>,
    #[serde(serialize_with = "rounded")]
    p50_ms: f64,
    #[serde(serialize_with = "rounded")]
    p99_ms: f64,
    #[serde(serialize_with = "rounded")]
    p99_over_p50: f64,
    #[serde(serialize_with = "rounded")]
    cpu_ms_per_request: f64,
    #[serde(serialize_with = "rounded")]
    peak_memory_mb: f64,
}

/// What was compared.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) engine: Engine,
    pub(super) request: Request,
    pub(super) connections: u32,
}

/// All that was measured of one contender.
pub(super) struct Measured {
    pub(super) contender: Contender,
    /// One a round.
    pub(super) rounds: Vec<Measurement>,
    /// In MB.
    pub(super) peak_memory: f64,
}

impl Record {
    /// The figures of one contender, `bare` being those of the bare handler in the same rounds.
    pub(super) fn of(case: Case, measured: &Measured, bare: &Measured) -> Self {
        let Case { engine, request, connections } = case;
        let Measured { contender, rounds, peak_memory } = measured;
        let of_rounds = |figure: fn(&Measurement) -> f64| median(rounds.iter().map(figure));
        let ratios = rounds.iter().zip(&bare.rounds);
        let ratios = ratios.map(|(own, bare)| own.load.requests_per_second / bare.load.requests_per_second);
        let (p50, p99) = (of_rounds(|round| round.load.p50), of_rounds(|round| round.load.p99));
        Self {
            benchmark: "load",
            engine: engine.name(),
            request: request.name(),
            contender: contender.name(),
            connections,
            rounds: rounds.len(),
            requests_per_second: of_rounds(|round| round.load.requests_per_second),
            of_bare: (*contender != Contender::Bare).then(|| median(ratios)),
            p50_ms: p50,
            p99_ms: p99,
            p99_over_p50: p99 / p50,
            cpu_ms_per_request: of_rounds(|round| round.cpu_per_request),
            peak_memory_mb: *peak_memory,
        }
    }

    /// What falls short of the project's promises, which are for tags-api alone.
    fn shortcomings(&self) -> Vec<String> {
        let mut shortcomings = Vec::new();
        if let Some(of_bare) = self.of_bare {
            let mut require = |met: bool, what: String| {
                if !met {
                    shortcomings.push(format!("{} {}: {what}", self.engine, self.request));
                }
            };
            require(of_bare >= LEAST_OF_BARE, format!("{of_bare:.2} of the bare handler's requests per second"));
            let spread = self.p99_over_p50;
            require(spread < MOST_P99_OVER_P50, format!("p99 is {spread:.1} times p50"));
            let memory = self.peak_memory_mb;
            require(memory < MOST_MEMORY, format!("{memory:.1} MB of peak memory"));
        }
        shortcomings
    }
}

/// Where the figures go, in which form, as soon as they are known.
pub(super) struct Printer<Out: Write> {
    out: Out,
    json: bool,
    shortcomings: Vec<String>,
}

impl<Out: Write> Printer<Out> {
    pub(super) fn start(mut out: Out, json: bool) -> io::Result<Self> {
        if !json {
            out.write_all(HEADER.as_bytes())?;
        }
        Ok(Self { out, json, shortcomings: Vec::new() })
    }

    pub(super) fn print(&mut self, record: &Record) -> io::Result<()> {
        self.shortcomings.extend(record.shortcomings());
        if self.json {
            serde_json::to_writer(&mut self.out, record)?;
            writeln!(self.out)?;
        } else {
            let of_bare = record.of_bare.map_or_else(String::new, |of_bare| format!("{of_bare:.2}"));
            writeln!(
                self.out,
                "| {:8} | {:7} | {:9} | {:>10.0} | {of_bare:>7} | {:>7.2} | {:>7.2} | {:>7.1} | {:>14.3} | {:>7.1} |",
                record.engine,
                record.request,
                record.contender,
                record.requests_per_second,
                record.p50_ms,
                record.p99_ms,
                record.p99_over_p50,
                record.cpu_ms_per_request,
                record.peak_memory_mb,
            )?;
        }
        self.out.flush()
    }

    /// One line for each promise that was not kept, or one that all were.
    pub(super) fn verdict(&self) -> Vec<String> {
        let aims = format!(
            "at least {LEAST_OF_BARE} of the bare handler's requests per second, \
             p99 under {MOST_P99_OVER_P50} times p50, peak memory under {MOST_MEMORY} MB"
        );
        if self.shortcomings.is_empty() {
            return vec![format!("aims met: {aims}")];
        }
        let mut lines = vec![format!("aims missed: {aims}")];
        lines.extend(self.shortcomings.iter().map(|shortcoming| format!("  {shortcoming}")));
        lines
    }
}

/// The middle of the values, or the mean of the two in the middle; NaN of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (0, Some(upper)) => f64::midpoint(values[middle - 1], *upper),
        (_, value) => value.copied().unwrap_or(f64::NAN),
    }
}

/// Four decimals: more than was measured.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(round(*value))
}

#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
fn rounded_option<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(round).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(contender: Contender, requests_per_second: [f64; 3]) -> Measured {
        let round = |requests_per_second| Measurement {
            load: Load { requests: 1000, requests_per_second, p50: 2.0, p99: 5.0 },
            cpu_per_request: 0.125,
        };
        Measured { contender, rounds: requests_per_second.map(round).to_vec(), peak_memory: 12.5 }
    }

    fn records() -> [Record; 2] {
        let own = measured(Contender::TagsApi, [80.0, 500.0, 95.0]);
        let bare = measured(Contender::Bare, [100.0, 1000.0, 100.0]);
        let case = Case { engine: Engine::Mysql, request: Request::Get2, connections: 64 };
        [Record::of(case, &own, &bare), Record::of(case, &bare, &bare)]
    }

    fn printed(json: bool) -> (String, Vec<String>) {
        let mut out = Vec::new();
        let mut printer = Printer::start(&mut out, json).expect("memory takes everything");
        for record in records() {
            printer.print(&record).expect("memory takes everything");
        }
        let verdict = printer.verdict();
        (String::from_utf8(out).expect("text"), verdict)
    }

    #[test]
    fn the_table() {
        let (table, verdict) = printed(false);
        assert_eq!(
            table,
            "\
| engine   | request | contender | requests/s | of bare |  p50 ms |  p99 ms | p99/p50 | CPU ms/request | peak MB |
|----------|---------|-----------|-----------:|--------:|--------:|--------:|--------:|---------------:|--------:|
| mysql    | get_2   | tags-api  |         95 |    0.80 |    2.00 |    5.00 |     2.5 |          0.125 |    12.5 |
| mysql    | get_2   | bare      |        100 |         |    2.00 |    5.00 |     2.5 |          0.125 |    12.5 |
"
        );
        assert_eq!(verdict[1..], ["  mysql get_2: 0.80 of the bare handler's requests per second"]);
    }

    #[test]
    fn the_records() {
        let (records, _) = printed(true);
        let first = "{\"benchmark\":\"load\",\"engine\":\"mysql\",\"request\":\"get_2\",\"contender\":\"tags-api\",\
                     \"connections\":64,\"rounds\":3,\"requests_per_second\":95.0,\"of_bare\":0.8,\"p50_ms\":2.0,\
                     \"p99_ms\":5.0,\"p99_over_p50\":2.5,\"cpu_ms_per_request\":0.125,\"peak_memory_mb\":12.5}";
        assert_eq!(records.lines().next(), Some(first));
        assert_eq!(records.lines().count(), 2);
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median([4.0, 1.0, 3.0].into_iter()).to_bits(), 3.0_f64.to_bits());
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()).to_bits(), 2.5_f64.to_bits());
        assert!(median(std::iter::empty()).is_nan());
    }
}
