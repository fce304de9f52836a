//! Putting back what was touched: rows, counters, sequences.

use sqlx::MySqlConnection;

use super::catalog::Kind;
use super::connection::{execute, identifier, rows};
use super::copy::{create, insert_all};
use super::find::Touched;
use super::template::{Column, Sequence, Table, Template, qualified};

/// Puts it back, and says how many tables had been touched.
pub(super) async fn undo(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    touched: &Touched,
) -> Result<usize, sqlx::Error> {
    let mut indexes: Vec<usize> = touched.filled.iter().chain(&touched.moved).copied().collect();
    let truncate_is_cheaper = template.features.truncate_is_cheaper;

    let mut deletes = Vec::new();
    let mut others = Vec::new();
    for index in &touched.filled {
        let table = &template.tables[*index];
        let moved = touched.moved.contains(index);
        let named = qualified(name, &table.name);
        // TRUNCATE fires no triggers, and sets the counter to 1.
        if table.triggers || !table.transactional || (moved && truncate_is_cheaper) {
            others.push(format!("TRUNCATE TABLE {named}"));
        } else {
            deletes.push(format!("DELETE FROM {named}"));
        }
    }
    if !deletes.is_empty() {
        execute(connection, &format!("BEGIN;{};COMMIT", deletes.join(";"))).await?;
    }
    for index in &touched.suspect {
        if restore(connection, template, name, &template.tables[*index]).await? {
            indexes.push(*index);
        }
    }
    for index in touched.moved.iter().chain(&touched.filled) {
        let table = &template.tables[*index];
        let counter = table.counter;
        let named = qualified(name, &table.name);
        let truncated = others.contains(&format!("TRUNCATE TABLE {named}"));
        if truncated && counter == 1 {
            continue;
        }
        if truncate_is_cheaper && !table.seeded && !truncated && counter == 1 && touched.moved.contains(index) {
            others.push(format!("TRUNCATE TABLE {named}"));
        } else if truncated || touched.moved.contains(index) {
            let alter = format!("ALTER TABLE {named} AUTO_INCREMENT = {counter}");
            if !others.contains(&alter) {
                others.push(alter);
            }
        }
    }
    if !others.is_empty() {
        execute(connection, &others.join(";")).await?;
    }
    for index in &touched.sequences {
        execute(connection, &template.sequences[*index].restart(name)).await?;
    }
    indexes.sort_unstable();
    indexes.dedup();
    Ok(indexes.len() + touched.sequences.len())
}

impl Sequence {
    /// `next_not_cached_value` is the first column.
    pub(super) fn restart(&self, database: &str) -> String {
        let next = self.row.first().cloned().flatten().unwrap_or_default();
        format!("ALTER SEQUENCE {} RESTART WITH {next}", qualified(database, &self.name))
    }
}

/// Makes a table's rows the template's, and says whether they were not. With a primary key only the rows that
/// differ are written.
async fn restore(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
) -> Result<bool, sqlx::Error> {
    if !differs(connection, template, name, table).await? {
        return Ok(false);
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
    Ok(true)
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

/// Whether a table with rows holds others than the template's.
async fn differs(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
) -> Result<bool, sqlx::Error> {
    let (slot, original) = (qualified(name, &table.name), qualified(&template.name, &table.name));
    if table.key.is_empty() {
        // Nothing orders its rows, and a dump shows their order. Copying them anew is what is sure.
        return Ok(true);
    }
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM {slot}) <> (SELECT COUNT(*) FROM {original}) OR EXISTS \
          (SELECT 1 FROM {original} t LEFT JOIN {slot} s ON {} WHERE s.{} IS NULL OR NOT ({}))",
        by_key(table),
        identifier(&table.key[0]),
        equal(table)
    );
    let answer = rows(connection, &sql).await?;
    Ok(answer.into_iter().flatten().flatten().next().as_deref() != Some("0"))
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
    Ok(other || differs(connection, template, name, table).await?)
}
