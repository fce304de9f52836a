//! Which rows of a large table with rows have to be compared, where the server's files can be read: see `pages.rs`.
//!
//! A table is told by its file since a moment at which its rows were the template's. The server is asked for the LSN of that moment. When
//! the rows may be others, FLUSH TABLES … FOR EXPORT has it write all that it knows of the table into the file, and leave that alone until it
//! is read.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use sqlx::MySqlConnection;

use super::connection::{TextRow, execute, literal, results_until};
use super::marks::Features;
use super::pages::{Range, TableFile};
use super::seeded::Part;
use super::template::{Table, Template, qualified};

const LSN: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_lsn_current', 'Innodb_redo_log_current_lsn')";

/// The files of a slot's tables.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By the tables' indexes in the template, each with the LSN since which it tells what was written.
    known: HashMap<usize, (TableFile, u64)>,
    /// The server does not export a table: it is not asked again.
    is_refused: bool,
}

impl Table {
    /// Whether its file is worth reading: it has more than a few rows, and they are in the order of a number.
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
            .filter(|index| !self.known.contains_key(index) && template.tables[*index].is_told_by_its_file())
            .filter_map(|index| Some((format!("{name}/{}", file_name(&template.tables[index].name)?), index)))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = unknown.keys().map(|name| literal(name)).collect();
        let sql = format!(
            "SELECT @@GLOBAL.datadir, @@GLOBAL.innodb_page_size; {LSN};
             SELECT t.name, i.space, i.index_id FROM {} t JOIN {} i ON i.table_id = t.table_id
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
        let (mut server, since) = (next().into_iter().flatten().flatten(), lsn(&next()));
        let (Some(directory), Some(Ok(page_size)), Some(since)) =
            (server.next(), server.next().map(|size| size.parse::<usize>()), since)
        else {
            return Ok(());
        };
        for row in next() {
            let mut values = row.into_iter().flatten();
            let (Some(name), Some(Ok(space)), Some(Ok(index))) =
                (values.next(), values.next().map(|space| space.parse()), values.next().map(|index| index.parse()))
            else {
                continue;
            };
            let Some(table) = unknown.get(&name).copied() else { continue };
            let Some(key) = template.tables[table].order else { continue };
            let path = Path::new(&directory).join(format!("{name}.ibd"));
            if File::open(&path).is_ok() {
                self.known.insert(table, (TableFile { path, space, index, page_size, key }, since));
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
        let Some((file, since)) = self.known.remove(&table) else { return Ok(None) };
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
            self.is_refused = true;
            return Ok(None);
        }
        ticket.done();
        let read = tokio::task::spawn_blocking(move || read(file, &sign, since)).await;
        execute(connection, "UNLOCK TABLES").await?;
        let (Ok(Some((file, written))), Some(now)) = (read, lists.first().and_then(|rows| lsn(rows))) else {
            return Ok(None);
        };
        self.known.insert(table, (file, now));
        Ok(Some(written))
    }

    /// The tables that are told.
    #[cfg(test)]
    pub(super) fn tables(&self) -> Vec<usize> {
        let mut tables: Vec<usize> = self.known.keys().copied().collect();
        tables.sort_unstable();
        tables
    }
}

fn read(file: TableFile, sign: &Path, since: u64) -> Option<(TableFile, Vec<Range>)> {
    if !sign.exists() {
        return None;
    }
    match file.written(since) {
        Ok(written) => Some((file, written?)),
        Err(error) => {
            tracing::debug!("`{}` cannot be read: {error}", file.path.display());
            None
        }
    }
}

fn lsn(rows: &[TextRow]) -> Option<u64> {
    rows.first()?.get(1)?.as_ref()?.parse().ok()
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
