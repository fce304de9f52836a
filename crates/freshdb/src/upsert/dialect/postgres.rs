//! PostgreSQL.

use sea_orm::sea_query::{
    Alias, Expr, ExprTrait, InsertStatement, Query, SelectStatement, UpdateStatement, ValueTuple,
};

use super::values::{self, GIVEN, Joins, given};
use super::{Dialect, Find, Given, Insert};
use crate::upsert::plan::Plan;

pub(super) struct Postgres;

impl Dialect for Postgres {
    /// The protocol counts them in 16 bits: <https://www.postgresql.org/docs/15/limits.html>.
    fn most_parameters(&self) -> usize {
        65_535
    }

    fn most_rows(&self) -> usize {
        1000
    }

    /// Parameters arrive with the types that Rust knows, `text` and the like, which do not compare as the column does: a
    /// `citext` beside a `text` is a `text`. So they are cast. The names are those of the types without their length or
    /// scale, so that no cast shortens a key until it is another row's: in the place of a domain, which may have a length, that of
    /// the type that it is made of, in the end. -1 keeps `character` from meaning `character(1)`:
    /// <https://www.postgresql.org/docs/15/functions-info.html>, <https://www.postgresql.org/docs/15/catalog-pg-type.html>.
    fn types(&self, plan: &Plan) -> Option<SelectStatement> {
        const NAME: &str = "(WITH RECURSIVE made_of AS (\
             SELECT oid, typtype, typbasetype FROM pg_catalog.pg_type WHERE oid = pg_typeof($1) UNION ALL \
             SELECT base.oid, base.typtype, base.typbasetype FROM pg_catalog.pg_type AS base, made_of \
             WHERE made_of.typtype = 'd' AND base.oid = made_of.typbasetype) \
             SELECT format_type(oid, -1) FROM made_of WHERE typtype <> 'd')";

        Some(values::of_no_row(plan, |column| Expr::cust_with_exprs(NAME, [column])))
    }

    /// `FOR NO KEY UPDATE` waits for whoever changes the row, and then reads it as that has left it; under REPEATABLE READ
    /// it fails instead: <https://www.postgresql.org/docs/15/transaction-iso.html>.
    fn find(&self, plan: &Plan, rows: &[Given], find: Find) -> SelectStatement {
        values::find(self, plan, rows, find)
    }

    /// `ON CONFLICT` waits for whoever inserts the same key, and any other unique key still fails. A plain INSERT that fails
    /// would take the transaction with it: <https://www.postgresql.org/docs/15/sql-insert.html>.
    fn insert(&self, plan: &Plan, rows: &[Given]) -> Insert {
        Insert::LeavesOut(values::leaving_out(self, plan, insert_typed(plan, rows)))
    }

    fn update(&self, plan: &Plan, rows: &[Given]) -> Vec<UpdateStatement> {
        vec![values::update(self, plan, rows)]
    }
}

impl Joins for Postgres {
    /// Every type has a text, and not every type an equality: `json` and `point` have none. The one of `citext` ignores
    /// case, and so may a column's collation: <https://www.postgresql.org/docs/15/collation.html>.
    fn exact(&self, value: Expr) -> Expr {
        Expr::cust_with_exprs("CAST($1 AS text) COLLATE \"C\"", [value])
    }

    fn differ(&self, one: Expr, other: Expr) -> Expr {
        Expr::cust_with_exprs("$1 IS DISTINCT FROM $2", [one, other])
    }

    fn typed(&self, plan: &Plan, place: usize, value: Expr) -> Expr {
        typed(plan.type_of(place), value)
    }
}

fn typed(name: Option<&str>, value: Expr) -> Expr {
    match name {
        Some(name) => value.cast_as(Alias::new(name)),
        None => value,
    }
}

/// Rows to insert, whose values are cast as those are that are compared and updated: a `text` is no value of an enumeration by itself.
fn insert_typed(plan: &Plan, rows: &[Given]) -> InsertStatement {
    let mut select = Query::select();
    select.exprs((0..plan.columns.len()).map(|place| typed(plan.types.get(place).map(String::as_str), given(place))));
    select.from_values(rows.iter().map(|(_, values)| ValueTuple::Many(values.to_vec())), Alias::new(GIVEN));
    let mut insert = InsertStatement::new();
    insert.into_table(plan.table.clone()).columns(plan.columns.iter().cloned());
    insert.select_from(select).expect("as many values as columns");
    insert
}
