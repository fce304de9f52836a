//! Which rows of a large table with rows have to be compared, where the server's files can be read: see `pages.rs`.
//!
//! A table is told by its file since a moment at which its rows were the template's. The server is asked for the LSN of that moment. When
//! the rows may be others, FLUSH TABLES … FOR EXPORT has it write all that it knows of the table into the file, and leave that alone until it
//! is read.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use sqlx::MySqlConnection;

use super::super::Fault;
use super::connection::{TextRow, execute, fixed, identifier, literal, results_until};
use super::fault::fault;
use super::marks::Features;
use super::pages::{Range, TableFile, Told};
use super::seeded::Part;
use super::template::{Table, Template, qualified};

const LSN: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN \
     ('Innodb_lsn_current', 'Innodb_redo_log_current_lsn', 'Innodb_redo_log_enabled')";

/// The files of a slot's tables.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By the tables' indexes in the template, each with the LSN since which it tells what was written.
    known: HashMap<usize, (TableFile, u64)>,
    /// Those whose files cannot be read, or have said nothing.
    silent: HashSet<usize>,
    /// The server exports no table to this user: it is not asked again.
    is_refused: bool,
}

impl Table {
    /// Whether its file is worth reading: it has more than a few rows, and what they are in the order of can be read there.
    fn is_told_by_its_file(&self) -> bool {
        self.seeded && !self.small && self.transactional && !self.partitioned && !self.versioned && self.order.is_some()
    }
}

impl Features {
    /// A table of `information_schema` about InnoDB's own.
    fn innodb(self, name: &str) -> String {
        let prefix = if self.truncate_is_cheaper { "INNODB" } else { "INNODB_SYS" };
        format!("information_schema.{prefix}_{name}")
    }
}

impl Files {
    /// Takes note of the files of those tables that nothing is known of, where they are in reach: their rows are the template's, or are made so by
    /// what is written from now on.
    pub(super) async fn learn(
        &mut self,
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        some: impl Iterator<Item = usize>,
    ) -> Result<(), sqlx::Error> {
        if !template.has_files_here || self.is_refused {
            return Ok(());
        }
        let unknown: HashMap<String, usize> = some
            .filter(|index| !self.known.contains_key(index) && !self.silent.contains(index))
            .filter(|index| template.tables[*index].is_told_by_its_file())
            .filter_map(|index| Some((format!("{name}/{}", file_name(&template.tables[index].name)?), index)))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        // Until the server has told of them, and it is found.
        self.silent.extend(unknown.values());
        let names: Vec<String> = unknown.keys().map(|name| literal(name)).collect();
        let sql = format!(
            "SELECT @@GLOBAL.datadir, @@GLOBAL.innodb_page_size; {LSN};
             SELECT t.name, i.space, i.index_id, i.page_no FROM {} t JOIN {} i ON i.table_id = t.table_id
              WHERE t.name IN ({}) AND i.name = 'PRIMARY'",
            template.features.innodb("TABLES"),
            template.features.innodb("INDEXES"),
            names.join(",")
        );
        let (lists, refused) = results_until(connection, &sql).await?;
        if let Some(refused) = refused {
            tracing::debug!("the server does not tell of its files: {refused}");
            return Ok(());
        }
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let (mut server, since) = (next().into_iter().flatten().flatten(), lsn(next()));
        let (Some(directory), Some(Ok(page_size @ 4096..)), Some(since)) =
            (server.next(), server.next().map(|size| size.parse::<usize>()), since)
        else {
            return Ok(());
        };
        for row in next() {
            let [Some(name), Some(space), Some(index), Some(root)] = fixed(row) else { continue };
            let Some(table) = unknown.get(&name).copied() else { continue };
            let path = Path::new(&directory).join(format!("{name}.ibd"));
            let (Some(key), Ok(space), Ok(index), Ok(root)) =
                (template.tables[table].order.clone(), space.parse(), index.parse(), root.parse())
            else {
                continue;
            };
            if File::open(&path).is_ok() {
                self.silent.remove(&table);
                let file = TableFile { path, space, index, root, page_size, key };
                self.known.insert(table, (file, since));
            }
        }
        Ok(())
    }

    /// The rows of each of these tables that may be others than the template's, and are to be made the template's now. Of tables that nothing is
    /// known of these are all rows, and if `learns`, they are told from now on.
    pub(super) async fn parts(
        &mut self,
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        some: &[usize],
        learns: bool,
    ) -> Result<Vec<Part>, sqlx::Error> {
        let mut parts = Vec::with_capacity(some.len());
        for table in some {
            let written = self.written(connection, template, name, *table).await?;
            parts.push(Part::of(written, &template.tables[*table]));
        }
        // Only now: what was written before this would not be told.
        if learns {
            self.learn(connection, template, name, some.iter().copied()).await?;
        }
        Ok(parts)
    }

    /// The same of one table, where it can be told.
    async fn written(
        &mut self,
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        table: usize,
    ) -> Result<Option<Vec<Range>>, sqlx::Error> {
        let Some((file, since)) = self.known.remove(&table).filter(|_| !self.is_refused) else { return Ok(None) };
        // It is there while the server exports the table, and shows that this file is that server's.
        let sign = file.path.with_extension("cfg");
        if sign.exists() || !file.path.exists() {
            return Ok(None);
        }
        let ticket = template.own.flushes.begin(1);
        let export = format!("FLUSH LOCAL TABLES {} FOR EXPORT", qualified(name, &template.tables[table].name));
        let (lists, refused) = results_until(connection, &format!("{LSN};{export}")).await?;
        if let Some(refused) = refused {
            tracing::debug!("the server does not export a table: {refused}");
            self.is_refused = matches!(fault(&refused), Fault::Denied { .. });
            return Ok(None);
        }
        ticket.done();
        let read = tokio::task::spawn_blocking(move || (told(&file, &sign, since), file)).await;
        execute(connection, "UNLOCK TABLES").await?;
        let (Ok((told, file)), Some(now)) = (read, lists.into_iter().next().and_then(lsn)) else { return Ok(None) };
        match told {
            Told::Written(ranges) if are_rows(connection, template, table, &file, &ranges).await? => {
                self.known.insert(table, (file, now));
                Ok(Some(ranges))
            }
            Told::Another => Ok(None),
            Told::Written(_) | Told::Nothing => {
                self.silent.insert(table);
                Ok(None)
            }
        }
    }

    /// Has them tell of nothing.
    #[cfg(test)]
    pub(super) fn silence(&mut self) {
        self.known.values_mut().for_each(|(_, since)| *since = u64::MAX);
    }

    /// The tables that are told.
    #[cfg(test)]
    pub(super) fn tables(&self) -> Vec<usize> {
        let mut tables: Vec<usize> = self.known.keys().copied().collect();
        tables.sort_unstable();
        tables
    }
}

/// Whether the ends of ranges, where they may have been read wrongly, are those of rows of the template: they are of rows that nobody has written
/// to.
pub(super) async fn are_rows(
    connection: &mut MySqlConnection,
    template: &Template,
    table: usize,
    file: &TableFile,
    ranges: &[Range],
) -> Result<bool, sqlx::Error> {
    let ends: Vec<&str> =
        ranges.iter().flat_map(|range| [&range.from, &range.to]).filter_map(Option::as_deref).collect();
    if !file.key.may_be_read_wrongly() || ends.is_empty() {
        return Ok(true);
    }
    let table = &template.tables[table];
    let Some(column) = table.key.first() else { return Ok(false) };
    let named = qualified(&template.name, &table.name);
    let is_there = |end: &&str| format!("EXISTS (SELECT 1 FROM {named} WHERE {} = {end})", identifier(column));
    let all: Vec<String> = ends.iter().map(is_there).collect();
    // An encoding that is another one can give what the server refuses.
    let (lists, refused) = results_until(connection, &format!("SELECT {}", all.join(" AND "))).await?;
    let answer = lists.into_iter().flatten().flatten().flatten().next();
    Ok(refused.is_none() && answer.as_deref() == Some("1"))
}

fn told(file: &TableFile, sign: &Path, since: u64) -> Told {
    if !sign.exists() {
        return Told::Nothing;
    }
    file.written(since).unwrap_or_else(|error| {
        tracing::debug!("`{}` cannot be read: {error}", file.path.display());
        Told::Nothing
    })
}

/// Out of the answer to [`LSN`]. While MySQL writes no log, it stands still, and a page that is changed can keep an earlier one.
fn lsn(rows: Vec<TextRow>) -> Option<u64> {
    let mut lsn = None;
    for row in rows {
        match fixed(row) {
            [Some(variable), Some(value)] if variable.eq_ignore_ascii_case("Innodb_redo_log_enabled") => {
                if !value.eq_ignore_ascii_case("ON") {
                    return None;
                }
            }
            [_, value] => lsn = value.and_then(|value| value.parse().ok()),
        }
    }
    lsn
}

/// A table's name as the file system has it, if it is written in ASCII:
/// <https://dev.mysql.com/doc/refman/9.7/en/identifier-mapping.html>.
fn file_name(table: &str) -> Option<String> {
    table
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => Some(letter.to_string()),
            '\0'..='\x7f' => Some(format!("@{:04x}", u32::from(letter))),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_log_there_is_no_number() {
        let rows =
            |rows: &[[&str; 2]]| rows.iter().map(|row| row.map(|value| Some(value.to_owned())).to_vec()).collect();
        let number = ["Innodb_redo_log_current_lsn", "4711"];
        assert_eq!(lsn(rows(&[["INNODB_LSN_CURRENT", "12"]])), Some(12));
        assert_eq!(lsn(rows(&[number, ["Innodb_redo_log_enabled", "ON"]])), Some(4711));
        assert_eq!(lsn(rows(&[["Innodb_redo_log_enabled", "ON"], number])), Some(4711));
        assert_eq!(lsn(rows(&[number, ["Innodb_redo_log_enabled", "OFF"]])), None);
        assert_eq!(lsn(rows(&[["Innodb_redo_log_enabled", "OFF"], number])), None);
        assert_eq!(lsn(Vec::new()), None);
    }

    #[test]
    fn a_file_is_called_as_the_servers_call_it() {
        assert_eq!(file_name("Tags_1").as_deref(), Some("Tags_1"));
        assert_eq!(file_name("it's-a $child").as_deref(), Some("it@0027s@002da@0020@0024child"));
        assert_eq!(file_name("größe"), None);
    }
}
