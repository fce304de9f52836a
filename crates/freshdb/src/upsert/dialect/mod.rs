//! What differs from engine to engine: one trait, one module for each, and no engine's SQL anywhere else.

mod mysql;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;
mod values;

use sea_orm::sea_query::{Expr, ExprTrait, InsertStatement, SelectStatement, UpdateStatement};
use sea_orm::{DbBackend, Value};

use super::batch::Row;
use super::plan::Plan;

/// A row of a statement: its number there, and its values in the order of the plan's columns.
pub(super) type Given<'row> = (usize, &'row [Value]);

/// One engine.
pub(super) trait Dialect: Sync {
    /// How many parameters a statement may have.
    fn most_parameters(&self) -> usize;

    /// How many rows a statement has at the most, so that the server parses and plans it in a few milliseconds.
    fn most_rows(&self) -> usize;

    /// Whether it has whole numbers that are larger than any with a sign.
    fn has_unsigned(&self) -> bool {
        false
    }

    /// A query whose one row has the types of the plan's columns, if its statements need to know them.
    fn types(&self, plan: &Plan) -> Option<SelectStatement>;

    /// Finds the rows of these keys. Its columns are [`Find`]'s.
    fn find(&self, plan: &Plan, rows: &[Given], find: Find) -> SelectStatement;

    /// Inserts rows.
    fn insert(&self, plan: &Plan, rows: &[Given]) -> Insert;

    /// Updates the rows of these keys, which are there.
    fn update(&self, plan: &Plan, rows: &[Given]) -> Vec<UpdateStatement>;
}

/// What is asked of the rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// The number of each row that is found.
    Numbers,
    /// Its number; whether it may differ from what is given; its key and what the plan updates, each written out such that
    /// two values are stored alike just if they are written alike; and the column to return. The rows are locked until
    /// the transaction ends, and are as they were last committed, whatever its isolation; or there is a conflict.
    Rows,
}

/// How rows are inserted that another transaction may insert at the same time.
#[derive(Debug)]
pub(super) enum Insert {
    /// Leaves out rows whose key is there by now, and returns the keys of the others as [`Find::Rows`] writes them.
    LeavesOut(InsertStatement),
    /// Fails as a whole, and has then done nothing, if a key is there by now.
    Refuses(InsertStatement),
}

pub(super) fn of(backend: DbBackend) -> &'static dyn Dialect {
    match backend {
        DbBackend::MySql => &mysql::MySql,
        DbBackend::Sqlite => &sqlite::Sqlite,
        // SeaORM knows no others; it may one day.
        _ => &postgres::Postgres,
    }
}

/// How many bytes the values of a statement's rows have together, unless one row alone has more. MySQL and MariaDB take no packet above
/// `max_allowed_packet`, by MariaDB's default 16 MiB:
/// <https://mariadb.com/docs/server/server-management/variables-and-modes/server-system-variables#max_allowed_packet>.
const MOST_BYTES: usize = 1 << 20;

/// The rows, cut into those of any statement of an upsert.
pub(super) fn chunks<'rows>(
    dialect: &dyn Dialect,
    plan: &Plan,
    mut rows: &'rows [Row],
) -> impl Iterator<Item = &'rows [Row]> + use<'rows> {
    let most = rows_per_statement(dialect, plan);
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rows.iter().take(most).take_while(|row| {
            bytes += row.bytes();
            bytes <= MOST_BYTES
        });
        let (chunk, rest) = rows.split_at(fitting.count().max(1).min(rows.len()));
        rows = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// How many rows any statement of an upsert has.
fn rows_per_statement(dialect: &dyn Dialect, plan: &Plan) -> usize {
    // MySQL's `find` has the parameters of one row more.
    let rows = (dialect.most_parameters() / plan.parameters_per_row()).saturating_sub(1);
    rows.clamp(1, dialect.most_rows())
}

/// Rows to insert, all columns of them.
fn insert_into(plan: &Plan, rows: &[Given]) -> InsertStatement {
    let mut insert = InsertStatement::new();
    insert.into_table(plan.table.clone()).columns(plan.columns.iter().cloned());
    for (_, values) in rows {
        insert.values_panic(values.iter().cloned().map(Expr::value));
    }
    insert
}

/// Whether any of the conditions holds, as a tree that is as shallow as it can be: writing it recurses, on the server as
/// well as here, and a table may have a thousand columns.
fn any(mut conditions: Vec<Expr>) -> Expr {
    let mut second = conditions.split_off(conditions.len() / 2);
    match (conditions.is_empty(), second.len()) {
        (true, 0) => Expr::cust("1 = 0"),
        (true, 1) => second.swap_remove(0),
        _ => any(conditions).or(any(second)),
    }
}
