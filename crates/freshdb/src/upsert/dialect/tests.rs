//! The statements of each engine, to be read.

use sea_orm::sea_query::{
    Alias, DynIden, IntoIden, MysqlQueryBuilder, PostgresQueryBuilder, QueryStatementWriter, SqliteQueryBuilder,
};
use sea_orm::{DbBackend, Value};

use super::{Find, Insert, of, rows_per_statement};
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
    plan.types = ["bigint", "jsonb", "character varying"].map(str::to_owned).to_vec();
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

#[test]
fn no_statement_has_more_parameters_than_the_engine_takes() {
    for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
        for columns in [1, 2, 30, 300, 1000] {
            let columns: Vec<DynIden> =
                (0..columns).map(|column| Alias::new(format!("c{column}")).into_iden()).collect();
            let values = vec![Value::from(1); columns.len()];
            let plan = Plan::new("t".into(), &columns[..1], columns.clone(), None, None).expect("a plan");
            let dialect = of(backend);
            let rows: Vec<_> = (0..rows_per_statement(dialect, &plan)).map(|row| (row, values.as_slice())).collect();
            let insert = match dialect.insert(&plan, &rows) {
                Insert::LeavesOut(insert) | Insert::Refuses(insert) => backend.build(&insert),
            };
            let mut statements = vec![insert];
            statements.extend([Find::Numbers, Find::Rows].map(|find| backend.build(&dialect.find(&plan, &rows, find))));
            if columns.len() > 1 {
                statements.extend(dialect.update(&plan, &rows).iter().map(|update| backend.build(update)));
            }
            for statement in statements {
                let parameters = statement.values.map_or(0, |values| values.0.len());
                assert!(parameters <= dialect.most_parameters(), "{parameters} for {} columns", columns.len());
            }
        }
    }
}
