//! Putting back what was touched: rows, counters, sequences.

use sqlx::MySqlConnection;

use super::connection::{execute, literal, number, results, rows};
use super::copy::{help_lock, insert_all};
use super::find::Touched;
use super::marks::Marks;
use super::own::Ticket;
use super::seeded::{Part, Restored, restore};
use super::template::{Sequence, Table, Template, qualified};

const DEADLOCK: u16 = 1213;

/// What was put back.
pub(super) struct Undone {
    /// How many tables and sequences had been touched.
    pub(super) count: usize,
    /// The tables that were suspect, and whose rows were the template's.
    pub(super) same: Vec<usize>,
}

/// Puts it back. Of each table that is suspect, a part is compared.
pub(super) async fn undo(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    touched: &Touched,
    parts: &[Part],
    marks: &mut Marks,
) -> Result<Undone, sqlx::Error> {
    let mut same = Vec::new();
    let mut indexes: Vec<usize> = touched.filled.iter().chain(&touched.moved).copied().collect();
    let mut anew = Vec::new();
    for (index, part) in touched.suspect.iter().zip(parts) {
        let table = &template.tables[*index];
        let may_be_stale = touched.stale_indexes.contains(index);
        match restore(connection, template, name, table, part, may_be_stale).await? {
            Restored::Same => {
                same.push(*index);
                continue;
            }
            Restored::Rows => {}
            Restored::ToBeWrittenAnew => anew.push(*index),
        }
        marks.note_write(&table.name);
        indexes.push(*index);
    }
    indexes.sort_unstable();
    indexes.dedup();
    let repair = |index: &usize| {
        if anew.contains(index) {
            Some(Repair::anew(template, name, *index))
        } else {
            Repair::of(template, name, touched, *index)
        }
    };
    let mut repairs = Vec::new();
    for index in &indexes {
        let Some(repair) = repair(index) else { continue };
        // TRUNCATE leaves the time of the last write as it is.
        if repair.delete.is_some() {
            marks.note_write(&template.tables[*index].name);
        }
        repairs.push(repair);
    }
    carry_out(connection, template, name, &repairs, marks).await?;
    for index in &touched.sequences {
        execute(connection, &template.sequences[*index].restart(name)).await?;
    }
    Ok(Undone { count: indexes.len() + touched.sequences.len(), same })
}

/// What empties a table that should be empty, or writes its rows anew, and sets its counter.
struct Repair {
    delete: Option<String>,
    truncate: Option<String>,
    insert: Option<String>,
    alter: Option<String>,
}

impl Repair {
    fn of(template: &Template, name: &str, touched: &Touched, index: usize) -> Option<Self> {
        let table = &template.tables[index];
        let (filled, moved) = (touched.filled.contains(&index), touched.moved.contains(&index));
        let cheaper = moved && template.features.truncate_is_cheaper;
        // TRUNCATE fires no triggers, sets the counter to 1, and leaves nothing in a unique key.
        let truncate = if filled {
            table.triggers || !table.transactional || table.unique || table.indexes_deleted || cheaper
        } else {
            !table.seeded && (cheaper && table.counter == 1 || moved && (table.unique || table.indexes_deleted))
        };
        let alter = if truncate { table.counter != 1 } else { moved };
        let named = qualified(name, &table.name);
        (filled || moved).then(|| Self {
            delete: (filled && !truncate).then(|| format!("DELETE FROM {named}")),
            truncate: truncate.then(|| format!("TRUNCATE TABLE {named}")),
            insert: None,
            alter: alter.then(|| set_counter(&named, table)),
        })
    }

    /// All rows of a table with rows.
    fn anew(template: &Template, name: &str, index: usize) -> Self {
        let table = &template.tables[index];
        let named = qualified(name, &table.name);
        Self {
            delete: None,
            truncate: Some(format!("TRUNCATE TABLE {named}")),
            insert: Some(insert_all(table, template, name)),
            // What is inserted need not have been the last that was counted.
            alter: table.counts.then(|| set_counter(&named, table)),
        }
    }

    /// All of some tables: deletes in one transaction, and then whatever is one by itself.
    fn batch<'a>(repairs: impl Iterator<Item = &'a Self> + Clone) -> Vec<&'a str> {
        let mut batch: Vec<&str> = repairs.clone().filter_map(|repair| repair.delete.as_deref()).collect();
        if batch.len() > 1 {
            batch.insert(0, "BEGIN");
            batch.push("COMMIT");
        }
        batch.extend(repairs.flat_map(|repair| {
            // As in a copy: an ALTER has the server forget how many rows it has counted, by which it reckons how much a word tells.
            [&repair.truncate, &repair.alter, &repair.insert].into_iter().filter_map(Option::as_deref)
        }));
        batch
    }
}

fn set_counter(named: &str, table: &Table) -> String {
    format!("ALTER TABLE {named} AUTO_INCREMENT = {}", table.counter)
}

/// Carries them out, and counts anew what was written.
async fn carry_out(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    repairs: &[Repair],
    marks: &mut Marks,
) -> Result<(), sqlx::Error> {
    if repairs.is_empty() && !template.features.writes {
        return Ok(());
    }
    let alters = repairs.iter().filter(|repair| repair.alter.is_some()).count();
    let truncates = repairs.iter().filter(|repair| repair.truncate.is_some()).count();
    // Each table is one connection's: the order of what is done to it matters, that of the tables does not. MariaDB's TRUNCATEs of
    // tables that refer to each other wait for each other until one gives up.
    let help = if truncates > 1 && template.features.truncate_is_cheaper { template.helper.try_get() } else { None };
    let every = if help.is_some() { 2 } else { 1 };
    let mut batch = Repair::batch(repairs.iter().step_by(every));
    let count_writes = template.features.writes.then(|| template.features.tables(name));
    // With help it is asked afterwards: what is counted changes until all is done.
    batch.extend(count_writes.as_deref().filter(|_| help.is_none()));
    let batch = batch.join(";");

    let loud = if alters > 0 { Some(template.own.quiet.read().await) } else { None };
    let tickets = [template.own.alters.begin(alters), template.own.truncates.begin(truncates)];
    let mut counted = None;
    if let Some(help) = help {
        let helped = Repair::batch(repairs.iter().skip(1).step_by(2)).join(";");
        let lock = literal(&help_lock(name));
        let locked = format!("DO GET_LOCK({lock}, 0);{helped};DO RELEASE_LOCK({lock})");
        let (done, was_helped) = tokio::join!(results(connection, &batch), help.execute(&locked));
        match done {
            // TRUNCATE locks the tables that refer to its own, too: the two can be in each other's way.
            Err(error) if number(&error) == Some(DEADLOCK) => execute(connection, &batch).await?,
            done => drop(done?),
        }
        if !was_helped {
            execute(connection, &helped).await?;
        }
        if let Some(count_writes) = &count_writes {
            counted = Some(rows(connection, count_writes).await?);
        }
    } else {
        counted = results(connection, &batch).await?.pop();
    }
    tickets.into_iter().for_each(Ticket::done);
    drop(loud);
    if count_writes.is_some() {
        marks.count_writes(counted.unwrap_or_default());
    }
    Ok(())
}

impl Sequence {
    /// `next_not_cached_value` is the first column.
    pub(super) fn restart(&self, database: &str) -> String {
        let next = self.row.first().cloned().flatten().unwrap_or_default();
        format!("ALTER SEQUENCE {} RESTART WITH {next}", qualified(database, &self.name))
    }
}
