//! MySQL and MariaDB.

use sea_orm::Value;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, LockType, Query, SelectStatement, UnionType, UpdateStatement};

use super::{Dialect, Find, Given, Insert, any, insert_into};
use crate::upsert::plan::Plan;

pub(super) struct MySql;

impl Dialect for MySql {
    /// The protocol counts them in 16 bits:
    /// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html>.
    fn most_parameters(&self) -> usize {
        65_535
    }

    /// Each row is a SELECT of its own in [`find`](Self::find).
    fn most_rows(&self) -> usize {
        200
    }

    fn has_unsigned(&self) -> bool {
        true
    }

    /// A parameter is converted to the type and collation of the column it is compared with:
    /// <https://dev.mysql.com/doc/refman/9.7/en/charset-collation-coercibility.html>.
    fn types(&self, _plan: &Plan) -> Option<SelectStatement> {
        None
    }

    /// One SELECT for each row, compared with the parameters themselves. A join with a list of rows would compare two
    /// columns, whose collations are an "illegal mix" unless they are the same; and a list of keys may be answered by
    /// reading, and so locking, the whole table: <https://dev.mysql.com/doc/refman/9.7/en/innodb-locks-set.html>.
    ///
    /// Reading without a lock comes first, because to lock a row that is missing is to lock the gap that it would be in.
    /// Reading with one sees what was last committed, and not what the transaction saw first
    /// (<https://dev.mysql.com/doc/refman/9.7/en/innodb-locking-reads.html>), or is refused where MariaDB isolates snapshots.
    fn find(&self, plan: &Plan, rows: &[Given], find: Find) -> SelectStatement {
        // A lock cannot be asked for in the first SELECT of a UNION without parentheses, so the first finds nothing. It needs no values, which
        // may be large.
        let nothing = rows.first().map(|(number, values)| {
            let values: Vec<Value> = values.iter().map(Value::as_null).collect();
            select(plan, &(*number, &values), find)
        });
        let mut union = nothing.unwrap_or_else(Query::select);
        union.and_where(Expr::cust("1 = 0"));
        union.unions(rows.iter().map(|row| {
            let mut select = select(plan, row, find);
            if find == Find::Rows {
                select.lock(LockType::Update);
            }
            (UnionType::All, select)
        }));
        union
    }

    /// `ON DUPLICATE KEY UPDATE` cannot be told which key it is about, and takes a row that has any unique key in common
    /// for the row that is meant: <https://dev.mysql.com/doc/refman/9.7/en/insert-on-duplicate.html>. `IGNORE` would turn
    /// other errors into warnings.
    fn insert(&self, plan: &Plan, rows: &[Given]) -> Insert {
        Insert::Refuses(insert_into(plan, rows))
    }

    /// One statement for each row, which locks just that one.
    fn update(&self, plan: &Plan, rows: &[Given]) -> Vec<UpdateStatement> {
        let one = |(_, values): &Given| {
            let mut update = Query::update();
            update.table(plan.table.clone());
            for (column, value) in plan.update().zip(plan.update_of(values)) {
                update.value(column.clone(), value.clone());
            }
            update.and_where(same_key(plan, values));
            update
        };
        rows.iter().map(one).collect()
    }
}

fn select(plan: &Plan, (number, values): &Given, find: Find) -> SelectStatement {
    let mut select = Query::select();
    select.expr(Expr::cust(number.to_string())).from(plan.table.clone()).and_where(same_key(plan, values));
    if find == Find::Rows {
        let differs = plan.update().zip(plan.update_of(values)).map(|(column, value)| {
            // The texts alone could be the same in two character sets, and `<=>` alone ignores what the collation does.
            let (column, value) = (Expr::col(column.clone()), Expr::value(value.clone()));
            let equal = same(column.clone(), value.clone());
            equal.and(same(exact(column), exact(value))).not()
        });
        select.expr(any(differs.collect()));
        select.exprs(plan.key().chain(plan.update()).map(|column| exact(Expr::col(column.clone()))));
        select.exprs(plan.returning.iter().map(|column| Expr::col(column.clone())));
    }
    select
}

fn same_key(plan: &Plan, values: &[Value]) -> Expr {
    let same = plan.key().zip(plan.key_of(values)).map(|(column, value)| Expr::col(column.clone()).eq(value.clone()));
    same.reduce(ExprTrait::and).unwrap_or_else(|| Expr::cust("1 = 0"))
}

/// Equality that takes NULL for a value: <https://dev.mysql.com/doc/refman/9.7/en/comparison-operators.html>.
fn same(one: Expr, other: Expr) -> Expr {
    Expr::cust_with_exprs("? <=> ?", [one, other])
}

/// The bytes, which no collation compares, in digits that every character set has.
fn exact(value: Expr) -> Expr {
    Func::cust(Alias::new("HEX")).arg(value.cast_as("BINARY")).into()
}
