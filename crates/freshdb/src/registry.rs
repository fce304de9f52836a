//! The sessions that are open: where each was opened, and since when.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::conduct::{Last, LastStatement};
use crate::dialect::{Backend, Interrupt};
use crate::lease::Live;
use crate::sql::{Syntax, without_values};

/// The place in the caller's source where a session was opened.
pub(crate) type Place = &'static Location<'static>;

/// What a session was opened for, in the user's words.
pub(crate) type Label = Arc<dyn fmt::Display + Send + Sync>;

/// What a session is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Statements of their own.
    Session,
    /// A transaction.
    Transaction,
}

impl fmt::Display for Use {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
        })
    }
}

/// Every session that is open. What a user wrote, such as a label, is neither written nor dropped while the lock is held: it may ask the
/// engine who is open.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    /// In the order in which they were opened.
    open: BTreeMap<u64, Entry>,
    /// Those that came back inside a transaction of their own, which was rolled back: the session, and the statement that began it.
    #[cfg(feature = "test")]
    left_open: Vec<(OpenSession, sqlx::SqlStr)>,
    /// Every connection that the engine has made, by the server's number.
    #[cfg(feature = "test")]
    own: Vec<u64>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) since: Instant,
    pub(crate) used_for: Use,
    pub(crate) id: Option<u64>,
    pub(crate) interrupt: Option<Interrupt>,
    pub(crate) last: Last,
    pub(crate) syntax: Syntax,
    pub(crate) label: Option<Label>,
    /// The server was told to end it. Its number may be another's by now.
    pub(crate) ended: bool,
    /// The calls that led to its opening, where the place is freshdb's own: it was called through somebody else's trait.
    #[cfg(feature = "test")]
    trace: Option<crate::test::trace::Trace>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", OpenSession::without_label(self))
    }
}

impl Registry {
    /// Notes a session; the number strikes it out again.
    pub(crate) fn open<DB: Backend>(&self, place: Place, live: &Live<DB>) -> u64 {
        let mut entries = self.entries();
        let key = entries.next;
        entries.next += 1;
        let (id, interrupt, last) = (live.id, live.interrupt.clone(), live.last.clone());
        let (used_for, since) = (Use::Session, Instant::now());
        let entry = Entry {
            place,
            since,
            used_for,
            id,
            interrupt,
            last,
            syntax: DB::SYNTAX,
            label: None,
            ended: false,
            #[cfg(feature = "test")]
            trace: crate::test::trace::is_ours(place).then(crate::test::trace::Trace::capture),
        };
        entries.open.insert(key, entry);
        key
    }

    pub(crate) fn used_for(&self, key: u64, used_for: Use) {
        if let Some(entry) = self.entries().open.get_mut(&key) {
            entry.used_for = used_for;
        }
    }

    pub(crate) fn label(&self, key: u64, label: Label) {
        let former = self.entries().open.get_mut(&key).and_then(|entry| entry.label.replace(label));
        drop(former);
    }

    pub(crate) fn note_ended(&self, ids: &[u64]) {
        for entry in self.entries().open.values_mut().filter(|entry| entry.id.is_some_and(|id| ids.contains(&id))) {
            entry.ended = true;
        }
    }

    pub(crate) fn close(&self, key: u64) {
        let closed = self.entries().open.remove(&key);
        drop(closed);
    }

    /// A session comes back inside a transaction that a statement of its own began.
    #[cfg(feature = "test")]
    pub(crate) fn note_left_open(&self, key: u64, statement: sqlx::SqlStr) {
        let mut entries = self.entries();
        if let Some(session) = entries.open.get(&key).map(OpenSession::without_label) {
            entries.left_open.push((session, statement));
        }
    }

    /// A connection is the engine's.
    #[cfg(feature = "test")]
    pub(crate) fn note_own(&self, id: Option<u64>) {
        self.entries().own.extend(id);
    }

    /// The connections that were ever the engine's.
    #[cfg(feature = "test")]
    pub(crate) fn own(&self) -> Vec<u64> {
        self.entries().own.clone()
    }

    #[cfg(feature = "test")]
    pub(crate) fn take_left_open(&self) -> Vec<(OpenSession, sqlx::SqlStr)> {
        std::mem::take(&mut self.entries().left_open)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries().open.len()
    }

    /// The oldest first.
    pub(crate) fn list(&self) -> Vec<Entry> {
        self.entries().open.values().cloned().collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is open, as it is told to people.
#[derive(Clone)]
pub struct OpenSession {
    pub(crate) place: Place,
    pub(crate) open_for: Duration,
    pub(crate) used_for: Use,
    pub(crate) connection_id: Option<u64>,
    pub(crate) state: Option<String>,
    pub(crate) last_statement: LastStatement,
    syntax: Syntax,
    pub(crate) label: Option<String>,
    #[cfg(feature = "test")]
    trace: Option<crate::test::trace::Trace>,
}

impl OpenSession {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { label: entry.label.as_ref().map(ToString::to_string), ..Self::without_label(entry) }
    }

    fn without_label(entry: &Entry) -> Self {
        Self {
            place: entry.place,
            open_for: entry.since.elapsed(),
            used_for: entry.used_for,
            connection_id: entry.id,
            state: None,
            last_statement: entry.last.get(),
            syntax: entry.syntax,
            label: None,
            #[cfg(feature = "test")]
            trace: entry.trace.clone(),
        }
    }

    /// Where it was opened, by whichever way.
    #[cfg(feature = "test")]
    pub(crate) fn source(&self) -> crate::test::trace::Source {
        use crate::test::trace::Source;

        self.trace.as_ref().map_or_else(|| Source::of_location(self.place), crate::test::trace::Trace::source)
    }

    #[cfg(not(feature = "test"))]
    fn source(&self) -> Place {
        self.place
    }

    /// Where it was opened: the call of `session()` or `begin()` in your source.
    pub fn place(&self) -> &'static Location<'static> {
        self.place
    }

    /// What it was opened for, where that was said: a handler's argument says which request it is, as `GET /api/tag`.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// For how long it has been open.
    pub fn open_for(&self) -> Duration {
        self.open_for
    }

    /// Whether it is a transaction.
    pub fn used_for(&self) -> Use {
        self.used_for
    }

    /// How the server calls its connection (`CONNECTION_ID()`, `pg_backend_pid()`); an embedded database has no server.
    pub fn connection_id(&self) -> Option<u64> {
        self.connection_id
    }

    /// What the server says it is doing, where the server was asked and knows.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The statement that it executed last, where the session saw it or the server knows it. As it was executed: what is shown by `{}` and
    /// `{:?}`, and so in errors, has `?` in the place of each text and number, which may be a secret.
    pub fn last_statement(&self) -> Option<&str> {
        match &self.last_statement {
            LastStatement::Seen(sql) => Some(sql.as_str()),
            LastStatement::None | LastStatement::Unseen => None,
        }
    }
}

/// As a report shows it: several lines, each indented by two spaces or more. By `{:#}` with the values of its last statement.
impl fmt::Display for OpenSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "  {}", self.used_for)?;
        if let Some(id) = self.connection_id {
            write!(formatter, " {id}")?;
        }
        let state = self.state.as_deref().map(|state| format!("{state}, ")).unwrap_or_default();
        writeln!(formatter, ": {state}open for {}", seconds(self.open_for))?;
        let label = self.label.as_deref().map(|label| format!(" for {}", one_line(label))).unwrap_or_default();
        writeln!(formatter, "    opened{label} at {}", self.source())?;
        let last = match &self.last_statement {
            LastStatement::None => "none".into(),
            LastStatement::Seen(sql) if formatter.alternate() => one_line(sql.as_str()),
            LastStatement::Seen(sql) => one_line(&without_values(sql.as_str(), self.syntax)),
            LastStatement::Unseen => "unknown".into(),
        };
        write!(formatter, "    last statement: {last}")
    }
}

impl fmt::Debug for OpenSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OpenSession(\n{self}\n)")
    }
}

/// `1.9 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The time after which something was given up, which may be so short that it would be `0.0 s`: `5 ms`.
pub(crate) fn time_limit(duration: Duration) -> String {
    match duration.as_secs_f64() * 1e3 {
        ..1.0 => format!("{} µs", duration.as_micros()),
        ms @ 1.0..50.0 => format!("{ms:.0} ms"),
        _ => seconds(duration),
    }
}

/// A statement, or a label, in one line of at most a hundred characters.
fn one_line(text: &str) -> String {
    const MOST: usize = 100;

    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_none() {
        let shown =
            [300, 1_000, 20_000, 49_999, 50_000, 2_000_000].map(|micros| time_limit(Duration::from_micros(micros)));
        assert_eq!(shown, ["300 µs", "1 ms", "20 ms", "50 ms", "0.1 s", "2.0 s"]);
    }
}
