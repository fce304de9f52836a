//! SQLite.

use sea_orm::sea_query::{Expr, ExprTrait, SelectStatement, UpdateStatement};

use super::values::{self, Joins};
use super::{Dialect, Find, Given, Insert, insert_into};
use crate::upsert::plan::Plan;

pub(super) struct Sqlite;

impl Dialect for Sqlite {
    /// `SQLITE_MAX_VARIABLE_NUMBER`: <https://www.sqlite.org/limits.html>.
    fn most_parameters(&self) -> usize {
        32_766
    }

    fn most_rows(&self) -> usize {
        1000
    }

    /// What is given has no affinity, and takes that of the column it is compared with:
    /// <https://www.sqlite.org/datatype3.html#affinity_of_expressions>.
    fn types(&self, _plan: &Plan) -> Option<SelectStatement> {
        None
    }

    /// No lock: a transaction that writes is the only one that does, and one that began by reading fails where another has
    /// written since: <https://www.sqlite.org/isolation.html>.
    fn find(&self, plan: &Plan, rows: &[Given], find: Find) -> SelectStatement {
        values::find(self, plan, rows, find)
    }

    fn insert(&self, plan: &Plan, rows: &[Given]) -> Insert {
        Insert::LeavesOut(values::leaving_out(self, plan, insert_into(plan, rows)))
    }

    fn update(&self, plan: &Plan, rows: &[Given]) -> Vec<UpdateStatement> {
        vec![values::update(self, plan, rows)]
    }
}

impl Joins for Sqlite {
    /// The value as a literal, which tells 1 from 1.0, whatever the column's collation. NULL is a literal too. Of a text its bytes, for a
    /// literal ends where the text has a NUL: <https://www.sqlite.org/lang_corefunc.html#quote>.
    fn exact(&self, value: Expr) -> Expr {
        Expr::cust_with_exprs(
            "CASE typeof(?) WHEN 'text' THEN 't' || hex(?) ELSE quote(?) END",
            [value.clone(), value.clone(), value],
        )
    }

    fn differ(&self, one: Expr, other: Expr) -> Expr {
        one.ne(other)
    }

    fn typed(&self, _plan: &Plan, _place: usize, value: Expr) -> Expr {
        value
    }
}
