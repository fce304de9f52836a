//! What the server itself counts: cheap to ask, and enough to tell what cannot have been touched. Whatever they do not rule out
//! is compared by content.

use std::collections::{HashMap, HashSet};

use sqlx::MySqlConnection;

use super::connection::{TextRow, literal, results, rows};
use super::template::{Template, qualified};

/// Statements that leave every definition as it is. All others count as if they had altered one, those of versions to come too.
///
/// `TRUNCATE` and `ALTER TABLE` are counted apart: resets use them, of other databases too.
const HARMLESS: &str = "admin_commands begin binlog call_procedure change_db check checksum commit compound_sql dealloc_sql delete \
     delete_multi do empty_query execute_immediate execute_sql explain_other flush get_diagnostics ha_close ha_open ha_read help insert \
     insert_select kill load lock_tables prepare_sql release_savepoint replace replace_select resignal rollback rollback_to_savepoint \
     savepoint select set_option signal stmt_close stmt_execute stmt_fetch stmt_prepare stmt_reprepare stmt_reset \
     stmt_send_long_data unlock_tables update update_multi xa_commit xa_end xa_prepare xa_recover xa_rollback xa_start \
     create_temporary_table drop_temporary_table";

/// What a server has, found out by asking it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Features {
    /// Where it counts the writes to each table.
    writes: Option<Writes>,
    /// Whether a TRUNCATE costs less than an ALTER that sets the counter: where the definitions of tables are in InnoDB.
    pub(super) truncate_is_cheaper: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// Every attempt, the failed and the rolled back too. A table that was ever open has a row.
    PerformanceSchema,
}

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
        let on = |rows: Vec<TextRow>| rows.into_iter().flatten().flatten().next().is_some_and(|answer| answer == "1");
        let mut writes = None;
        // MariaDB's counts some writes and others not: there, all tables are looked at.
        if found.contains("table_io_waits_summary_by_table") && found.contains("innodb_tables") {
            let sql = "SELECT @@GLOBAL.performance_schema AND EXISTS (SELECT 1 FROM performance_schema.setup_instruments
                  WHERE name = 'wait/io/table/sql/handler' AND enabled = 'YES')
                AND EXISTS (SELECT 1 FROM performance_schema.setup_consumers WHERE name = 'global_instrumentation' AND enabled = 'YES')";
            if on(rows(connection, sql).await?) {
                writes = Some(Writes::PerformanceSchema);
            }
        }
        Ok(Self { writes, truncate_is_cheaper: found.contains("innodb_tables") })
    }
}

/// What the server's counters said at one moment.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    definitions: Option<u64>,
    alters: u64,
    truncates: u64,
    /// The server's clock, in seconds.
    at: u64,
    writes: HashMap<String, String>,
    /// Of each table, when it was last altered, and the next value of its AUTO_INCREMENT; only where both are cheap to read.
    tables: HashMap<String, (u64, u64)>,
    /// Whether there is a prepared transaction on the server.
    pub(super) prepared: bool,
}

/// What may have been touched since.
#[derive(Debug)]
pub(super) struct Suspects {
    /// Any definition may be another one.
    pub(super) definitions: bool,
    /// So may these tables'.
    pub(super) altered: Vec<String>,
    /// Rows of these tables: indexes into the template's.
    pub(super) rows: Vec<usize>,
    /// Whether a table may have been truncated, which counts as no write.
    pub(super) truncated: bool,
}

impl Marks {
    pub(super) async fn read(
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
    ) -> Result<Self, sqlx::Error> {
        // MySQL's performance_schema.global_status leaves these out.
        // The clock comes first: what is altered after it was read counts as later.
        let counters = "XA RECOVER; SELECT UNIX_TIMESTAMP(); SHOW GLOBAL STATUS LIKE 'Com\\_%'";
        let mut lists = results(connection, counters).await?.into_iter();
        let prepared = lists.next().is_some_and(|transactions| !transactions.is_empty());
        let at = seconds(lists.next());
        let marks = Self::of_tables(connection, template, name).await?;
        let (mut definitions, mut alters, mut truncates) = (None, 0, 0);
        for row in lists.next().unwrap_or_default() {
            let mut values = row.into_iter().flatten();
            let (Some(variable), Some(Ok(count))) = (values.next(), values.next().map(|count| count.parse::<u64>()))
            else {
                continue;
            };
            match variable.to_lowercase().trim_start_matches("com_") {
                "alter_table" => alters = count,
                "truncate" => truncates = count,
                word if word.starts_with("show_") || HARMLESS.split(' ').any(|harmless| harmless == word) => {}
                _ => *definitions.get_or_insert(0) += count,
            }
        }
        Ok(Self { definitions, alters, truncates, at, prepared, ..marks })
    }

    /// Only what the server says of the tables. The other counters are the most expensive part.
    async fn of_tables(connection: &mut MySqlConnection, template: &Template, name: &str) -> Result<Self, sqlx::Error> {
        let features = &template.features;
        let schema = literal(name);
        let writes = match features.writes {
            Some(Writes::PerformanceSchema) => format!(
                "; SELECT object_name, count_write FROM performance_schema.table_io_waits_summary_by_table
                  WHERE object_type = 'TABLE' AND object_schema = {schema}"
            ),
            None => "; DO 0".to_owned(),
        };
        let tables = if features.truncate_is_cheaper {
            String::new()
        } else {
            format!(
                "; SELECT table_name, COALESCE(UNIX_TIMESTAMP(create_time), 0), COALESCE(auto_increment, 1)
                  FROM information_schema.tables WHERE table_schema = {schema} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"
            )
        };
        let sql = format!("SELECT UNIX_TIMESTAMP(){writes}{tables}");
        let mut lists = results(connection, &sql).await?.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let at = seconds(Some(next()));
        let writes = next().into_iter().filter_map(|row| Some((row.first()?.clone()?, row.get(1)?.clone()?))).collect();
        let tables = next().into_iter().filter_map(|row| {
            let number = |index: usize| row.get(index)?.as_ref()?.parse().ok();
            Some((row.first()?.clone()?, (number(1)?, number(2)?)))
        });
        let tables = tables.collect();
        Ok(Self { definitions: None, alters: 0, truncates: 0, at, writes, tables, prepared: false })
    }

    /// What may have been touched since `then`, when everything was as in the template.
    pub(super) fn since(&self, then: Option<&Self>, template: &Template) -> Suspects {
        let all: Vec<usize> = (0..template.tables.len()).collect();
        let everything = Suspects { definitions: true, altered: Vec::new(), rows: all.clone(), truncated: true };
        let Some(then) = then else { return everything };
        let altered = self.alters != then.alters;
        if self.definitions.is_none()
            || self.definitions != then.definitions
            // The time of a table's last ALTER would tell which it was, but not every ALTER changes it.
            || altered
        {
            return everything;
        }
        let mut suspects = Suspects {
            definitions: false,
            altered: Vec::new(),
            rows: all,
            truncated: self.truncates != then.truncates,
        };
        if altered {
            if template.partitioned || self.tables.len() != template.tables.len() {
                // Partitions can be emptied and exchanged by ALTER TABLE; and a table may have been renamed.
                return everything;
            }
            // The time of the last ALTER is in whole seconds: what was altered in the second of the last look may have been altered again.
            suspects.altered = (self.tables.iter())
                .filter(|(table, (when, _))| {
                    *when >= then.at || then.tables.get(*table).map(|(when, _)| when) != Some(when)
                })
                .map(|(table, _)| table.clone())
                .collect();
        }
        if template.features.writes.is_some() {
            suspects.rows.retain(|index| {
                let table = &template.tables[*index].name;
                match (then.writes.get(table), self.writes.get(table)) {
                    (None, None) => true,
                    (then, now) => then != now,
                }
            });
            template.with_cascades(&mut suspects.rows);
        }
        suspects
    }

    /// The tables whose AUTO_INCREMENT is not the template's, of all, where that was cheap to read.
    pub(super) fn moved(&self, template: &Template) -> Option<Vec<usize>> {
        if template.features.truncate_is_cheaper {
            return None;
        }
        let moved = |index: &usize| {
            let table = &template.tables[*index];
            self.tables.get(&table.name).map_or(1, |(_, counter)| *counter) != table.counter
        };
        Some((0..template.tables.len()).filter(moved).collect())
    }

    /// The marks after a reset that began with these: later ones need not look at what it wrote itself.
    pub(super) async fn after_reset(
        self,
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
    ) -> Result<Self, sqlx::Error> {
        let Self { definitions, alters, truncates, prepared, .. } = self;
        let after = Self::of_tables(connection, template, name).await?;
        Ok(Self { definitions, alters, truncates, prepared, ..after })
    }
}

/// What the server's clock says.
fn seconds(answer: Option<Vec<TextRow>>) -> u64 {
    answer.into_iter().flatten().flatten().flatten().find_map(|seconds| seconds.parse().ok()).unwrap_or_default()
}

impl Template {
    /// Adds the tables that foreign keys reach when rows of `indexes` change: the server does not count those everywhere.
    fn with_cascades(&self, indexes: &mut Vec<usize>) {
        let mut known: HashSet<usize> = indexes.iter().copied().collect();
        let mut next = 0;
        while let Some(parent) = indexes.get(next).copied() {
            next += 1;
            for child in self.cascades.get(&parent).into_iter().flatten() {
                if known.insert(*child) {
                    indexes.push(*child);
                }
            }
        }
    }

    /// Which of the tables with rows have none now: TRUNCATE is not counted as a write.
    pub(super) async fn emptied(
        &self,
        connection: &mut MySqlConnection,
        name: &str,
    ) -> Result<Vec<usize>, sqlx::Error> {
        let mut emptied = Vec::new();
        let seeded: Vec<usize> = (0..self.tables.len()).filter(|index| self.tables[*index].seeded).collect();
        for some in seeded.chunks(200) {
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
