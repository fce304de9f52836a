//! The table that the tests upsert into.

use freshdb::test::schema::SeaOrmEntities;
use freshdb::test::{Lease, Schema};
use freshdb::upsert::{Outcome, RowOutcome, Upsert};
use sea_orm::sea_query::{Alias, Order, Query};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use test_support::{Engine, TestDatabase};

/// `items`, whose texts are in the server's default character set (of MariaDB, latin1).
mod item {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "items")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[sea_orm(unique, column_type = "String(StringLen::N(64))")]
        pub name: String,
        #[sea_orm(unique)]
        pub code: Option<i32>,
        #[sea_orm(column_type = "String(StringLen::N(64))")]
        pub note: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub fn items() -> impl Schema {
    SeaOrmEntities::new().with(item::Entity)
}

/// The database of a lease, as others see it.
pub fn elsewhere(lease: &Lease) -> TestDatabase {
    TestDatabase::at(Engine::named(lease.kind().name()), &lease.url().reveal())
}

pub fn notes<'text>(rows: impl IntoIterator<Item = (&'text str, Option<&'text str>)>) -> Upsert {
    Upsert::into("items").key(["name"]).columns(["name", "note"]).rows(rows)
}

/// What became of each row.
pub fn outcomes<T>(outcome: &Outcome<T>) -> Vec<RowOutcome> {
    outcome.rows().iter().map(|row| row.outcome).collect()
}

/// How many were inserted, updated and unchanged.
pub fn counts<T>(outcome: &Outcome<T>) -> [usize; 3] {
    [outcome.inserted(), outcome.updated(), outcome.unchanged()]
}

/// All names and notes, in the order of their numbers.
pub async fn stored_notes(connection: &impl ConnectionTrait) -> Vec<(String, Option<String>)> {
    let mut select = Query::select();
    select.columns(["name", "note"].map(Alias::new)).from(Alias::new("items")).order_by(Alias::new("id"), Order::Asc);
    let rows = connection.query_all(&select).await.expect("rows");
    let row = |row: &sea_orm::QueryResult| {
        (row.try_get_by_index(0).expect("a name"), row.try_get_by_index(1).expect("a note"))
    };
    rows.iter().map(row).collect()
}

/// Whether a transaction there may not write to a row that another has written since it began to read: MariaDB, by its default from 11.6.2 on.
/// <https://mariadb.com/docs/server/server-usage/storage-engines/innodb/innodb-system-variables#innodb_snapshot_isolation>.
/// Nothing where there is no such setting.
pub async fn isolates_snapshots(connection: &impl ConnectionTrait) -> Option<bool> {
    if connection.get_database_backend() != DbBackend::MySql {
        return None;
    }
    let question = "SHOW VARIABLES LIKE 'innodb_snapshot_isolation'";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::MySql, question)).await.expect("an answer")?;
    Some(row.try_get_by_index::<String>(1).expect("its value") == "ON")
}

pub fn note(name: &str, note: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), note.map(str::to_owned))
}
