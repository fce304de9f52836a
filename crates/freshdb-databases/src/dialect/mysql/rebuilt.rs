//! Having MariaDB forget when small tables with rows were written to, so that it proves at once that nobody has written to them since.
//!
//! It tells that in whole seconds. So in the first two after a copy was filled, it does not prove anything, and the tables are compared each
//! time. A table that was rebuilt is one of which it knows no write.

use std::collections::HashSet;

use sqlx::MySqlConnection;

use super::connection::{execute, number};
use super::marks::Marks;
use super::template::{Table, Template, qualified};

/// Those tables of a slot's that were rebuilt, or refused to be: indexes into the template's.
#[derive(Debug, Default)]
pub(super) struct Rebuilt(HashSet<usize>);

impl Table {
    /// Whether it takes hardly longer than to compare it once, and keeps all that is known of it.
    fn is_soon_rebuilt(&self) -> bool {
        let is_plain = !self.partitioned && !self.versioned && !self.texts && !self.computes && !self.indexes_deleted;
        self.seeded && self.small && self.transactional && is_plain
    }
}

impl Rebuilt {
    /// Rebuilds those of `some` tables, whose rows are the template's, that would be compared the next time for no other reason. Each of them once:
    /// those that tests write to are compared anyway.
    pub(super) async fn rebuild(
        &mut self,
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        some: &[usize],
        marks: &mut Marks,
    ) -> Result<(), sqlx::Error> {
        let is_wanted = |index: &usize| {
            let table = &template.tables[*index];
            table.is_soon_rebuilt() && marks.is_written_just_now(&table.name) && !self.0.contains(index)
        };
        let wanted: Vec<usize> = some.iter().copied().filter(is_wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let loud = template.own.quiet.read().await;
        for index in wanted {
            self.0.insert(index);
            let table = &template.tables[index].name;
            let ticket = template.own.alters.begin(1);
            let rebuild = format!("ALTER TABLE {} FORCE, ALGORITHM = INPLACE", qualified(name, table));
            match execute(connection, &rebuild).await {
                Err(error) if number(&error).is_some() => {
                    tracing::debug!("the server does not rebuild a table: {error}");
                }
                answer => {
                    answer?;
                    ticket.done();
                    marks.note_rebuilt(table);
                }
            }
        }
        drop(loud);
        Ok(())
    }
}
