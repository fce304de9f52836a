//! The figures as a bar chart: an SVG that needs nothing but itself, and that is read on white and on dark.

use std::fmt::{Display, Write as _};

use super::case::Contender;
use super::report::Record;

const PANEL_WIDTH: f64 = 470.0;
const PANEL_HEIGHT: f64 = 150.0;
/// Between panels, for what is written beside and below them.
const LEFT: f64 = 44.0;
const ABOVE: f64 = 26.0;
const BELOW: f64 = 20.0;
const LEGEND: f64 = 56.0;

/// Colours of a middle brightness, which stand out from white and from black, and from each other in grey too.
fn colour(contender: Contender) -> &'static str {
    match contender {
        Contender::Freshdb => "#1a9e6b",
        Contender::FreshdbRun => "#7cc9a5",
        Contender::SqlxTest => "#d98032",
        Contender::DbPool => "#7a6fd0",
        Contender::CreateAndDrop => "#c4526a",
        Contender::Rollback => "#8b949e",
    }
}

/// A panel for each engine and size, in it a group for each way of running the tests, in it a bar for each contender.
pub(super) fn svg(records: &[Record]) -> String {
    let rows = distinct(records.iter().map(|record| record.engine));
    let columns = distinct(records.iter().map(|record| record.tables));
    let contenders = distinct(records.iter().map(|record| record.contender));
    let scale = Scale::of(records);
    let width = by(columns.len(), LEFT + PANEL_WIDTH) + 10.0;
    let height = LEGEND + by(rows.len(), ABOVE + PANEL_HEIGHT + BELOW) + 6.0;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>Milliseconds a test, by who gives it its database</title>\n{STYLE}"
    );
    text(&mut svg, 8.0, 18.0, "title", "Milliseconds a test (log scale; less is better)");
    for (number, contender) in contenders.iter().enumerate() {
        let x = 8.0 + by(number, 150.0);
        rect(&mut svg, (x, 30.0), (12.0, 12.0), colour(*contender), "");
        text(&mut svg, x + 18.0, 40.0, "", contender.name());
    }
    for (row, engine) in rows.iter().enumerate() {
        for (column, tables) in columns.iter().enumerate() {
            let x = LEFT + by(column, LEFT + PANEL_WIDTH);
            let y = LEGEND + ABOVE + by(row, ABOVE + PANEL_HEIGHT + BELOW);
            let here: Vec<&Record> =
                records.iter().filter(|record| record.engine == *engine && record.tables == *tables).collect();
            let noun = if *tables == 1 { "table" } else { "tables" };
            text(&mut svg, x, y - 8.0, "title", format_args!("{engine}, {tables} {noun}"));
            panel(&mut svg, (x, y), &scale, &contenders, &here);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

const STYLE: &str = "<style>\
text{font:11px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;font-size:13px}\
.number{font-size:8px;text-anchor:middle}.axis{text-anchor:end}.group{text-anchor:middle}\
line{stroke:#8b949e;stroke-opacity:.35}\
@media(prefers-color-scheme:dark){text{fill:#b1bac4}}\
</style>\n";

fn panel(svg: &mut String, (x, y): (f64, f64), scale: &Scale, contenders: &[Contender], records: &[&Record]) {
    for power in scale.lowest..=scale.highest {
        let value = 10_f64.powi(power);
        let height = y + PANEL_HEIGHT - scale.height(value);
        let end = x + PANEL_WIDTH;
        writeln!(svg, "<line x1=\"{x:.1}\" x2=\"{end:.1}\" y1=\"{height:.1}\" y2=\"{height:.1}\"/>")
            .expect("a text takes all");
        text(svg, x - 4.0, height + 4.0, "axis", value);
    }
    let groups = distinct(records.iter().map(|record| record.threads));
    let group_width = PANEL_WIDTH / by(groups.len().max(1), 1.0);
    let bar = (group_width - 14.0) / by(contenders.len(), 1.0);
    for (number, threads) in groups.iter().enumerate() {
        let left = x + by(number, group_width) + 7.0;
        let label = match threads.to_string().as_str() {
            "1" => "1 thread".to_owned(),
            "nextest" => "nextest".to_owned(),
            other => format!("{other} threads"),
        };
        text(svg, left + (group_width - 14.0) / 2.0, y + PANEL_HEIGHT + 14.0, "group", label);
        for record in records.iter().filter(|record| record.threads == *threads) {
            let Some(place) = contenders.iter().position(|contender| *contender == record.contender) else { continue };
            let left = left + by(place, bar);
            let Some(value) = record.ms_per_test else {
                text(svg, left + bar / 2.0, y + PANEL_HEIGHT - 3.0, "number", "×");
                continue;
            };
            let height = scale.height(value);
            let top = y + PANEL_HEIGHT - height;
            let name = format!("{}, {threads}: {value} ms", record.contender.name());
            rect(svg, (left, top), (bar - 1.5, height), colour(record.contender), &name);
            text(svg, left + bar / 2.0 - 0.7, top - 3.0, "number", short(value));
        }
    }
}

/// Two digits are enough above a bar.
fn short(value: f64) -> String {
    if value < 1.0 {
        format!("{value:.2}")
    } else if value < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn rect(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str, title: &str) {
    write!(svg, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\">")
        .expect("a text takes all");
    if !title.is_empty() {
        write!(svg, "<title>{title}</title>").expect("a text takes all");
    }
    svg.push_str("</rect>\n");
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, text: impl Display) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\"{class}>{text}</text>").expect("a text takes all");
}

/// Whole powers of ten around all figures.
struct Scale {
    lowest: i32,
    highest: i32,
}

impl Scale {
    #[allow(clippy::cast_possible_truncation, reason = "a power of ten of milliseconds is small")]
    fn of(records: &[Record]) -> Self {
        let powers = || records.iter().filter_map(|record| record.ms_per_test).map(|value| value.max(1e-3).log10());
        let lowest = powers().reduce(f64::min).unwrap_or(0.0).floor() as i32;
        let highest = powers().reduce(f64::max).unwrap_or(1.0).ceil() as i32;
        Self { lowest, highest: highest.max(lowest + 1) }
    }

    fn height(&self, value: f64) -> f64 {
        let part = (value.max(1e-3).log10() - f64::from(self.lowest)) / f64::from(self.highest - self.lowest);
        part.clamp(0.0, 1.0) * PANEL_HEIGHT
    }
}

#[allow(clippy::cast_precision_loss, reason = "a number of bars")]
fn by(number: usize, each: f64) -> f64 {
    number as f64 * each
}

/// Each once, in the order of its first time.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::records;
    use super::*;

    #[test]
    fn the_chart_has_a_bar_for_each_figure() {
        let svg = svg(&records());
        assert_eq!(svg.matches("<rect").count(), 6 + 17, "the legend, and eighteen figures of which one is missing");
        assert_eq!(svg.matches("×</text>").count(), 1);
        insta::assert_snapshot!(svg);
    }

    #[test]
    fn without_figures_there_is_still_a_chart() {
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
