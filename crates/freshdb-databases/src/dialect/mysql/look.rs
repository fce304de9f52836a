//! What a reset has to know of tables, asked of a server as far as it costs little: in one round trip, and a second one beside it where
//! somebody helps.
//!
//! Whoever was on the database has ended by then (see `reset.rs`): what is counted and looked at shows all that they have done.

use std::time::Duration;

use sqlx::MySqlConnection;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection::{TextRow, results_as_they_come, results_until, rows};
use super::marks::{CLOCK, Marks};
use super::opened::{self, Opened};
use super::template::{Template, qualified};

/// For how long those who alter tables are waited for. Without them what is counted is exact; with them too much is compared.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// How many tables a query looks into: it opens them all at once.
pub(super) const PROBES: usize = 200;

/// What the server said.
pub(super) struct Look {
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
        then: Option<&Marks>,
    ) -> Result<Self, sqlx::Error> {
        Self::take_with(connection, template, name, then, true).await
    }

    /// The same of a database that is pristine: no table has a row that should be empty.
    pub(super) async fn take_of_pristine(
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
    ) -> Result<Self, sqlx::Error> {
        Self::take_with(connection, template, name, None, false).await
    }

    async fn take_with(
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        then: Option<&Marks>,
        looks_for_rows: bool,
    ) -> Result<Self, sqlx::Error> {
        let own = &template.own;
        let many = template.has_many_tables();
        let first = if many { vec![Opened::question(name)] } else { Vec::new() };
        // Before the tables are looked at: what is written after that is not older.
        let mut rest = vec![CLOCK.to_owned()];
        // Where not all tables may have to be looked at, it is asked before which ones may.
        let asks_which = then.filter(|_| many);
        let mut looks_into = Vec::new();
        let mut passed_over = Vec::new();
        if asks_which.is_none() {
            rest.push(known_of_tables(template, name, None));
            if looks_for_rows {
                let is_proved_by_time =
                    |index: &usize| then.is_some_and(|then| then.can_prove(&template.tables[*index]));
                (passed_over, looks_into) = empty_tables(template, None).into_iter().partition(is_proved_by_time);
                rest.extend(probes(template, name, &looks_into));
            }
        }

        let quiet = timeout(LONGEST_WAIT, own.quiet.write()).await;
        let done = [own.alters.done(), own.truncates.done(), own.flushes.done()];
        let (counters, lists, mut is_whole) = ask(connection, template, &first, &rest).await?;
        drop(quiet);
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let opened = if many { Some(Opened::of(next())) } else { None };
        let mut marks = Marks::of(own, done, &counters, next());
        marks.note_opened(opened);
        if many && marks.may_be_closing(asks_which) {
            marks.note_closing(opened::somebody_closes(connection).await?);
        }
        if let Some(then) = asks_which {
            if let Some(some) = marks.opened_since(then, template) {
                marks.look_only_at(some, then, template);
            }
            looks_into = empty_tables(template, marks.looked_at());
            let mut sql = vec![known_of_tables(template, name, marks.looked_at())];
            sql.extend(probes(template, name, &looks_into));
            let asked = sql.len();
            let (at_tables, refused) = results_until(connection, &sql.join(";")).await?;
            is_whole &= refused.is_none() && at_tables.len() == asked;
            lists = at_tables.into_iter();
        }
        marks.note_tables(template.features, lists.next());

        let is_partial = !is_whole || !marks.are_whole;
        let asks = looks_for_rows && !template.features.truncate_is_cheaper && !is_partial;
        let mut filled: Vec<usize> =
            looks_into.chunks(PROBES).zip(lists).flat_map(|(some, answer)| with_a_row(some, answer)).collect();
        let written = marks.written_of(&passed_over, then, template);
        let is_answered = asks && written.is_some();
        filled.extend(written.into_iter().flatten());
        Ok(Self { marks, filled: is_answered.then_some(filled), is_partial })
    }
}

/// Asks the first questions, and when they are answered the rest, and how often statements were executed: at the same time, where somebody
/// helps. The answer to the last comes by itself; the others in order, as far as the server gave them, and whether it gave all.
async fn ask(
    connection: &mut MySqlConnection,
    template: &Template,
    first: &[String],
    rest: &[String],
) -> Result<(Vec<TextRow>, Vec<Vec<TextRow>>, bool), sqlx::Error> {
    // One short question is sooner asked than two at the same time.
    let help = if template.is_helped_to_look() && rest.len() > 1 { template.helper.try_connected() } else { None };
    let Some(help) = help else {
        let sql = [first, std::slice::from_ref(&template.statements), rest].concat();
        let (mut lists, refused) = results_until(connection, &sql.join(";")).await?;
        let is_whole = refused.is_none() && lists.len() == sql.len();
        let counters = if lists.len() > first.len() { lists.remove(first.len()) } else { Vec::new() };
        return Ok((counters, lists, is_whole));
    };
    let sql = [first, rest].concat();
    let (begin, signal) = oneshot::channel();
    let mut begin = Some(begin);
    let answered_first = first.len();
    let mut tell = move |answered| {
        if answered == answered_first {
            begin.take().map(|begin| begin.send(()));
        }
    };
    tell(0);
    let asked = async { results_as_they_come(connection, &sql.join(";"), tell).await };
    let counted = async { if signal.await.is_ok() { help.rows(&template.statements).await } else { None } };
    let (asked, counted) = tokio::join!(asked, counted);
    let (lists, refused) = asked?;
    let counters = match counted {
        Some(counters) => counters,
        None => rows(connection, &template.statements).await?,
    };
    let is_whole = refused.is_none() && lists.len() == sql.len();
    Ok((counters, lists, is_whole))
}

/// The question for what is known of the tables: of all, or of some.
fn known_of_tables(template: &Template, name: &str, some: Option<&[usize]>) -> String {
    match some {
        Some(some) if some.len() <= PROBES => opened::tables_of(template, name, some),
        _ => template.features.tables(name),
    }
}

/// The tables, of all or of some, that are empty in the template, where they are looked into in the same breath.
fn empty_tables(template: &Template, some: Option<&[usize]>) -> Vec<usize> {
    if template.features.truncate_is_cheaper {
        return Vec::new();
    }
    let all: Vec<usize> = (0..template.tables.len()).collect();
    some.unwrap_or(&all).iter().filter(|index| !template.tables[**index].seeded).copied().collect()
}

/// The questions for which of some tables have a row.
fn probes(template: &Template, name: &str, some: &[usize]) -> Vec<String> {
    some.chunks(PROBES).map(|some| template.probe(name, some)).collect()
}

impl Template {
    /// Whether the second connection helps to look. That of MySQL truncates tables.
    pub(super) fn is_helped_to_look(&self) -> bool {
        !self.features.truncate_is_cheaper
    }

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
