//! The statements of each engine, to be read.

use sea_orm::sea_query::{
    Alias, DynIden, IntoIden, MysqlQueryBuilder, PostgresQueryBuilder, QueryStatementWriter, SqliteQueryBuilder,
};
use sea_orm::{DbBackend, Value};

use super::{Find, Insert, of};
use crate::upsert::plan::Plan;

fn write(backend: DbBackend, statement: &impl QueryStatementWriter) -> String {
    match backend {
        DbBackend::MySql => statement.to_string(MysqlQueryBuilder),
        DbBackend::Sqlite => statement.to_string(SqliteQueryBuilder),
        _ => statement.to_string(PostgresQueryBuilder),
    }
}

/// All statements for two rows of a key of two columns, one of which has a name that must be quoted.
fn statements(backend: DbBackend) -> String {
    let names = |names: &[&str]| names.iter().map(|name| Alias::new(*name).into_iden()).collect::<Vec<DynIden>>();
    let returning = Some(Alias::new("id").into_iden());
    let mut plan =
        Plan::new("order".into(), &names(&["a", "b\"`"]), names(&["a", "c", "b\"`"]), None, returning).expect("a plan");
    plan.types = ["bigint", "character varying", "jsonb"].map(str::to_owned).to_vec();
    let rows: [Vec<Value>; 2] =
        [vec![1.into(), "x".into(), "k".into()], vec![2.into(), Value::String(None), "l".into()]];
    let rows: Vec<_> = rows.iter().map(Vec::as_slice).enumerate().collect();
    let dialect = of(backend);
    let insert = match dialect.insert(&plan, &rows) {
        Insert::LeavesOut(insert) | Insert::Refuses(insert) => insert,
    };
    let mut all: Vec<String> = dialect.types(&plan).iter().map(|types| write(backend, types)).collect();
    all.push(write(backend, &dialect.find(&plan, &rows, Find::Numbers)));
    all.push(write(backend, &insert));
    all.push(write(backend, &dialect.find(&plan, &rows, Find::Rows)));
    all.extend(dialect.update(&plan, &rows).iter().map(|update| write(backend, update)));
    all.join(";\n\n")
}

#[test]
fn the_statements_of_each_engine() {
    insta::assert_snapshot!("mysql", statements(DbBackend::MySql));
    insta::assert_snapshot!("postgres", statements(DbBackend::Postgres));
    insta::assert_snapshot!("sqlite", statements(DbBackend::Sqlite));
}
