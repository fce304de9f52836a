//! Whether the schema is still the template's: the rows of the system catalogs.
//!
//! A copy has its template's catalogs, object numbers and transaction numbers included. Whoever changes a row of a catalog
//! writes it anew, under a transaction that is younger than any of the template's. So the number of rows and the sum of
//! their transactions prove a catalog to be untouched. Where they differ, its rows are compared by content.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::connection::{Connection, literal, rows};

/// A system catalog of the database.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Catalog {
    pub(super) oid: String,
    pub(super) name: String,
    /// The column that names the object that a row belongs to.
    key: String,
    /// Some are a superuser's to read. For others they are taken to differ, unless they are empty or were not written to.
    readable: bool,
}

/// How often a catalog was written to.
pub(super) const WRITES: &str =
    "pg_stat_get_tuples_inserted(o) + pg_stat_get_tuples_updated(o) + pg_stat_get_tuples_deleted(o)";

/// A row: its catalog, its object, a hash of its content.
type Row = (String, String, String);

/// The rows of all catalogs, a line each: as a text, for most processes have to read it and never look at it.
#[derive(Deserialize, Serialize)]
pub(super) struct Schema(String);

impl Schema {
    pub(super) fn of(rows: &BTreeSet<Row>) -> Self {
        let lines: Vec<_> = rows.iter().map(|(catalog, object, hash)| format!("{catalog} {object} {hash}")).collect();
        Self(lines.join("\n"))
    }

    fn rows(&self) -> BTreeSet<Row> {
        let row = |line: &str| {
            let mut parts = line.splitn(3, ' ').map(str::to_owned);
            Some((parts.next()?, parts.next()?, parts.next()?))
        };
        self.0.lines().filter_map(row).collect()
    }
}

/// Objects with smaller numbers are the server's own.
/// See <https://www.postgresql.org/docs/current/system-catalog-initial-data.html#SYSTEM-CATALOG-OID-ASSIGNMENT>.
const FIRST_NORMAL_OBJECT: u32 = 16384;

/// What a statement changes in `pg_class` without changing the schema: where rows are stored, how many there are, and hints that
/// other catalogs repeat.
const VOLATILE: &str = "{relfilenode,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,\
    relhasindex,relhasrules,relhastriggers,relhassubclass}";

/// Whether a hint hides what the other catalog has: whoever takes one away has the server overlook triggers, indexes, rules or children.
const WITHHELD: &str = "ARRAY[NOT c.relhasindex AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid),
    NOT c.relhasrules AND EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid),
    NOT c.relhastriggers AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid),
    NOT c.relhassubclass AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)]";

/// A query for the number of rows and the sum of the transactions that wrote them. Few transactions wrote many rows each: grouped, fewer
/// numbers are read from text, the only way there is from a transaction's number to another.
pub(super) fn signature(rows: &str) -> String {
    format!(
        "SELECT concat_ws('/', coalesce(sum(n), 0), sum(n * x::text::bigint))
        FROM (SELECT count(*) AS n, xmin AS x FROM {rows} GROUP BY xmin) AS g",
    )
}

impl Catalog {
    /// The rows that count: a session's temporary schema stays behind, empty, when the session has ended.
    fn rows_that_count(&self) -> &'static str {
        if self.name == "pg_namespace" { "nspname !~ '^pg_(toast_)?temp_'" } else { "true" }
    }

    fn signature(&self) -> String {
        if !self.readable {
            return format!("SELECT {}::text, {}", literal(&self.name), self.unread());
        }
        let rows = format!("pg_catalog.{} WHERE {}", self.name, self.rows_that_count());
        format!("SELECT {}::text, ({})", literal(&self.name), signature(&rows))
    }

    /// What stands for rows that cannot be read: the same in all databases only if there are none. The number of writes would
    /// not do, for a copy that was written to as often as its template holds something else.
    fn unread(&self) -> String {
        format!("CASE pg_relation_size({}) WHEN 0 THEN 'empty' ELSE 'in ' || current_database() END", self.oid)
    }

    /// Rows of users' objects one by one, and the server's own as one.
    fn content(&self) -> String {
        if !self.readable {
            return format!("SELECT {}::text, '0', {}", literal(&self.name), self.unread());
        }
        let (name, table, key, counts) = (literal(&self.name), &self.name, &self.key, self.rows_that_count());
        let row = match table.as_str() {
            "pg_class" => format!("(to_jsonb(c) - '{VOLATILE}'::text[])::text || ({WITHHELD})::text"),
            _ => "c::text".to_owned(),
        };
        let users = match table.as_str() {
            "pg_depend" => format!("(objid >= {FIRST_NORMAL_OBJECT} OR refobjid >= {FIRST_NORMAL_OBJECT})"),
            _ => format!("c.{key}::oid >= {FIRST_NORMAL_OBJECT}"),
        };
        format!(
            "SELECT {name}::text, c.{key}::oid::text, hashtextextended({row}, 0)::text
                FROM pg_catalog.{table} c WHERE {users} AND {counts}
            UNION ALL SELECT {name}::text, '0', concat_ws('/', count(*), sum(xmin::text::bigint))
                FROM pg_catalog.{table} c WHERE NOT ({users}) AND {counts}",
        )
    }
}

/// All catalogs of the database itself. Statistics are none of the schema's.
pub(super) async fn list(connection: &mut Connection) -> Result<Vec<Catalog>, sqlx::Error> {
    let sql = "SELECT c.oid, c.relname, (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
            ORDER BY CASE WHEN c.relname = 'pg_depend' THEN a.attname <> 'objid' ELSE a.attname <> 'oid' END, a.attnum LIMIT 1),
            has_table_privilege(c.oid, 'SELECT')
        FROM pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
        AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data') ORDER BY c.relname";
    let catalogs = rows(connection, sql).await?.into_iter().map(|row| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        Catalog { oid: next(), name: next(), key: next(), readable: next() == "t" }
    });
    Ok(catalogs.collect())
}

/// The signature of each of these catalogs.
pub(super) async fn signatures(connection: &mut Connection, catalogs: &[&Catalog]) -> Result<Vec<String>, sqlx::Error> {
    let sql = catalogs.iter().map(|catalog| catalog.signature()).collect::<Vec<_>>().join(" UNION ALL ");
    let rows = rows(connection, &sql).await?;
    Ok(rows.into_iter().map(|row| row.into_iter().nth(1).flatten().unwrap_or_default()).collect())
}

/// The rows of these catalogs.
pub(super) async fn content(connection: &mut Connection, catalogs: &[&Catalog]) -> Result<BTreeSet<Row>, sqlx::Error> {
    let sql = catalogs.iter().map(|catalog| catalog.content()).collect::<Vec<_>>().join(" UNION ALL ");
    let rows = rows(connection, &sql).await?.into_iter().map(|row| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        (next(), next(), next())
    });
    Ok(rows.collect())
}

/// What the first difference is about, if there is one: `table tags: pg_attribute differs`.
pub(super) async fn difference(
    connection: &mut Connection,
    catalogs: &[&Catalog],
    template: &Schema,
) -> Result<Option<String>, sqlx::Error> {
    let (now, template) = (content(connection, catalogs).await?, template.rows());
    let names = catalogs.iter().map(|catalog| catalog.name.as_str()).collect::<BTreeSet<_>>();
    let gone = template.iter().filter(|row| names.contains(row.0.as_str()) && !now.contains(*row));
    // Of an object and what depends on what, the object says more.
    let differing = now.iter().filter(|row| !template.contains(*row)).chain(gone);
    let Some((catalog, object, _)) = differing.min_by_key(|row| row.0 == "pg_depend") else { return Ok(None) };
    if catalogs.iter().any(|known| known.name == *catalog && !known.readable) {
        return Ok(Some(format!("what was written to {catalog} is not this user's to read")));
    }
    if object == "0" {
        return Ok(Some(format!("an object of the server's own differs in {catalog}")));
    }
    // What an object is called is asked of every catalog that could hold it: many hold properties of others' objects.
    let sql = format!(
        "SELECT coalesce(
            (SELECT min(c.relkind::text || ' ' || coalesce(o.oid, c.oid)::regclass::text) FROM pg_class c
                LEFT JOIN pg_class o ON o.reltoastrelid = c.oid WHERE c.oid = {object}),
            (SELECT min('routine ' || oid::regprocedure::text) FROM pg_proc WHERE oid = {object}),
            (SELECT min('type ' || oid::regtype::text) FROM pg_type WHERE oid = {object}),
            (SELECT min('schema ' || nspname) FROM pg_namespace WHERE oid = {object}),
            (SELECT min('trigger ' || tgname || ' of ' || tgrelid::regclass::text) FROM pg_trigger WHERE oid = {object}),
            (SELECT min('constraint ' || conname || ' of ' || conrelid::regclass::text) FROM pg_constraint WHERE oid = {object}),
            (SELECT min('default of ' || adrelid::regclass::text) FROM pg_attrdef WHERE oid = {object}))",
    );
    let name = rows(connection, &sql).await?.into_iter().flatten().flatten().next();
    let name = match name {
        Some(name) => match name.split_at_checked(2) {
            Some(("r " | "p ", name)) => format!("table {name}"),
            Some(("i " | "I ", name)) => format!("index {name}"),
            Some(("S ", name)) => format!("sequence {name}"),
            Some(("v ", name)) => format!("view {name}"),
            Some(("m ", name)) => format!("materialized view {name}"),
            Some(("t ", name)) => format!("large values of {name}"),
            Some(("c ", name)) => format!("type {name}"),
            Some(("f ", name)) => format!("foreign table {name}"),
            _ => name,
        },
        None => format!("object {object}"),
    };
    Ok(Some(format!("{name} differs in {catalog}")))
}
