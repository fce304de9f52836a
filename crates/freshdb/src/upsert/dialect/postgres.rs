//! PostgreSQL.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, SelectStatement, UpdateStatement};

use super::values::{self, Joins};
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
    /// scale, so that no cast shortens a key until it is another row's; -1 keeps `character` from meaning
    /// `character(1)`: <https://www.postgresql.org/docs/15/functions-info.html>.
    fn types(&self, plan: &Plan) -> Option<SelectStatement> {
        Some(values::of_no_row(plan, |column| {
            let type_of = Func::cust(Alias::new("pg_typeof")).arg(column);
            Func::cust(Alias::new("format_type")).arg(type_of).arg(Expr::cust("-1")).into()
        }))
    }

    /// `FOR NO KEY UPDATE` waits for whoever changes the row, and then reads it as that has left it; under REPEATABLE READ
    /// it fails instead: <https://www.postgresql.org/docs/15/transaction-iso.html>.
    fn find(&self, plan: &Plan, rows: &[Given], find: Find) -> SelectStatement {
        values::find(self, plan, rows, find)
    }

    /// `ON CONFLICT` waits for whoever inserts the same key, and any other unique key still fails. A plain INSERT that fails
    /// would take the transaction with it: <https://www.postgresql.org/docs/15/sql-insert.html>.
    fn insert(&self, plan: &Plan, rows: &[Given]) -> Insert {
        Insert::LeavesOut(values::insert(self, plan, rows))
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
        match plan.types.get(place) {
            Some(name) => value.cast_as(Alias::new(name)),
            None => value,
        }
    }
}
