//! `freshdb diff`: what a failed test did to its database.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Table, presets};
use freshdb_databases::{Changes, Config, Kind, ObjectChange, RowChange, Server, TableChanges};
use similar::{ChangeTag, TextDiff};

use super::{plain, print};
use crate::cli::Diff;
use crate::failure::Failure;
use crate::say::say;

/// There is nothing of this name.
const NOTHING: u8 = 1;
/// How much of a value is shown.
const LONGEST_VALUE: usize = 60;
/// How much of the end of one that has nothing to be compared with.
const LONGEST_END: usize = 20;

const NONE: &str = "no test has failed in the last week, of those that said so";
const NULL: &str = "NULL";

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const ALTERED: Style = AnsiColor::Yellow.on_default();
const TITLE: Style = Style::new().bold();

pub(super) async fn diff(arguments: Diff) -> Result<ExitCode, Failure> {
    let config = Config::from_env()?;
    let mut stored = Changes::stored(&config);
    if arguments.list {
        return list(stored, &arguments);
    }
    // Those of other checkouts come behind, each the newest first.
    stored.sort_by_key(|changes| !changes.is_of_this_checkout());
    let found = match &arguments.name {
        None => stored.into_iter().next(),
        Some(name) => match named(stored, name) {
            Some(changes) => Some(changes),
            None => on_servers(&config, name).await?,
        },
    };
    let Some(changes) = found else {
        match &arguments.name {
            None => say(NONE),
            Some(name) => {
                say(format!("there is nothing of the name `{name}`"));
                say(
                    "hint: `freshdb diff --list` lists the tests that failed; a database that was kept is found by its whole name, on the servers that \
                     FRESHDB_MYSQL_URL, FRESHDB_MARIADB_URL and FRESHDB_POSTGRES_URL name",
                );
            }
        }
        return Ok(ExitCode::from(NOTHING));
    };
    if arguments.name.is_none() && !changes.is_of_this_checkout() {
        say("no test of this checkout has failed in the last week, of those that said so; this one is of another");
    }
    if arguments.json {
        return print(format!("{}\n", json(&changes)?).as_bytes());
    }
    show(&shown(&changes, usize::try_from(arguments.rows).unwrap_or(usize::MAX)))
}

/// The newest of this name, or else of one that it is a part of: a test's whole name may be how another's begins.
fn named(stored: Vec<Changes>, name: &str) -> Option<Changes> {
    let whole = stored.iter().position(|changes| changes.database() == name || changes.note() == name);
    let found = whole.or_else(|| stored.iter().position(|changes| changes.note().contains(name)))?;
    stored.into_iter().nth(found)
}

/// One that was kept on a server of the environment.
async fn on_servers(config: &Config, name: &str) -> Result<Option<Changes>, Failure> {
    let mut unknown = None;
    for url in Kind::ALL.into_iter().filter_map(|kind| config.url(kind)) {
        match Changes::of(&Server::existing(url.clone()), name).await {
            Ok(changes) => return Ok(Some(changes)),
            Err(error) if error.kind() == freshdb_databases::ErrorKind::Config => {}
            // It may be on the next.
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    unknown.map_or(Ok(None), |error| Err(error.into()))
}

fn list(mut stored: Vec<Changes>, arguments: &Diff) -> Result<ExitCode, Failure> {
    let of_all = stored.len();
    if !arguments.everything {
        stored.retain(Changes::is_of_this_checkout);
    }
    let others = of_all - stored.len();
    if stored.is_empty() && !arguments.json {
        say(NONE);
    }
    if others > 0 && !arguments.json {
        say(format!("{others} of other checkouts: `freshdb diff --list --everything` lists them, too"));
    }
    let mut lines = String::new();
    for changes in &stored {
        if arguments.json {
            writeln!(lines, "{}", json(changes)?).expect("a String takes all");
        } else {
            let note = plain(changes.note());
            let (database, age) = (changes.database(), age(changes.at()));
            writeln!(lines, "{note}\n  {database} of {}, {age}: {}", changes.engine(), plain(&changes.to_string()))
                .expect("a String takes all");
        }
    }
    print(lines.as_bytes())
}

fn json(changes: &Changes) -> Result<String, Failure> {
    serde_json::to_string(changes).map_err(|error| Failure::new("cannot write JSON").because(error))
}

/// Without colours, where standard output is no terminal or NO_COLOR is set.
fn show(text: &str) -> Result<ExitCode, Failure> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn shown(changes: &Changes, most_rows: usize) -> String {
    let note = if changes.note().is_empty() { "no note" } else { changes.note() };
    let mut parts = vec![format!(
        "{TITLE}{}{TITLE:#}\n{} of {}, {}\n",
        plain(note),
        changes.database(),
        changes.engine(),
        age(changes.at())
    )];
    parts.extend(changes.schema().iter().map(object));
    let values = if changes.engine() == Kind::Sqlite.name() { Values::Quoted } else { Values::Plain };
    parts.extend(changes.tables().iter().map(|changes| table(changes, values, most_rows)));
    if changes.is_empty() {
        parts.push("It is as its template: nothing was committed that is still there.\n".to_owned());
    }
    parts.join("\n")
}

fn object(change: &ObjectChange) -> String {
    let mut text = format!("{TITLE}{} {}{TITLE:#}: {}\n", change.kind, plain(&change.name), change.verb());
    let (before, after) = (change.before.as_deref().unwrap_or_default(), change.after.as_deref().unwrap_or_default());
    for line in TextDiff::from_lines(before, after).iter_all_changes() {
        let (sign, style) = match line.tag() {
            ChangeTag::Equal => (' ', Style::new()),
            ChangeTag::Insert => ('+', ADDED),
            ChangeTag::Delete => ('-', REMOVED),
        };
        writeln!(text, "{style}  {sign} {}{style:#}", plain(line.value().trim_end_matches('\n')))
            .expect("a String takes all");
    }
    text
}

fn table(changes: &TableChanges, values: Values, most_rows: usize) -> String {
    let mut text = format!("{TITLE}{}{TITLE:#}: {}\n", plain(&changes.table), changes.counts());
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let names = changes.columns.iter().map(|name| plain(name));
    table.set_header(std::iter::once(String::new()).chain(names));
    let mut styles = vec![Style::new()];
    for row in changes.rows.iter().take(most_rows) {
        let (sign, style, cells) = match (&row.before, &row.after) {
            (Some(before), Some(after)) => {
                let cells =
                    before.iter().zip(after).map(|(before, after)| values.change(before.as_deref(), after.as_deref()));
                ("~", ALTERED, cells.collect::<Vec<_>>())
            }
            (Some(row), None) => ("-", REMOVED, row.iter().map(|value| values.cell(value.as_deref())).collect()),
            (_, row) => ("+", ADDED, row.iter().flatten().map(|value| values.cell(value.as_deref())).collect()),
        };
        let is_number = |cell: &String| cell.parse::<f64>().is_ok();
        let cells = cells.into_iter().map(|cell| {
            let alignment = if is_number(&cell) { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(cell).set_alignment(alignment)
        });
        table.add_row(std::iter::once(Cell::new(sign)).chain(cells));
        styles.push(style);
    }
    for (line, style) in table.lines().zip(styles) {
        writeln!(text, "{style} {}{style:#}", line.trim_end()).expect("a String takes all");
    }
    let all = changes.inserted + changes.changed + changes.deleted;
    let shown = changes.rows.len().min(most_rows) as u64;
    if shown < all {
        let more = if changes.rows.len() > most_rows { "; --rows shows more" } else { "" };
        writeln!(text, "  and {} more{more}", all - shown).expect("a String takes all");
    }
    text
}

/// How the engine writes values. Whatever differs looks so.
#[derive(Clone, Copy)]
enum Values {
    /// As SQL does: texts stand in quotes, and nothing else does.
    Quoted,
    /// Texts stand as they are.
    Plain,
}

impl Values {
    fn cell(self, value: Option<&str>) -> String {
        let Some(value) = value else { return NULL.to_owned() };
        let text = written(value, self.has_to_be_quoted(value));
        let length = text.chars().count();
        if length <= LONGEST_VALUE {
            return text;
        }
        // Of rows without a key, one may differ from another at its end alone.
        let beginning = text.chars().take(LONGEST_VALUE - LONGEST_END);
        beginning.chain(['…']).chain(text.chars().skip(length - LONGEST_END)).collect()
    }

    fn change(self, before: Option<&str>, after: Option<&str>) -> String {
        if before == after {
            return self.cell(before);
        }
        let sides = [before, after];
        let quoted = sides.into_iter().flatten().any(|value| self.has_to_be_quoted(value));
        let mut texts = sides.map(|value| value.map(|value| written(value, quoted)));
        if texts[0] == texts[1] {
            // The one has a control character, and the other how that is written here.
            texts = sides.map(|value| value.map(|value| format!("{value:?}")));
        }
        let from = match &texts {
            [Some(before), Some(after)] => RowChange::shown_from(before, after, LONGEST_VALUE),
            _ => 0,
        };
        texts.map(|text| text.map_or_else(|| NULL.to_owned(), |text| around(&text, from))).join(" → ")
    }

    /// What could be taken for NULL, for nothing, for less than it is, or for what is said here.
    fn has_to_be_quoted(self, value: &str) -> bool {
        match self {
            Self::Quoted => false,
            Self::Plain => {
                value.eq_ignore_ascii_case(NULL)
                    || value.trim() != value
                    || value.is_empty()
                    || value.starts_with(['\'', '"', '…'])
                    || value.ends_with('…')
                    || value.contains('→')
            }
        }
    }
}

fn written(value: &str, quoted: bool) -> String {
    let text = plain(value);
    if quoted { format!("'{}'", text.replace('\'', "''")) } else { text }
}

/// So much of it as is shown, from there on.
fn around(text: &str, from: usize) -> String {
    let length = text.chars().count();
    if length <= LONGEST_VALUE {
        return text.to_owned();
    }
    let (left, right) = (if from > 0 { "…" } else { "" }, if from + LONGEST_VALUE < length { "…" } else { "" });
    let shown: String = text.chars().skip(from).take(LONGEST_VALUE).collect();
    format!("{left}{shown}{right}")
}

fn age(at: SystemTime) -> String {
    let age = SystemTime::now().duration_since(at).unwrap_or(Duration::ZERO).as_secs();
    let (number, unit) = match age {
        0..60 => (age, "second"),
        60..3600 => (age / 60, "minute"),
        3600..86_400 => (age / 3600, "hour"),
        _ => (age / 86_400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}
