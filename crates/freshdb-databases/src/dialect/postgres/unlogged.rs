//! What a crash of the server takes away, from the template too: the rows of unlogged tables, and how far unlogged sequences
//! had come.
//!
//! See <https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-UNLOGGED>.

use super::connection::{Connection, literal, value};
use super::probe;
use super::template::{Relation, Sequence, Template};
use crate::{Error, ErrorKind};

/// What a copy has lost of that which the template was read with, if it has.
pub(super) async fn lost_by_copy(
    connection: &mut Connection,
    template: &Template,
) -> Result<Option<String>, sqlx::Error> {
    let seeded = unlogged(&template.relations).filter(|relation| relation.seed.is_some());
    let emptied = seeded.map(|relation| {
        format!("SELECT {} WHERE NOT EXISTS (SELECT FROM ONLY {})", literal(&relation.name), relation.name)
    });
    let sequences = template.sequences.iter().filter(|sequence| sequence.unlogged);
    let set_back = sequences.map(|Sequence { name, value, .. }| {
        format!("SELECT {} WHERE ({}) <> {}", literal(name), probe::sequence(name), literal(value))
    });
    first(connection, emptied.chain(set_back)).await
}

/// What a template has lost before it was read, if it has: its rows were counted when it was made.
pub(super) async fn lost_by_template(
    connection: &mut Connection,
    template: &Template,
) -> Result<Option<String>, sqlx::Error> {
    let empty = unlogged(&template.relations).filter(|relation| relation.seed.is_none());
    let counted = empty.map(|relation| {
        format!("SELECT {} FROM pg_class WHERE oid = {} AND reltuples > 0", literal(&relation.name), relation.oid)
    });
    first(connection, counted).await
}

fn unlogged(relations: &[Relation]) -> impl Iterator<Item = &Relation> {
    relations.iter().filter(|relation| relation.unlogged)
}

async fn first(
    connection: &mut Connection,
    questions: impl Iterator<Item = String>,
) -> Result<Option<String>, sqlx::Error> {
    let questions = questions.collect::<Vec<_>>();
    if questions.is_empty() {
        return Ok(None);
    }
    value(connection, &questions.join(" UNION ALL ")).await
}

/// Whichever of the two it is, the template has lost it, and is of no more use.
pub(super) fn error(database: &str, lost: &str) -> Error {
    let fact = format!("the server has crashed, and {lost}, which is unlogged, has lost its content in `{database}`");
    Error::new(ErrorKind::Database, fact)
        .hint("make the template anew, by `FRESHDB_REBUILD=1` or `PoolBuilder::rebuild`, or have the schema log it")
}
