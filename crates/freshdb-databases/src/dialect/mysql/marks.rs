//! What the server itself counts: cheap to ask, and enough to tell what cannot have been touched. Whatever they do not rule out
//! is compared by content.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sqlx::MySqlConnection;

use super::connection::{OWN, TextRow, fixed, literal, number, rows};
use super::look::PROBES;
use super::opened::{self, Definitions, Opened};
use super::own::{Issued, Others, Own};
use super::template::{Table, Template, qualified};

/// Statements that leave every definition as it is. All others count as if they had altered one, those of versions to come too.
///
/// `TRUNCATE`, `ALTER TABLE` and `FLUSH` are counted apart: resets use them, of other databases too.
const HARMLESS: &str = "admin_commands begin binlog call_procedure change_db check checksum commit compound_sql dealloc_sql delete \
     delete_multi do empty_query execute_immediate execute_sql explain_other get_diagnostics ha_close ha_open ha_read help insert \
     insert_select kill load lock_tables prepare_sql release_savepoint replace replace_select resignal rollback rollback_to_savepoint \
     savepoint select set_option signal stmt_close stmt_execute stmt_fetch stmt_prepare stmt_reprepare stmt_reset \
     stmt_send_long_data unlock_tables update update_multi xa_commit xa_end xa_prepare xa_recover xa_rollback xa_start \
     create_temporary_table drop_temporary_table alter_user alter_user_default_role create_role create_user drop_role drop_user grant \
     grant_role grant_roles rename_user revoke revoke_all revoke_role revoke_roles set_password set_role";

/// By how many seconds the time of a table's last write can be behind `UNIX_TIMESTAMP()`: the one is read from a clock that the kernel moves on
/// a few hundred times a second, the other from one that is exact. So in the first moment of a second a write still has the time of the
/// second before.
const CLOCKS_DIFFER: u64 = 1;

/// The question for the server's clock, and for how many tables' definitions it has room.
pub(super) const CLOCK: &str = "SELECT UNIX_TIMESTAMP(), @@GLOBAL.table_definition_cache";

/// How often each statement was executed that is executed at all. `performance_schema.global_status` of MySQL leaves these out. A row that
/// is sent costs more than one that is not, and most are 0. With them, for how many sessions and tables `performance_schema` had no room: what
/// these write it does not count.
const STATEMENTS: &str = "SHOW GLOBAL STATUS WHERE (Variable_name LIKE 'Com\\_%' AND Variable_name NOT LIKE 'Com\\_show\\_%' \
     OR Variable_name IN ('Performance_schema_table_handles_lost', 'Performance_schema_thread_instances_lost')) AND Value <> '0'";

/// The question for how often each statement was executed that may matter; of MariaDB, for the counters of what is open too.
pub(super) async fn statements(connection: &mut MySqlConnection, features: Features) -> Result<String, sqlx::Error> {
    if features.truncate_is_cheaper {
        // MySQL looks at every counter for each name.
        return Ok(STATEMENTS.to_owned());
    }
    // A counter that is not asked for by name is not read: a third of what MariaDB does for all of them.
    let known = rows(connection, "SHOW GLOBAL STATUS LIKE 'Com\\_%'").await?;
    let known = known.into_iter().filter_map(|row| row.into_iter().next().flatten());
    let wanted = known.filter(|counter| statement(counter).is_some_and(|statement| may_matter(&statement)));
    let wanted: Vec<String> = wanted.chain(opened::COUNTERS.map(str::to_owned)).map(|name| literal(&name)).collect();
    Ok(format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({}) AND Value <> '0'", wanted.join(",")))
}

/// The kind of statement that a counter counts.
fn statement(counter: &str) -> Option<String> {
    counter.to_lowercase().strip_prefix("com_").map(str::to_owned)
}

/// Whether a statement can change a definition, or is counted apart.
fn may_matter(statement: &str) -> bool {
    !statement.starts_with("show_") && HARMLESS.split(' ').all(|harmless| harmless != statement)
}

/// What a server has, found out by asking it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a server")]
pub(super) struct Features {
    /// Whether it can count writes, and does if it is set so.
    counts: bool,
    /// Whether it counts every write to each table: every attempt, the failed and the rolled back too, in a `performance_schema`. A
    /// table that was ever open has a row. MariaDB's counts some writes and others not: there, all tables are looked at.
    pub(super) writes: bool,
    /// Whether a TRUNCATE costs less than an ALTER that sets the counter: where the definitions of tables are in InnoDB.
    pub(super) truncate_is_cheaper: bool,
    /// Whether it says which threads there are. MySQL's list of sessions leaves out those that are leaving.
    lists_threads: bool,
}

/// The threads of clients: <https://dev.mysql.com/doc/refman/9.7/en/performance-schema-threads-table.html>.
const THREADS: &str = "SELECT processlist_id FROM performance_schema.threads WHERE name = 'thread/sql/one_connection'";

/// Whether `performance_schema` counts each write to each table of each session, and has lost none for want of room.
const COUNTS_ALL_WRITES: &str = "SELECT @@GLOBAL.performance_schema
     AND EXISTS (SELECT 1 FROM performance_schema.setup_instruments WHERE name = 'wait/io/table/sql/handler' AND enabled = 'YES')
     AND EXISTS (SELECT 1 FROM performance_schema.setup_consumers WHERE name = 'global_instrumentation' AND enabled = 'YES')
     AND EXISTS (SELECT 1 FROM performance_schema.setup_actors WHERE host = '%' AND user = '%' AND role = '%')
     AND NOT EXISTS (SELECT 1 FROM performance_schema.setup_actors WHERE enabled <> 'YES')
     AND EXISTS (SELECT 1 FROM performance_schema.setup_objects
          WHERE object_type = 'TABLE' AND object_schema = '%' AND object_name = '%')
     AND NOT EXISTS (SELECT 1 FROM performance_schema.setup_objects WHERE object_type = 'TABLE' AND enabled <> 'YES'
          AND object_schema NOT IN ('mysql', 'performance_schema', 'information_schema'))
     AND NOT EXISTS (SELECT 1 FROM performance_schema.global_status WHERE variable_value <> '0'
          AND variable_name IN ('Performance_schema_table_handles_lost', 'Performance_schema_thread_instances_lost'))";

impl Features {
    pub(super) async fn probe(connection: &mut MySqlConnection) -> Result<Self, sqlx::Error> {
        // Not by OR, with which MariaDB looks through every database: see `catalog::read`.
        let sql = "SELECT table_schema, table_name FROM information_schema.tables
              WHERE table_schema = 'performance_schema' AND table_name = 'table_io_waits_summary_by_table'
             UNION ALL SELECT table_schema, table_name FROM information_schema.tables
              WHERE table_schema = 'information_schema' AND table_name = 'INNODB_TABLES'";
        let found: HashSet<String> = rows(connection, sql)
            .await?
            .into_iter()
            .filter_map(|row| row.into_iter().nth(1).flatten())
            .map(|name| name.to_lowercase())
            .collect();
        let truncate_is_cheaper = found.contains("innodb_tables");
        let counts = truncate_is_cheaper && found.contains("table_io_waits_summary_by_table");
        Self { counts, truncate_is_cheaper, ..Self::default() }.again(connection).await
    }

    /// Those of the same server at another time: what it has goes by its version, but not how it is set.
    pub(super) async fn again(self, connection: &mut MySqlConnection) -> Result<Self, sqlx::Error> {
        // Whoever may not see the sessions of other users is told so here; the list of sessions would just leave them out. It is for the
        // same privilege, PROCESS. Not `innodb_trx`, which says for a tenth of a second what it said to whoever asked last.
        rows(connection, "SELECT COUNT(*) FROM information_schema.innodb_cmp WHERE page_size = 0").await?;
        let (mut writes, mut lists_threads) = (false, false);
        if self.counts {
            // Whoever may not read these settings does not know whether all is counted.
            writes = is_so(connection, COUNTS_ALL_WRITES).await?;
            lists_threads = is_so(connection, &format!("SELECT CONNECTION_ID() IN ({THREADS})")).await?;
        }
        Ok(Self { writes, lists_threads, ..self })
    }

    /// The question for the threads of all sessions, where it tells more than their list does.
    pub(super) fn threads(self) -> Option<&'static str> {
        self.lists_threads.then_some(THREADS)
    }

    /// The question for what the server counts and knows of each table: of those only that it knows more of than what is so at first.
    pub(super) fn tables(self, name: &str) -> String {
        let schema = literal(name);
        if self.writes {
            format!(
                "SELECT object_name, count_write FROM performance_schema.table_io_waits_summary_by_table
                  WHERE object_type = 'TABLE' AND object_schema = {schema}"
            )
        } else if self.truncate_is_cheaper {
            // There it is no cheap question.
            "DO 0".to_owned()
        } else {
            format!(
                "{OWN}SELECT table_name, engine, auto_increment, UNIX_TIMESTAMP(update_time), table_type
                  FROM information_schema.tables
                  WHERE table_schema = {schema} AND (auto_increment > 1 OR update_time IS NOT NULL OR engine IS NULL)"
            )
        }
    }
}

/// Whether the server answers `1`, and does not refuse to.
async fn is_so(connection: &mut MySqlConnection, sql: &str) -> Result<bool, sqlx::Error> {
    match rows(connection, sql).await {
        Err(error) if number(&error).is_some() => Ok(false),
        answer => Ok(answer?.into_iter().flatten().flatten().next().is_some_and(|answer| answer == "1")),
    }
}

/// What the server's counters said at one moment.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    definitions: Option<u64>,
    alters: Others,
    truncates: Others,
    flushes: Others,
    /// Whether there was a session, or a table, for which there was no room to count what is written.
    has_lost: bool,
    /// What is open, where it was asked.
    opened: Option<Opened>,
    /// Whether somebody who is counted may be about to close tables yet.
    is_closing: bool,
    /// The tables that were looked at, of many; the others were not touched since the marks before these.
    looked_at: Option<Vec<usize>>,
    /// The server's clock, in seconds.
    at: u64,
    /// How many definitions are open, where that was asked.
    room: Option<Definitions>,
    /// Of each table, how often it was written to.
    writes: HashMap<String, String>,
    /// What else is known of tables, where that is cheap to read. Of those that are not in it, that their counter is 1, and that the server
    /// knows of no write.
    tables: HashMap<String, Known>,
    /// Whether nothing is missing because a table was locked.
    pub(super) are_whole: bool,
}

/// What a server knows of a table.
#[derive(Clone, Debug)]
struct Known {
    /// The next value of its AUTO_INCREMENT.
    counter: u64,
    written: Written,
}

/// When a table was last written to by a transaction that was committed. InnoDB keeps that in memory, and forgets it with the table when too
/// many are open, and when the table is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// It knows of no write.
    Never,
    /// In that second.
    At(u64),
    Unknown,
}

/// What may have been touched since.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Any definition may be another one.
    pub(super) definitions: bool,
    /// Rows of these tables may be others: indexes into the template's.
    pub(super) rows: Vec<usize>,
    /// These, which should be empty, were written to.
    pub(super) written: Vec<usize>,
    /// Those that were written to for certain, and whose indexes may have entries of rows that are gone.
    pub(super) stale_indexes: Vec<usize>,
    /// Whether a table may have been truncated, which counts as no write.
    pub(super) truncated: bool,
}

impl Marks {
    /// Out of the answers to [`statements`] and [`CLOCK`], which were asked for after this process had `done` so many ALTERs,
    /// TRUNCATEs and FLUSHes. Of the tables nothing is known yet.
    pub(super) fn of(own: &Own, done: [i64; 3], counters: &[TextRow], clock: Vec<TextRow>) -> Self {
        let (mut definitions, mut alters, mut truncates, mut flushes) = (None, 0, 0, 0);
        let mut has_lost = false;
        for row in counters {
            let mut values = row.iter().flatten();
            let (Some(variable), Some(Ok(count))) = (values.next(), values.next().map(|count| count.parse::<u64>()))
            else {
                continue;
            };
            match statement(variable).as_deref() {
                None => has_lost |= count > 0 && variable.ends_with("_lost"),
                Some("alter_table") => alters = count,
                Some("truncate") => truncates = count,
                Some("flush") => flushes = count,
                Some(statement) => *definitions.get_or_insert(0) += if may_matter(statement) { count } else { 0 },
            }
        }
        let others =
            |issued: &Issued, counted: u64, done| issued.others(i64::try_from(counted).unwrap_or(i64::MAX), done);
        let mut clock = clock.into_iter().flatten().map(|value| value?.parse::<u64>().ok());
        let (at, room) = (clock.next().flatten(), clock.next().flatten());
        Self {
            definitions,
            alters: others(&own.alters, alters, done[0]),
            truncates: others(&own.truncates, truncates, done[1]),
            flushes: others(&own.flushes, flushes, done[2]),
            has_lost,
            opened: None,
            is_closing: false,
            looked_at: None,
            at: at.unwrap_or_default(),
            room: room.and_then(|room| Definitions::of(counters, room)),
            writes: HashMap::new(),
            tables: HashMap::new(),
            are_whole: true,
        }
    }

    /// Takes note of what is open.
    pub(super) fn note_opened(&mut self, opened: Option<Opened>) {
        self.opened = opened;
    }

    /// Whether somebody else has begun to close tables since `then`, and may not have ended.
    pub(super) fn may_be_closing(&self, then: Option<&Self>) -> bool {
        then.is_none_or(|then| then.is_closing || self.flushes.most != then.flushes.least)
    }

    /// Takes note of whether somebody is closing tables.
    pub(super) fn note_closing(&mut self, is_closing: bool) {
        self.is_closing = is_closing;
    }

    /// The tables that can have been touched since `then`, where that is known of many.
    pub(super) fn opened_since(&self, then: &Self, template: &Template) -> Option<Vec<usize>> {
        let opened = self.opened.as_ref()?.tables(template)?;
        // A TRUNCATE closes its table, as a FLUSH does.
        let closed_by_others = self.truncates.most != then.truncates.least || then.is_closing;
        (self.has_definitions_of(then) && !closed_by_others && self.forgets_nothing_since(then)).then_some(opened)
    }

    /// Whether the server has forgotten no table since `then` that was used since.
    fn forgets_nothing_since(&self, then: &Self) -> bool {
        let all_are_kept = self.room.zip(then.room).is_some_and(|(now, then)| now.all_are_kept_since(&then));
        // A FLUSH can have it count anew.
        all_are_kept && self.flushes.most == then.flushes.least
    }

    /// Just these tables are looked at. Of the others, what was known then is as it was.
    pub(super) fn look_only_at(&mut self, some: Vec<usize>, then: &Self, template: &Template) {
        self.tables.clone_from(&then.tables);
        for index in &some {
            self.tables.remove(&template.tables[*index].name);
        }
        self.looked_at = Some(some);
    }

    /// The tables that were looked at, if not all.
    pub(super) fn looked_at(&self) -> Option<&[usize]> {
        self.looked_at.as_deref()
    }

    /// Takes note of the answer to [`Features::tables`], or to the same question for some tables, if there was one.
    pub(super) fn note_tables(&mut self, features: Features, tables: Option<Vec<TextRow>>) {
        self.are_whole &= tables.is_some();
        let tables = tables.unwrap_or_default();
        if features.writes {
            self.count_writes(tables);
            return;
        }
        for row in tables {
            let [Some(table), engine, counter, written, kind] = fixed(row) else { continue };
            if kind.is_some_and(|kind| !matches!(kind.as_str(), "BASE TABLE" | "SYSTEM VERSIONED")) {
                continue;
            }
            // Of a locked table nothing else is told.
            let is_locked = engine.is_none();
            self.are_whole &= !is_locked;
            let counter = counter.and_then(|counter| counter.parse().ok()).unwrap_or(1);
            let written = match written {
                None if is_locked => Written::Unknown,
                None => Written::Never,
                Some(written) => written.parse().map_or(Written::Unknown, Written::At),
            };
            self.tables.insert(table, Known { counter, written });
        }
    }

    /// Whether nobody has executed a statement since `then` that could have changed a definition.
    fn has_definitions_of(&self, then: &Self) -> bool {
        self.definitions.is_some()
            && self.definitions == then.definitions
            // The time of a table's last ALTER would tell which it was, but not every ALTER changes it.
            && self.alters.most == then.alters.least
    }

    /// Out of the answer to [`Features::tables`] of a server that counts writes.
    pub(super) fn count_writes(&mut self, tables: Vec<TextRow>) {
        let pair = |row: TextRow| match fixed(row) {
            [Some(table), Some(count)] => Some((table, count)),
            _ => None,
        };
        self.writes = tables.into_iter().filter_map(pair).collect();
    }

    /// Takes note that rows of a table have just been written.
    pub(super) fn note_write(&mut self, table: &str) {
        self.note(table, Written::Unknown);
    }

    /// Takes note that a table has just been rebuilt, and that the server has forgotten when it was written to.
    pub(super) fn note_rebuilt(&mut self, table: &str) {
        self.note(table, Written::Never);
    }

    fn note(&mut self, table: &str, written: Written) {
        let known = self.tables.entry(table.to_owned()).or_insert(Known { counter: 1, written });
        known.written = written;
    }

    /// Whether nothing but time stands in the way of a proof that a table's rows are as they were: it was written to just now.
    pub(super) fn is_written_just_now(&self, table: &str) -> bool {
        self.room.is_some_and(|room| room.are_few())
            && matches!(self.written(table), Written::At(time) if time.saturating_add(CLOCKS_DIFFER) >= self.at)
    }

    fn written(&self, table: &str) -> Written {
        // It tells only of those that it knows something of; but where it has not told all, of the others nothing is known.
        let of_others = if self.are_whole { Written::Never } else { Written::Unknown };
        self.tables.get(table).map_or(of_others, |known| known.written)
    }

    /// What may have been touched since `then`, when everything was as in the template.
    pub(super) fn since(&self, then: Option<&Self>, template: &Template) -> Suspects {
        let all = 0..template.tables.len();
        let stale_indexes = then.map(|then| self.with_stale_indexes(then, template)).unwrap_or_default();
        let Some(then) = then.filter(|then| self.has_definitions_of(then)) else {
            return Suspects {
                definitions: true,
                rows: all.collect(),
                written: Vec::new(),
                stale_indexes,
                truncated: true,
            };
        };
        let mut suspects =
            Suspects { stale_indexes, truncated: self.truncates.most != then.truncates.least, ..Suspects::default() };
        if !template.features.writes || self.has_lost || then.has_lost {
            let unwritten = |index: &usize| self.is_unwritten(then, &template.tables[*index]);
            let looked_at = self.looked_at.clone().unwrap_or_else(|| all.collect());
            suspects.rows = looked_at.into_iter().filter(|index| !unwritten(index)).collect();
            return suspects;
        }
        for index in all {
            let table = &template.tables[index];
            match (then.writes.get(&table.name), self.writes.get(&table.name)) {
                (None, None) => suspects.rows.push(index),
                (then, now) if then == now => {}
                _ if table.seeded => suspects.rows.push(index),
                _ => suspects.written.push(index),
            }
        }
        let cascaded = template.cascaded(suspects.rows.iter().chain(&suspects.written).copied());
        suspects.rows.extend(cascaded);
        suspects.rows.sort_unstable();
        suspects.rows.dedup();
        suspects
    }

    /// Of the tables with an index of what is computed, and of those with one of texts that are soon written anew, those of which the server knows
    /// that they were written to since `then`. That they may have been is no reason: MariaDB says so of each for a second after it was written anew.
    fn with_stale_indexes(&self, then: &Self, template: &Template) -> Vec<usize> {
        let is_written = |table: &Table| {
            let writes = |marks: &Self| marks.writes.get(&table.name).cloned();
            let counted = writes(then).zip(writes(self)).is_some_and(|(then, now)| then != now);
            counted
                || match (then.written(&table.name), self.written(&table.name)) {
                    (Written::At(then), Written::At(now)) => then != now,
                    (_, Written::At(_)) => !table.seeded,
                    (_, Written::Never | Written::Unknown) => false,
                }
        };
        let can_be =
            |table: &Table| table.indexes_deleted || table.texts && table.seeded && table.small && !table.triggers;
        let tables = template.tables.iter().enumerate().filter(|(_, table)| can_be(table) && is_written(table));
        tables.map(|(index, _)| index).collect()
    }

    /// Whether the server knows that no row of a table was written since `then`, but for a TRUNCATE.
    fn is_unwritten(&self, then: &Self, table: &Table) -> bool {
        let now = self.written(&table.name);
        then.can_prove(table)
            && now == then.written(&table.name)
            && (now != Written::Never || self.forgets_nothing_since(then))
    }

    /// Whether what the server knows of a table now can prove later that no row of it was written since.
    ///
    /// What InnoDB keeps, from a commit on, is when the transaction began, and it is kept for what its undo log has, cascades too. All that
    /// had begun by the time of the look have ended by then. So if it was earlier than that, and is still the same, nothing was committed
    /// since: that would have left a later time, or, when the table was then forgotten, none. That there is none still proves it only where
    /// no table can have been forgotten.
    ///
    /// Of a table of parts it says the latest time of those that are not forgotten, which proves nothing.
    pub(super) fn can_prove(&self, table: &Table) -> bool {
        let is_in_time = match self.written(&table.name) {
            Written::Never => self.room.is_some_and(|room| room.are_few()),
            Written::At(time) => time.saturating_add(CLOCKS_DIFFER) < self.at,
            Written::Unknown => false,
        };
        is_in_time && table.transactional && !table.partitioned
    }

    /// Those of some tables, which nobody has looked into because it [could be proved](Self::can_prove) `then`, that were written to since. If it was not
    /// proved of all others, nothing is known of them.
    pub(super) fn written_of(&self, some: &[usize], then: Option<&Self>, template: &Template) -> Option<Vec<usize>> {
        let Some(then) = then.filter(|then| self.has_definitions_of(then)) else {
            return some.is_empty().then(Vec::new);
        };
        let mut written = Vec::new();
        for index in some {
            let table = &template.tables[*index];
            if self.is_unwritten(then, table) {
                continue;
            }
            match self.written(&table.name) {
                Written::At(_) => written.push(*index),
                Written::Never | Written::Unknown => return None,
            }
        }
        Some(written)
    }

    /// The tables whose AUTO_INCREMENT is not the template's, of all, where that was cheap to read.
    pub(super) fn moved(&self, template: &Template) -> Option<Vec<usize>> {
        if template.features.truncate_is_cheaper {
            return None;
        }
        let moved = |index: &usize| {
            let table = &template.tables[*index];
            self.tables.get(&table.name).map_or(1, |known| known.counter) != table.counter
        };
        let looked_at = self.looked_at.clone().unwrap_or_else(|| (0..template.tables.len()).collect());
        Some(looked_at.into_iter().filter(moved).collect())
    }
}

impl Template {
    /// The tables with rows that foreign keys reach when rows of others change: the server does not count those everywhere. In a table
    /// that should be empty they find nothing that was not written.
    pub(super) fn cascaded(&self, from: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut reached: Vec<usize> = from.collect();
        let mut known: HashSet<usize> = reached.iter().copied().collect();
        let mut next = 0;
        while let Some(parent) = reached.get(next).copied() {
            next += 1;
            for child in self.cascades.get(&parent).into_iter().flatten() {
                if known.insert(*child) {
                    reached.push(*child);
                }
            }
        }
        reached.retain(|index| self.tables[*index].seeded);
        reached
    }

    /// Which of the tables with rows, but for those that are suspect, have none now. TRUNCATE is not counted as a write; and nor is, of an
    /// engine that can empty a table at once, a DELETE of all rows, where the session's `binlog_format` lets MySQL do so.
    pub(super) async fn emptied(
        &self,
        connection: &mut MySqlConnection,
        name: &str,
        suspects: &Suspects,
    ) -> Result<Vec<usize>, sqlx::Error> {
        let mut emptied = Vec::new();
        // Where writes are not counted, they are suspect in any case.
        let can_be =
            |table: &Table| table.seeded && (suspects.truncated || self.features.writes && !table.transactional);
        let some = |index: &usize| can_be(&self.tables[*index]) && !suspects.rows.contains(index);
        let asked: Vec<usize> = (0..self.tables.len()).filter(some).collect();
        for some in asked.chunks(PROBES) {
            let probe = |index: &usize| {
                format!(
                    "SELECT {index} FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {})",
                    qualified(name, &self.tables[*index].name)
                )
            };
            let probes: Vec<String> = some.iter().map(probe).collect();
            let found = rows(connection, &probes.join(" UNION ALL ")).await?;
            emptied.extend(found.into_iter().flatten().flatten().filter_map(|index| index.parse::<usize>().ok()));
        }
        Ok(emptied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "t";

    /// What the server said at second 9, with so many definitions open.
    fn marks(written: Option<Written>, open: u64) -> Marks {
        let row = |name: &str, value: u64| vec![Some(name.to_owned()), Some(value.to_string())];
        let [now, ever] = opened::COUNTERS;
        let counters = [row("Com_drop_table", 1), row(now, open), row(ever, open)];
        let clock = vec![vec![Some("9".to_owned()), Some("100".to_owned())]];
        let mut marks = Marks::of(&Own::default(), [0; 3], &counters, clock);
        if let Some(written) = written {
            marks.note(TABLE, written);
        }
        marks
    }

    fn table() -> Table {
        serde_json::from_value(serde_json::json!({
            "name": TABLE, "versioned": false, "transactional": true, "archives": false, "volatile": false, "counter": 1,
            "counts": false, "partitioned": false, "seeded": true, "unique": false, "texts": false, "small": true,
            "computes": false, "indexes_deleted": false, "triggers": false, "columns": [], "computed": [], "key": [], "order": null
        }))
        .expect("a table")
    }

    #[test]
    fn a_time_is_of_no_write_if_a_later_write_would_have_another() {
        use Written::{At, Never, Unknown};

        // There is no room for so many.
        let is_of_no_write = |then, now| marks(now, 100).is_unwritten(&marks(then, 100), &table());
        assert!(is_of_no_write(Some(At(7)), Some(At(7))));
        // In the first moment of second 9 a write has the time 8.
        assert!(!is_of_no_write(Some(At(8)), Some(At(8))));
        assert!(!is_of_no_write(Some(At(9)), Some(At(9))));
        assert!(!is_of_no_write(Some(At(7)), Some(At(9))));
        assert!(!is_of_no_write(Some(At(7)), Some(Never)));
        assert!(!is_of_no_write(Some(Never), Some(Never)));
        assert!(!is_of_no_write(None, None));
        assert!(!is_of_no_write(Some(Unknown), Some(Unknown)));
    }

    #[test]
    fn that_no_time_is_known_is_of_no_write_if_none_is_forgotten() {
        use Written::{At, Never, Unknown};

        let is_of_no_write = |then, now| marks(now, 10).is_unwritten(&marks(then, 10), &table());
        assert!(is_of_no_write(Some(Never), Some(Never)));
        assert!(is_of_no_write(None, None));
        assert!(!is_of_no_write(Some(Never), Some(At(7))));
        assert!(!is_of_no_write(Some(Unknown), Some(Never)));
        assert!(!is_of_no_write(Some(Never), Some(Unknown)));
        assert!(!is_of_no_write(Some(At(8)), Some(Never)));
    }

    /// Where the server did not tell of all tables, those that it told nothing of need not be as they were.
    #[test]
    fn what_was_not_answered_is_of_no_table() {
        let then = marks(None, 10);
        let mut now = marks(None, 10);
        now.note_tables(Features::default(), None);
        assert!(!now.is_unwritten(&then, &table()));
        assert!(!marks(None, 10).is_unwritten(&now, &table()));
    }
}
