//! Making the rows of a table with rows the template's again.

use sha2::{Digest, Sha256};
use sqlx::MySqlConnection;

use super::super::REGISTRY;
use super::catalog::Kind;
use super::connection::{execute, for_each, identifier, results, rows};
use super::copy::{create, insert_all};
use super::pages::{Range, WholeNumber};
use super::template::{Column, FEW, Table, Template, qualified};

/// What became of a table with rows.
pub(super) enum Restored {
    /// They were the template's.
    Same,
    /// They are now.
    Rows,
    /// They are not, and are few.
    ToBeWrittenAnew,
}

/// The rows of a table that are compared.
pub(super) enum Part {
    All,
    /// Those within one of these, by the first column of the key. All others are the template's.
    Within {
        ranges: Vec<Range>,
        column: String,
    },
}

impl Part {
    pub(super) fn of(written: Option<Vec<Range>>, table: &Table) -> Self {
        match (written, table.key.first()) {
            (Some(ranges), Some(column)) => Self::Within { ranges, column: identifier(column) },
            _ => Self::All,
        }
    }

    /// The condition for the rows of `table`, a name that a query has given it.
    pub(super) fn of_rows(&self, table: &str) -> String {
        let Self::Within { ranges, column } = self else { return "TRUE".to_owned() };
        let within = |range: &Range| {
            let from = range.from.as_ref().map(|from| format!("{table}.{column} >= {from}"));
            let to = range.to.as_ref().map(|to| format!("{table}.{column} <= {to}"));
            let ends: Vec<String> = from.into_iter().chain(to).collect();
            if ends.is_empty() { "TRUE".to_owned() } else { ends.join(" AND ") }
        };
        let each: Vec<String> = ranges.iter().map(within).collect();
        format!("({})", each.join(" OR "))
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Within { ranges, .. } if ranges.is_empty())
    }
}

/// Makes a table's rows the template's, unless that is better done with others. With a primary key only the rows that differ are written; all of them,
/// the same or not, where an index may have entries of others (`may_be_stale`).
pub(super) async fn restore(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
    part: &Part,
    may_be_stale: bool,
) -> Result<Restored, sqlx::Error> {
    let few = match differences(connection, template, name, table, part).await? {
        Differences::None if !may_be_stale => return Ok(Restored::Same),
        Differences::Some(keys) => Some(keys),
        Differences::None | Differences::Unknown => None,
    };
    if (table.indexes_deleted || table.unique && table.small) && !table.triggers {
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
    if !table.transactional || table.indexes_deleted {
        let ticket = template.own.truncates.begin(1);
        let truncate = format!("TRUNCATE TABLE {}", qualified(name, &table.name));
        execute(connection, &format!("{truncate};{}", insert_all(table, template, name))).await?;
        ticket.done();
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
            "DELETE s FROM {slot} s LEFT JOIN {original} t ON {by_key} WHERE {} AND (t.{} IS NULL OR NOT ({}))",
            part.of_rows("s"),
            identifier(&table.key[0]),
            equal(table)
        );
        let insert = format!(
            "{} t WHERE {} AND NOT EXISTS (SELECT 1 FROM {slot} s WHERE {by_key})",
            insert_all(table, template, name),
            part.of_rows("t")
        );
        execute(connection, &format!("BEGIN;{delete};{insert};COMMIT")).await?;
    }
    if !triggers.is_empty() {
        execute(connection, &format!("USE {}", identifier(name))).await?;
        for trigger in triggers {
            create(connection, trigger, template, name).await?;
        }
        execute(connection, &format!("USE {REGISTRY}")).await?;
    }
    Ok(Restored::Rows)
}

fn by_key(table: &Table) -> String {
    let parts: Vec<String> = table.key.iter().map(|column| format!("s.{0} = t.{0}", identifier(column))).collect();
    parts.join(" AND ")
}

fn equal(table: &Table) -> String {
    let parts: Vec<String> = table.columns.iter().chain(&table.computed).map(Column::equal).collect();
    parts.join(" AND ")
}

impl Column {
    /// Whether the text of its values is a literal of just that value.
    fn is_whole_number(&self) -> bool {
        WholeNumber::of(&self.data_type).is_some()
    }

    /// An expression whose text differs where what is stored does.
    fn exact(&self) -> String {
        let name = identifier(&self.name);
        match self.data_type.as_str() {
            _ if self.is_whole_number() => name,
            "decimal" | "bit" | "date" | "datetime" | "timestamp" | "time" | "year" | "double" => name,
            // Shown by itself it lacks some of its digits.
            "float" => format!("CAST({name} AS DOUBLE)"),
            "json" => format!("CAST({name} AS CHAR)"),
            "enum" | "set" => format!("CAST({name} AS UNSIGNED)"),
            _ => format!("CAST({name} AS BINARY)"),
        }
    }

    /// Whether `s` and `t` hold the same bytes in it, and not only what the collation takes for equal.
    fn equal(&self) -> String {
        let name = identifier(&self.name);
        match self.data_type.as_str() {
            _ if self.is_whole_number() => format!("s.{name} <=> t.{name}"),
            "decimal" | "bit" | "date" | "datetime" | "timestamp" | "time" | "year" => format!("s.{name} <=> t.{name}"),
            // Exactly, and 0 is not -0.
            "float" | "double" => {
                format!("(s.{name} <=> t.{name} AND CAST(s.{name} AS CHAR) <=> CAST(t.{name} AS CHAR))")
            }
            // As JSON 1 and 1.0 are equal, and as text a date and the string of it.
            "json" => format!(
                "(s.{name} <=> t.{name}
                  AND CAST(CAST(s.{name} AS CHAR) AS BINARY) <=> CAST(CAST(t.{name} AS CHAR) AS BINARY))"
            ),
            // What is no member is an empty text, and so can a member be.
            "enum" | "set" => format!(
                "(CAST(s.{name} AS UNSIGNED) <=> CAST(t.{name} AS UNSIGNED)
                  AND CAST(s.{name} AS BINARY) <=> CAST(t.{name} AS BINARY))"
            ),
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

/// Looks through a part of both tables, once for each direction in which rows can be missing. No locks are taken, unlike by a DELETE that
/// finds by itself what to delete.
async fn differences(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
    part: &Part,
) -> Result<Differences, sqlx::Error> {
    if part.is_nothing() {
        return Ok(Differences::None);
    }
    if table.key.is_empty() {
        // A dump shows the order of its rows. Copying them anew is what is sure.
        return Ok(Differences::Unknown);
    }
    let whole = |name: &String| table.columns.iter().any(|column| column.name == *name && column.is_whole_number());
    let exact = table.key.iter().all(whole);
    let (slot, original) = (qualified(name, &table.name), qualified(&template.name, &table.name));
    let (by_key, first) = (by_key(table), identifier(&table.key[0]));
    let (these, originals) = (part.of_rows("s"), part.of_rows("t"));
    let keys = |of: &str| {
        let columns: Vec<String> = table.key.iter().map(|column| format!("{of}.{}", identifier(column))).collect();
        columns.join(",")
    };
    let limit = if exact { FEW + 1 } else { 1 };
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM {slot} s WHERE {these}), (SELECT COUNT(*) FROM {original} t WHERE {originals});
         SELECT s.{first} IS NULL, {} FROM {original} t LEFT JOIN {slot} s ON {by_key}
          WHERE {originals} AND (s.{first} IS NULL OR NOT ({})) LIMIT {limit}",
        keys("t"),
        equal(table)
    );
    let mut lists = results(connection, &sql).await?.into_iter();
    let mut next = || lists.next().unwrap_or_default();
    let counts: Vec<usize> = next().into_iter().flatten().flatten().filter_map(|count| count.parse().ok()).collect();
    let [now, then] = counts[..] else { return Ok(Differences::Unknown) };
    let mut found = next();
    if found.is_empty() && now == then {
        let is_in_order =
            table.transactional || !table.small || lies_in_order(connection, [&slot, &original], &keys("r")).await?;
        return Ok(if is_in_order { Differences::None } else { Differences::Unknown });
    }
    if !exact || found.len() > FEW {
        return Ok(Differences::Unknown);
    }
    let missing = found.iter().filter(|row| row.first() == Some(&Some("1".to_owned()))).count();
    if now + missing != then {
        let sql = format!(
            "SELECT 0, {} FROM {slot} s LEFT JOIN {original} t ON {by_key} WHERE {these} AND t.{first} IS NULL LIMIT {limit}",
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

/// Whether the rows of two tables, given by their `keys` of `r`, lie in one order. Those of InnoDB lie in that of their key, others as they were
/// written, or where there was room.
async fn lies_in_order(connection: &mut MySqlConnection, tables: [&str; 2], keys: &str) -> Result<bool, sqlx::Error> {
    let [mut ours, mut theirs] = [Vec::new(), Vec::new()];
    for (table, found) in tables.into_iter().zip([&mut ours, &mut theirs]) {
        *found = rows(connection, &format!("SELECT {keys} FROM {table} r USE INDEX ()")).await?;
    }
    Ok(ours == theirs)
}

/// Whether the rows of a table without a primary key are other ones, or lie in another order.
pub(super) async fn listing_differs(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
) -> Result<bool, sqlx::Error> {
    let columns: Vec<String> = table.columns.iter().chain(&table.computed).map(Column::exact).collect();
    let mut digests = Vec::new();
    for database in [name, &template.name] {
        let named = qualified(database, &table.name);
        let mut digest = Sha256::new();
        for_each(connection, &format!("SELECT {} FROM {named} USE INDEX ()", columns.join(",")), |row| {
            for value in row {
                // A NULL has no length, and what follows cannot be taken for a part of what was before.
                digest.update(value.as_ref().map_or(u64::MAX, |value| value.len() as u64).to_be_bytes());
                digest.update(value.unwrap_or_default());
            }
        })
        .await?;
        digests.push(digest.finalize());
    }
    Ok(digests[0] != digests[1])
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

/// Whether the rows of a table are other ones, or may be.
pub(super) async fn differs(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    table: &Table,
) -> Result<bool, sqlx::Error> {
    Ok(!matches!(differences(connection, template, name, table, &Part::All).await?, Differences::None))
}
