//! What was done to a database since it was copied from its template: rows inserted, changed and deleted, and objects created,
//! altered and dropped.

mod compare;
mod cut;
mod store;

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::server::Server;
use crate::{Error, Kind, names, runtime};

/// How a database differs from the template that it was made from.
///
/// As JSON (by serde), it is what `freshdb diff --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    engine: String,
    database: String,
    note: String,
    at_ms: u64,
    schema: Vec<ObjectChange>,
    tables: Vec<TableChanges>,
}

/// An object that was created, altered or dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectChange {
    /// `table`, `view`, `trigger`.
    pub kind: String,
    /// As SQL writes it.
    pub name: String,
    /// The statement that made it in the template; nothing if it was created.
    pub before: Option<String>,
    /// The statement that makes it now; nothing if it was dropped.
    pub after: Option<String>,
}

/// What became of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChanges {
    /// As SQL writes it.
    pub table: String,
    /// All columns of before and after.
    pub columns: Vec<String>,
    /// The columns of the primary key. Of a table without one, no row is ever changed: one is deleted, and another inserted.
    pub key: Vec<String>,
    /// How many rows are new.
    pub inserted: u64,
    /// How many rows have the key of one before, and another value somewhere.
    pub changed: u64,
    /// How many rows are gone.
    pub deleted: u64,
    /// The rows, in the order of their keys: at most [`Changes::MOST_ROWS`] of each kind, and fewer of those that have changed where they are
    /// longer than 32 MiB in all.
    pub rows: Vec<RowChange>,
}

/// A row before and after; a value for each of the table's columns, as the server writes it, and nothing for NULL.
///
/// Of a value of more than 4096 characters so many are told, with those by which it differs from the other side's, `…` where something is left
/// out, and then how many there are and the beginning of their SHA-256: `…aab… (5000 characters, SHA-256 9f86d081884c…)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// Nothing if it was inserted.
    pub before: Option<Vec<Option<String>>>,
    /// Nothing if it was deleted.
    pub after: Option<Vec<Option<String>>>,
    /// The columns of which a value is not told whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
}

impl Changes {
    /// How many rows of each kind are told of one table. All are counted.
    pub const MOST_ROWS: usize = 1000;

    /// Compares a database that freshdb made on a server, and that was leased or [kept](crate::Lease::keep), with its template.
    ///
    /// Reads every row of both. What no transaction has committed is not seen. The next values of counters and sequences are not
    /// compared, nor are comments, privileges, operators, collations and large objects of PostgreSQL.
    ///
    /// # Errors
    ///
    /// If there is no such database, its template is gone, or the server did not answer in half a minute, which may be for a lock that
    /// somebody holds on a table.
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn of(server: &Server, database: &str) -> impl Future<Output = Result<Self, Error>> + Send + use<> {
        Self::read(server.kind(), server.administration(), database.to_owned())
    }

    pub(crate) fn read(
        kind: Kind,
        server: crate::DatabaseUrl,
        database: String,
    ) -> impl Future<Output = Result<Self, Error>> + Send + use<> {
        runtime::run(async move {
            match kind {
                #[cfg(feature = "sqlite")]
                Kind::Sqlite => compare::compare::<crate::dialect::sqlite::Sqlite>(kind, &server, &database).await,
                #[cfg(feature = "mysql")]
                Kind::Mysql | Kind::Mariadb => {
                    compare::compare::<crate::dialect::mysql::Mysql>(kind, &server, &database).await
                }
                #[cfg(feature = "postgres")]
                Kind::Postgres => {
                    compare::compare::<crate::dialect::postgres::Postgres>(kind, &server, &database).await
                }
                #[allow(unreachable_patterns, reason = "with all features there is no other")]
                kind => {
                    Err(Error::new(crate::ErrorKind::Config, format!("freshdb-databases was built without {kind}")))
                }
            }
        })
    }

    /// The engine's name, as in [`Kind::name`].
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// The database's name on its server.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Whether the database is of the checkout that this process works in, by the [default](crate::PoolBuilder::checkout) for that.
    pub fn is_of_this_checkout(&self) -> bool {
        names::is_of_this_checkout(&self.database)
    }

    /// Why it was kept, or whatever else was [noted](Self::noted).
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The same with a note, such as a test's name.
    #[must_use]
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// When it was compared.
    pub fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(self.at_ms)
    }

    /// Whether nothing was done to it.
    pub fn is_empty(&self) -> bool {
        self.schema.is_empty() && self.tables.is_empty()
    }

    /// The objects that differ, in the order of their kinds and names.
    pub fn schema(&self) -> &[ObjectChange] {
        &self.schema
    }

    /// The tables whose rows differ, in the order of their names.
    pub fn tables(&self) -> &[TableChanges] {
        &self.tables
    }
}

/// On one line: `tags: 2 inserted, 1 changed; table x: dropped`.
impl fmt::Display for Changes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = self.schema.iter().map(|object| format!("{} {}: {}", object.kind, object.name, object.verb()));
        let tables = self.tables.iter().map(|table| format!("{}: {}", table.table, table.counts()));
        let all: Vec<String> = tables.chain(objects).collect();
        formatter.write_str(if all.is_empty() { "nothing" } else { "" })?;
        formatter.write_str(&all.join("; "))
    }
}

impl ObjectChange {
    /// `created`, `altered` or `dropped`.
    pub fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "created",
            (_, None) => "dropped",
            _ => "altered",
        }
    }
}

impl TableChanges {
    /// `2 inserted, 1 changed`.
    pub fn counts(&self) -> String {
        let counts = [(self.inserted, "inserted"), (self.changed, "changed"), (self.deleted, "deleted")];
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}
