//! One query that says what was written since the last time: the server's counters, and what can be had by content cheaply.
//!
//! Counters of inserted, updated and deleted rows also count what was rolled back, what a foreign key's cascade reached, and
//! what was done to the system's catalogs. They do not count `TRUNCATE`, which shows in `pg_class`.

use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, WRITES};
use super::clear;
use super::connection::{execute, rows};
use super::slot::Maintenance;
use super::template::{Relation, Sequence, Template};

/// Up to so many tables and sequences are looked into each time, counters or not.
const LOOKED_INTO: usize = 100;

/// What is said of the database itself: kept in catalogs that all databases share.
pub(super) const DATABASE: &str =
    "(SELECT jsonb_build_array(d.datdba, d.datacl::text, d.datconnlimit, d.datistemplate, d.datallowconn,
    d.dattablespace, (SELECT string_agg(setrole || ':' || setconfig::text, ',' ORDER BY setrole)
        FROM pg_db_role_setting WHERE setdatabase = d.oid),
    shobj_description(d.oid, 'pg_database'), (SELECT count(subdbid) FROM pg_subscription WHERE subdbid = d.oid))::text
    FROM pg_database d WHERE d.datname = current_database())";

/// Shows whether somebody may have said something else of the database since: who writes a row anew does so under another transaction. To put
/// [`DATABASE`] together takes the server as long as all the rest of the probe. Counters of the writes to these catalogs would not do: a session on
/// another database, which nobody ends, tells the server of its writes up to ten seconds later.
const SAID: &str = "(SELECT concat_ws('/', d.xmin,
    (SELECT string_agg(concat_ws('/', ctid, xmin), ',') FROM pg_db_role_setting WHERE setdatabase = d.oid),
    (SELECT xmin FROM pg_shdescription WHERE objoid = d.oid AND classoid = 'pg_database'::regclass),
    (SELECT count(subdbid) FROM pg_subscription WHERE subdbid = d.oid))
    FROM pg_database d WHERE d.datname = current_database())";

/// Counters are only comparable within one life of the server's statistics: a crash or `pg_stat_reset` starts another. And they
/// are a database's, not those of whichever has its name.
const EPOCH: &str = "concat_ws('/', pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time(),
    (SELECT concat_ws('/', oid, pg_stat_get_db_stat_reset_time(oid))
        FROM pg_database WHERE datname = current_database()))";

/// For the statements that are sent with it: a session that is there may have locked a table, and is to be ended first instead of waited for.
const IMPATIENT: &str = "SET LOCAL lock_timeout = '50ms';";

/// A query for [`Sequence::value`].
pub(super) fn sequence(name: &str) -> String {
    format!("SELECT last_value || CASE WHEN is_called THEN 't' ELSE 'f' END FROM {name}")
}

/// The query, the same for all copies of a template.
#[derive(Deserialize, Serialize)]
pub(super) struct Probe {
    /// For what the server has counted.
    counted: String,
    /// The rest of it, for what is looked into besides.
    looked: String,
}

/// Its answer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) epoch: String,
    /// Another one when something else may be said of the database itself.
    pub(super) said: String,
    /// Writes to each catalog.
    pub(super) catalogs: Vec<String>,
    /// Rows inserted into each relation.
    pub(super) inserted: Vec<String>,
    /// Rows of each relation updated or deleted.
    pub(super) changed: Vec<String>,
    /// `t` for each relation that is empty in the template and is not any more. Empty if none was looked into.
    pub(super) filled: Vec<String>,
    /// The value of each sequence, if they were looked into; if there are too many, how often each was accessed.
    pub(super) sequences: Vec<String>,
}

/// Whether sequences and empty tables are looked into by each probe.
pub(super) fn looks_into(relations: &[Relation], sequences: &[Sequence]) -> bool {
    relations.len() + sequences.len() <= LOOKED_INTO
}

impl Probe {
    /// Counters that are not believed are not asked for: before 15 the server reads them from a file, for which whoever asks has to wait.
    pub(super) fn new(counters: bool, catalogs: &[Catalog], relations: &[Relation], sequences: &[Sequence]) -> Self {
        let each = |expression: &str, oids: &mut dyn Iterator<Item = &str>| {
            if counters { each(expression, oids) } else { "'{}'".to_owned() }
        };
        let catalogs = each(WRITES, &mut catalogs.iter().map(|catalog| catalog.oid.as_str()));
        let oids = || relations.iter().map(|relation| relation.oid.as_str());
        let inserted = each("pg_stat_get_tuples_inserted(o)", &mut oids());
        let changed = each("pg_stat_get_tuples_updated(o) + pg_stat_get_tuples_deleted(o)", &mut oids());
        let mut accessed = "'{}'".to_owned();
        let mut looked = String::new();
        if looks_into(relations, sequences) {
            let filled = relations.iter().map(|relation| match relation.seed {
                None if relation.writable => format!("EXISTS (SELECT FROM ONLY {})", relation.name),
                _ => "false".to_owned(),
            });
            let values = sequences.iter().map(|known| format!("({})", sequence(&known.name)));
            let (filled, values) = (filled.collect::<Vec<_>>().join(", "), values.collect::<Vec<_>>().join(", "));
            looked = format!(", ARRAY[{filled}]::bool[]::text, ARRAY[{values}]::text[]::text");
        } else {
            let oids = &mut sequences.iter().map(|sequence| sequence.oid.as_str());
            accessed = each("pg_stat_get_blocks_fetched(o)", oids);
        }
        let epoch = if counters { EPOCH } else { "''" };
        let counted = format!("SELECT {epoch}, {SAID}, {catalogs}, {inserted}, {changed}, {accessed}");
        Self { counted, looked }
    }

    /// What the server has counted, all that is needed of a slot which is pristine: over a new connection, to look into everything takes the server
    /// three times as long.
    pub(super) async fn count(&self, maintenance: &mut Maintenance) -> Result<Seen, sqlx::Error> {
        let answers = rows(&mut maintenance.connection, &self.counted).await?;
        Ok(Seen::of(answers.into_iter().next().unwrap_or_default()))
    }

    /// The same, and what is said of the database itself.
    pub(super) async fn count_and_say(&self, maintenance: &mut Maintenance) -> Result<(Seen, String), sqlx::Error> {
        let answers = rows(&mut maintenance.connection, &format!("{}, {DATABASE}", self.counted)).await?;
        let mut answer = answers.into_iter().next().unwrap_or_default();
        let database = answer.pop().flatten().unwrap_or_default();
        Ok((Seen::of(answer), database))
    }

    pub(super) async fn look(&self, maintenance: &mut Maintenance) -> Result<Seen, sqlx::Error> {
        self.prepare(maintenance, "").await?;
        let answers = rows(&mut maintenance.connection, "EXECUTE freshdb_probe").await?;
        Ok(Seen::of(answers.into_iter().next().unwrap_or_default()))
    }

    /// The same, provided that nobody but those who are `staying` does anything in this database: both in one round trip, but in two statements,
    /// for what somebody leaves behind between the two must be seen.
    pub(super) async fn look_if_alone(
        &self,
        maintenance: &mut Maintenance,
        staying: &[u64],
    ) -> Result<Option<Seen>, sqlx::Error> {
        self.prepare(maintenance, IMPATIENT).await?;
        let sql = format!("{IMPATIENT} EXECUTE freshdb_others; EXECUTE freshdb_probe");
        let answers = rows(&mut maintenance.connection, &sql).await?;
        // Others would stand before it.
        let mut answers = answers.into_iter().filter(|row| !clear::stays(row, staying));
        Ok(match (answers.next(), answers.next()) {
            (Some(answer), None) => Some(Seen::of(answer)),
            _ => None,
        })
    }

    /// Both are told to each connection once: to read the probe takes the server as long as to answer it.
    async fn prepare(&self, maintenance: &mut Maintenance, patience: &str) -> Result<(), sqlx::Error> {
        if !maintenance.prepared {
            // What is prepared stays so when what follows fails: the probe first, which a lock can keep from it.
            let (Self { counted, looked }, others) = (self, clear::question());
            let sql =
                format!("{patience} PREPARE freshdb_probe AS {counted}{looked}; PREPARE freshdb_others AS {others}");
            execute(&mut maintenance.connection, &sql).await?;
            maintenance.prepared = true;
        }
        Ok(())
    }
}

impl Seen {
    /// Of a database to which nobody has written since it was made, in this epoch.
    pub(super) fn unwritten(epoch: &str, template: &Template) -> Self {
        let none = |count| vec!["0".to_owned(); count];
        let (catalogs, relations) = (template.catalogs.len(), template.relations.len());
        Self {
            epoch: epoch.to_owned(),
            said: String::new(),
            catalogs: none(catalogs),
            inserted: none(relations),
            changed: none(relations),
            filled: Vec::new(),
            sequences: none(template.sequences.len()),
        }
    }

    /// Whether the server has counted nothing.
    pub(super) fn is_unwritten(&self) -> bool {
        [&self.catalogs, &self.inserted, &self.changed, &self.sequences].into_iter().flatten().all(|count| count == "0")
    }

    fn of(answer: Vec<Option<String>>) -> Self {
        let mut values = answer.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        let (epoch, said) = (next(), next());
        let mut list = || elements(&next());
        let (catalogs, inserted, changed) = (list(), list(), list());
        let (accessed, filled, values) = (list(), list(), list());
        let sequences = if values.is_empty() { accessed } else { values };
        Self { epoch, said, catalogs, inserted, changed, filled, sequences }
    }
}

/// An expression for each of these objects, in their order.
fn each<'a>(expression: &str, oids: impl Iterator<Item = &'a str>) -> String {
    let oids = oids.collect::<Vec<_>>().join(",");
    format!("ARRAY(SELECT {expression} FROM unnest('{{{oids}}}'::oid[]) WITH ORDINALITY AS u(o, n) ORDER BY n)::text")
}

/// The elements of an array of numbers or words, as the server writes it.
pub(super) fn elements(array: &str) -> Vec<String> {
    let inner = array.trim_start_matches('{').trim_end_matches('}');
    if inner.is_empty() { Vec::new() } else { inner.split(',').map(str::to_owned).collect() }
}
