//! One round trip that asks a server all that a reset has to know, as far as it costs little.

use std::time::Duration;

use sqlx::MySqlConnection;
use tokio::time::timeout;

use super::super::ServerSession;
use super::connection::{TextRow, results_until};
use super::marks::Marks;
use super::opened::{self, Opened};
use super::sessions::session;
use super::template::{Template, qualified};

/// For how long those who alter tables are waited for. Without them what is counted is exact; with them too much is compared.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// How many tables a query looks into: it opens them all at once.
pub(super) const PROBES: usize = 200;

/// How often each statement was executed that may matter. `performance_schema.global_status` of MySQL leaves these out. A row that is sent
/// costs more than one that is not, and most are 0.
const STATEMENTS: &str = "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Com\\_%' AND Variable_name NOT LIKE 'Com\\_show\\_%' AND Value <> '0'";

/// How long a look waits for tables that somebody has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all: whoever is still on the database is in the list of sessions, and is ended first.
    None,
    /// As long as everything that is asked here.
    Usual,
}

/// What the server said.
pub(super) struct Look {
    /// Everybody who was connected, before anything else was asked.
    pub(super) sessions: Vec<ServerSession>,
    /// Whether there is a prepared transaction on the server.
    pub(super) prepared: bool,
    pub(super) marks: Marks,
    /// The tables that should be empty and have rows, where that is asked in the same breath and was answered.
    pub(super) filled: Option<Vec<usize>>,
    /// Whether it was broken off: a table is locked, or gone.
    pub(super) is_partial: bool,
}

impl Look {
    /// What was known `then`, of the same database, can spare it a look at most of many tables.
    pub(super) async fn take(
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        patience: Patience,
        then: Option<&Marks>,
    ) -> Result<Self, sqlx::Error> {
        let own = &template.own;
        let many = template.has_many_tables();
        let mut sql = vec![
            "SHOW FULL PROCESSLIST".to_owned(),
            "XA RECOVER".to_owned(),
            STATEMENTS.to_owned(),
            // Before the tables are: what is written after that is not older.
            "SELECT UNIX_TIMESTAMP()".to_owned(),
        ];
        if many {
            sql.extend(Opened::questions(name));
        }
        // Where not all tables may have to be looked at, that is asked first.
        let then = then.filter(|_| many);
        let mut looks_into = Vec::new();
        if then.is_none() {
            let (at_tables, empty) = at_tables(template, name, patience, None);
            sql.extend(at_tables);
            looks_into = empty;
        }

        let quiet = timeout(LONGEST_WAIT, own.quiet.write()).await;
        let done = [own.alters.done(), own.truncates.done(), own.flushes.done()];
        let wanted = sql.len();
        let (lists, refused) = results_until(connection, &sql.join(";")).await?;
        drop(quiet);
        let mut is_whole = refused.is_none() && lists.len() == wanted;
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let sessions = next().into_iter().filter_map(session).collect();
        let prepared = !next().is_empty();
        let (counters, clock) = (next(), next());
        let mut marks = Marks::of(own, done, counters, clock);
        if many {
            marks.note_opened([next(), next(), next()]);
        }
        if let Some(then) = then {
            if let Some(some) = marks.opened_since(then, template) {
                marks.look_only_at(some, then, template);
            }
            let (sql, empty) = at_tables(template, name, patience, marks.looked_at());
            let asked = sql.len();
            looks_into = empty;
            let (at_tables, refused) = results_until(connection, &sql.join(";")).await?;
            is_whole &= refused.is_none() && at_tables.len() == asked;
            lists = at_tables.into_iter();
        }
        marks.note_tables(template.features, lists.next().unwrap_or_default());

        let is_partial = !is_whole || !marks.are_whole;
        let asks = template.features.patience && !is_partial;
        let filled = looks_into.chunks(PROBES).zip(lists).flat_map(|(some, answer)| with_a_row(some, answer)).collect();
        Ok(Self { sessions, prepared, marks, filled: asks.then_some(filled), is_partial })
    }
}

/// The questions for what is known of the tables, and for which of those that are empty in the template have a row now: of all, or of
/// some. The latter are named too, where that is asked.
fn at_tables(template: &Template, name: &str, patience: Patience, some: Option<&[usize]>) -> (Vec<String>, Vec<usize>) {
    let features = template.features;
    let known = match some {
        Some(some) if some.len() <= PROBES => opened::tables_of(template, name, some),
        _ => features.tables(name),
    };
    if !features.patience {
        return (vec![known], Vec::new());
    }
    let all: Vec<usize> = (0..template.tables.len()).collect();
    let empty: Vec<usize> =
        some.unwrap_or(&all).iter().filter(|index| !template.tables[**index].seeded).copied().collect();
    let probes = empty.chunks(PROBES).map(|some| template.probe(name, some));
    let questions = std::iter::once(known).chain(probes).map(|sql| format!("{}{sql}", at_once(patience))).collect();
    (questions, empty)
}

fn at_once(patience: Patience) -> &'static str {
    match patience {
        Patience::None => "SET STATEMENT lock_wait_timeout = 0, innodb_lock_wait_timeout = 0 FOR ",
        Patience::Usual => "",
    }
}

impl Template {
    /// A query for which of some tables have a row, in history too. [`with_a_row`] reads its answer.
    pub(super) fn probe(&self, database: &str, some: &[usize]) -> String {
        let probe = |index: &usize| {
            let table = &self.tables[*index];
            let history = if table.versioned { " FOR SYSTEM_TIME ALL" } else { "" };
            format!("EXISTS (SELECT 1 FROM {}{history})", qualified(database, &table.name))
        };
        let probes: Vec<String> = some.iter().map(probe).collect();
        // One value: each column costs more than the look into its table.
        format!("SELECT CONCAT({})", probes.join(","))
    }
}

/// Those of some tables that have a row, out of the answer to [`Template::probe`]: a digit for each.
pub(super) fn with_a_row(some: &[usize], answer: Vec<TextRow>) -> Vec<usize> {
    let digits = answer.into_iter().flatten().flatten().next().unwrap_or_default();
    some.iter().zip(digits.bytes()).filter(|(_, digit)| *digit == b'1').map(|(index, _)| *index).collect()
}
