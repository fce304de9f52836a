//! Statements that join the table with the rows that are given, on the engines that plan such a join as one look-up for
//! each row.
//!
//! It is always the table's column that is compared with what is given: so the server decides, by the column's type and
//! collation, what is the same key.

use sea_orm::Value;
use sea_orm::sea_query::{
    Alias, DynIden, Expr, ExprTrait, InsertStatement, LockType, OnConflict, Order, Query, SelectStatement, TableName,
    TableRef, UpdateStatement, ValueTuple,
};

use super::{Find, Given, any};
use crate::upsert::plan::Plan;

/// What still differs between these engines.
pub(super) trait Joins {
    /// The value written out, such that two are stored alike just if they are written alike.
    fn exact(&self, value: Expr) -> Expr;

    /// Whether two such texts, or NULLs, are not the same.
    fn differ(&self, one: Expr, other: Expr) -> Expr;

    /// A given value as one of the type of its column: of the key's, or further on of those that are updated.
    fn typed(&self, plan: &Plan, place: usize, value: Expr) -> Expr;
}

const STORED: &str = "stored";
pub(super) const GIVEN: &str = "given";

pub(super) fn find(joins: &dyn Joins, plan: &Plan, rows: &[Given], find: Find) -> SelectStatement {
    let mut select = Query::select();
    select.expr(given(0)).from_as(plan.table.clone(), Alias::new(STORED));
    select.from_values(rows.iter().map(|row| tuple(plan, row, find == Find::Rows)), Alias::new(GIVEN));
    select.and_where(same_key(joins, plan));
    if find == Find::Rows {
        let differs = plan.update().enumerate().map(|(place, column)| {
            let place = plan.key().len() + place;
            let value = joins.typed(plan, place, given(1 + place));
            joins.differ(joins.exact(stored(column)), joins.exact(value))
        });
        select.expr(any(differs.collect()));
        select.exprs(plan.key().chain(plan.update()).map(|column| joins.exact(stored(column))));
        select.exprs(plan.returning.iter().map(stored));
        // Locked in this order. What the key refers to may be locked for others that refer to it.
        select.order_by_expr(given(0), Order::Asc);
        select.lock_with_tables(LockType::NoKeyUpdate, [Alias::new(STORED)]);
    }
    select
}

/// Of rows to insert, leaves out those whose key is there, and returns the keys of the others.
pub(super) fn leaving_out(joins: &dyn Joins, plan: &Plan, mut insert: InsertStatement) -> InsertStatement {
    insert.on_conflict(OnConflict::columns(plan.key().cloned()).do_nothing().to_owned());
    insert.returning(Query::returning().exprs(plan.key().map(|column| joins.exact(Expr::col(column.clone())))));
    insert
}

pub(super) fn update(joins: &dyn Joins, plan: &Plan, rows: &[Given]) -> UpdateStatement {
    let table = TableRef::Table(plan.table.clone(), Some(Alias::new(STORED).into()));
    let values = rows.iter().map(|row| tuple(plan, row, true)).collect();
    let mut update = Query::update();
    update.table(table).from(TableRef::ValuesList(values, Alias::new(GIVEN).into()));
    for (place, column) in plan.update().enumerate() {
        let place = plan.key().len() + place;
        update.value(column.clone(), joins.typed(plan, place, given(1 + place)));
    }
    update.and_where(same_key(joins, plan));
    update
}

/// `stored.key = given.key`, in this order: SQLite compares by the left side's collation.
fn same_key(joins: &dyn Joins, plan: &Plan) -> Expr {
    let same =
        plan.key().enumerate().map(|(place, column)| stored(column).eq(joins.typed(plan, place, given(1 + place))));
    same.reduce(ExprTrait::and).unwrap_or_else(|| Expr::cust("1 = 0"))
}

/// A row's number, its key, and what is updated, if that is needed.
fn tuple(plan: &Plan, (number, values): &Given, with_update: bool) -> ValueTuple {
    let number = Value::BigInt(i64::try_from(*number).ok());
    let update = plan.update_of(values).filter(|_| with_update);
    ValueTuple::Many(std::iter::once(number).chain(plan.key_of(values).chain(update).cloned()).collect())
}

fn stored(column: &DynIden) -> Expr {
    Expr::col((Alias::new(STORED), column.clone()))
}

/// The columns of VALUES are called `column1` and so on by PostgreSQL and SQLite alike:
/// <https://www.postgresql.org/docs/15/queries-values.html>, <https://www.sqlite.org/lang_select.html#values>.
pub(super) fn given(place: usize) -> Expr {
    Expr::col((Alias::new(GIVEN), Alias::new(format!("column{}", place + 1))))
}

/// The table beside one row, so that there is a row to ask of even where the table has none.
pub(super) fn of_no_row(plan: &Plan, ask: impl Fn(Expr) -> Expr) -> SelectStatement {
    let table: TableName = plan.table.clone();
    let mut select = Query::select();
    select.exprs(plan.columns.iter().map(|column| ask(stored(column))));
    select.from_subquery(Query::select().expr(Expr::cust("1")).take(), Alias::new("one"));
    select.join_as(sea_orm::sea_query::JoinType::LeftJoin, table, Alias::new(STORED), Expr::cust("1 = 0"));
    select
}
