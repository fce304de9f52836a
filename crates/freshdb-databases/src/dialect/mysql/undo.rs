//! Putting back what was touched: rows, counters, sequences.

use sqlx::MySqlConnection;

use super::catalog::Kind;
use super::connection::{execute, identifier, number, results, rows};
use super::copy::{create, insert_all};
use super::find::Touched;
use super::marks::Marks;
use super::own::Ticket;
use super::template::{Column, FEW, Sequence, Table, Template, qualified};

const DEADLOCK: u16 = 1213;

/// Puts it back, and says how many tables had been touched.
pub(super) async fn undo(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    touched: &Touched,
    marks: &mut Marks,
) -> Result<usize, sqlx::Error> {
    let mut indexes: Vec<usize> = touched.filled.iter().chain(&touched.moved).copied().collect();
    let mut anew = Vec::new();
    for index in &touched.suspect {
        let table = &template.tables[*index];
        match restore(connection, template, name, table).await? {
            Restored::Same => continue,
            Restored::Rows => {}
            Restored::ToBeWrittenAnew => anew.push(*index),
        }
        marks.forget_rows(&table.name);
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
    let repairs: Vec<Repair> = indexes.iter().filter_map(repair).collect();
    carry_out(connection, template, name, &repairs, marks).await?;
    for index in &touched.sequences {
        execute(connection, &template.sequences[*index].restart(name)).await?;
    }
    Ok(indexes.len() + touched.sequences.len())
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
            table.triggers || !table.transactional || table.unique || cheaper
        } else {
            !table.seeded && (cheaper && table.counter == 1 || moved && table.unique)
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
            [&repair.truncate, &repair.insert, &repair.alter].into_iter().filter_map(Option::as_deref)
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
        let (done, was_helped) = tokio::join!(results(connection, &batch), help.execute(&helped));
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

/// What became of a table with rows.
enum Restored {
    /// They were the template's.
    Same,
    /// They are now.
    Rows,
    /// They are not, and are few.
    ToBeWrittenAnew,
}

/// Makes a table's rows the template's, unless that is better done with others. With a primary key only the rows that differ are written.
async fn restore(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
) -> Result<Restored, sqlx::Error> {
    let few = match differences(connection, template, name, table).await? {
        Differences::None => return Ok(Restored::Same),
        Differences::Some(keys) => Some(keys),
        Differences::Unknown => None,
    };
    if table.unique && table.small && !table.triggers {
        return Ok(Restored::ToBeWrittenAnew);
    }
    let triggers: Vec<_> = template
        .catalog
        .objects
        .iter()
        .filter(|object| object.kind == Kind::Trigger && object.table.as_ref() == Some(&table.name))
        .collect();
    for trigger in &triggers {
        execute(connection, &format!("DROP TRIGGER {}", qualified(name, &trigger.name))).await?;
    }
    if !table.transactional {
        execute(
            connection,
            &format!("TRUNCATE TABLE {};{}", qualified(name, &table.name), insert_all(table, template, name)),
        )
        .await?;
    } else if table.key.is_empty() {
        let (named, insert) = (qualified(name, &table.name), insert_all(table, template, name));
        execute(connection, &format!("BEGIN;DELETE FROM {named};{insert};COMMIT")).await?;
    } else if let Some(keys) = few {
        let columns: Vec<String> = table.key.iter().map(|column| identifier(column)).collect();
        let wanted = format!("({}) IN ({})", columns.join(","), keys.join(","));
        let (named, insert) = (qualified(name, &table.name), insert_all(table, template, name));
        execute(connection, &format!("BEGIN;DELETE FROM {named} WHERE {wanted};{insert} WHERE {wanted};COMMIT"))
            .await?;
    } else {
        let (slot, original) = (qualified(name, &table.name), qualified(&template.name, &table.name));
        let by_key = by_key(table);
        let delete = format!(
            "DELETE s FROM {slot} s LEFT JOIN {original} t ON {by_key} WHERE t.{} IS NULL OR NOT ({})",
            identifier(&table.key[0]),
            equal(table)
        );
        let insert = format!(
            "{} t WHERE NOT EXISTS (SELECT 1 FROM {slot} s WHERE {by_key})",
            insert_all(table, template, name),
        );
        execute(connection, &format!("BEGIN;{delete};{insert};COMMIT")).await?;
    }
    if !triggers.is_empty() {
        execute(connection, &format!("USE {}", identifier(name))).await?;
        for trigger in triggers {
            create(connection, trigger, template, name).await?;
        }
        execute(connection, &format!("USE {}", super::super::REGISTRY)).await?;
    }
    Ok(Restored::Rows)
}

fn by_key(table: &Table) -> String {
    let parts: Vec<String> = table.key.iter().map(|column| format!("s.{0} = t.{0}", identifier(column))).collect();
    parts.join(" AND ")
}

fn equal(table: &Table) -> String {
    let parts: Vec<String> = table.columns.iter().map(Column::equal).collect();
    parts.join(" AND ")
}

impl Column {
    /// Whether the text of its values is a literal of just that value.
    fn is_whole_number(&self) -> bool {
        matches!(self.data_type.as_str(), "tinyint" | "smallint" | "mediumint" | "int" | "bigint")
    }

    /// Whether `s` and `t` hold the same bytes in it, and not only what the collation takes for equal.
    fn equal(&self) -> String {
        let name = identifier(&self.name);
        match self.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "bit" | "date" | "datetime"
            | "timestamp" | "time" | "year" => format!("s.{name} <=> t.{name}"),
            // Exactly, and 0 is not -0.
            "float" | "double" => {
                format!("(s.{name} <=> t.{name} AND CAST(s.{name} AS CHAR) <=> CAST(t.{name} AS CHAR))")
            }
            // 1 and 1.0 are equal as JSON.
            "json" => format!("CAST(CAST(s.{name} AS CHAR) AS BINARY) <=> CAST(CAST(t.{name} AS CHAR) AS BINARY)"),
            _ => format!("CAST(s.{name} AS BINARY) <=> CAST(t.{name} AS BINARY)"),
        }
    }
}

/// What rows of a table are not the template's.
enum Differences {
    None,
    /// Those with these keys, as `IN` takes them.
    Some(Vec<String>),
    /// Nothing orders its rows, too many are other ones, or its keys cannot be written down without loss.
    Unknown,
}

/// Looks through both tables, once for each direction in which rows can be missing. No locks are taken, unlike by a DELETE that finds
/// by itself what to delete.
async fn differences(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
) -> Result<Differences, sqlx::Error> {
    if table.key.is_empty() {
        // A dump shows the order of its rows. Copying them anew is what is sure.
        return Ok(Differences::Unknown);
    }
    let whole = |name: &String| table.columns.iter().any(|column| column.name == *name && column.is_whole_number());
    let exact = table.key.iter().all(whole);
    let (slot, original) = (qualified(name, &table.name), qualified(&template.name, &table.name));
    let (by_key, first) = (by_key(table), identifier(&table.key[0]));
    let keys = |of: &str| {
        let columns: Vec<String> = table.key.iter().map(|column| format!("{of}.{}", identifier(column))).collect();
        columns.join(",")
    };
    let limit = if exact { FEW + 1 } else { 1 };
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM {slot}), (SELECT COUNT(*) FROM {original});
         SELECT s.{first} IS NULL, {} FROM {original} t LEFT JOIN {slot} s ON {by_key} WHERE s.{first} IS NULL OR NOT ({}) LIMIT {limit}",
        keys("t"),
        equal(table)
    );
    let mut lists = results(connection, &sql).await?.into_iter();
    let mut next = || lists.next().unwrap_or_default();
    let counts: Vec<usize> = next().into_iter().flatten().flatten().filter_map(|count| count.parse().ok()).collect();
    let [now, then] = counts[..] else { return Ok(Differences::Unknown) };
    let mut found = next();
    if found.is_empty() && now == then {
        return Ok(Differences::None);
    }
    if !exact || found.len() > FEW {
        return Ok(Differences::Unknown);
    }
    let missing = found.iter().filter(|row| row.first() == Some(&Some("1".to_owned()))).count();
    if now + missing != then {
        let sql = format!(
            "SELECT 0, {} FROM {slot} s LEFT JOIN {original} t ON {by_key} WHERE t.{first} IS NULL LIMIT {limit}",
            keys("s")
        );
        found.extend(rows(connection, &sql).await?);
    }
    if found.len() > FEW {
        return Ok(Differences::Unknown);
    }
    let key = |row: Vec<Option<String>>| {
        let values: Vec<String> = row.into_iter().skip(1).flatten().collect();
        format!("({})", values.join(","))
    };
    Ok(Differences::Some(found.into_iter().map(key).collect()))
}

/// The same of a table that keeps its rows' history. The history that a template has is not copied: a dump does not show it.
pub(super) async fn history_differs(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
) -> Result<bool, sqlx::Error> {
    let (slot, original) = (qualified(name, &table.name), qualified(&template.name, &table.name));
    let sql = format!("SELECT (SELECT COUNT(*) FROM {slot} FOR SYSTEM_TIME ALL) <> (SELECT COUNT(*) FROM {original})");
    let answer = rows(connection, &sql).await?;
    let other = answer.into_iter().flatten().flatten().next().as_deref() != Some("0");
    Ok(other || !matches!(differences(connection, template, name, table).await?, Differences::None))
}
