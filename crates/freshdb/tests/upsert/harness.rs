//! The table that the tests upsert into.

use freshdb::upsert::{Outcome, RowOutcome, Upsert};
use freshdb::{EngineOptions, OrmEngine};
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Alias, ColumnDef, Order, Query, Table, TableCreateStatement};
use test_support::{DEADLINE, TestDatabase};

/// An engine on the database, with eight connections.
pub async fn connect(database: &TestDatabase) -> OrmEngine {
    let options = EngineOptions::new().max_connections(8).acquire_timeout(DEADLINE).echo(false);
    options.lazy_orm(database.url()).expect("an engine")
}

/// `items`, whose texts are in the server's default character set (of MariaDB, latin1): a number of its own, a name that
/// is unique, a code that is unique too, and a note.
pub fn items() -> TableCreateStatement {
    let column = |name: &str| ColumnDef::new(Alias::new(name));
    Table::create()
        .table(Alias::new("items"))
        .col(column("id").big_integer().not_null().auto_increment().primary_key())
        .col(column("name").string_len(64).not_null().unique_key())
        .col(column("code").integer().unique_key())
        .col(column("note").string_len(64))
        .take()
}

/// A database that has `items`.
pub async fn connect_with_items(database: &TestDatabase) -> OrmEngine {
    let connection = connect(database).await;
    connection.execute(&items()).await.expect("the table is made");
    connection
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

pub fn note(name: &str, note: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), note.map(str::to_owned))
}
