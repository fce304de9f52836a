//! All that is in a database, to be compared.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, MySqlConnection};

use super::super::{Definition, ReadTable};
use super::catalog;
use super::connection::{fixed, identifier, literal, rows, texts};

pub(super) async fn definitions(
    connection: &mut MySqlConnection,
    database: &str,
) -> Result<Vec<Definition>, sqlx::Error> {
    let catalog = catalog::read(connection, database).await?;
    let itself = Definition { kind: "database".to_owned(), name: "itself".to_owned(), statement: catalog.shown() };
    let objects = catalog.objects.iter().map(|object| Definition {
        kind: object.kind.title(),
        name: identifier(&object.name),
        statement: object.shown(),
    });
    Ok(std::iter::once(itself).chain(objects).collect())
}

pub(super) async fn tables(connection: &mut MySqlConnection, database: &str) -> Result<Vec<ReadTable>, sqlx::Error> {
    let schema = literal(database);
    // By bytes, too: MariaDB takes names of tables for equal that differ by case or accent alone.
    let sql = format!(
        "SELECT c.table_name, c.column_name, c.data_type, s.seq_in_index
         FROM information_schema.tables t
         JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
             AND CAST(c.table_name AS BINARY) = CAST(t.table_name AS BINARY)
         LEFT JOIN information_schema.statistics s ON s.table_schema = {schema} AND s.table_name = c.table_name
             AND CAST(s.table_name AS BINARY) = CAST(c.table_name AS BINARY) AND s.index_name = 'PRIMARY' AND s.column_name = c.column_name
         WHERE t.table_schema = {schema} AND c.table_schema = {schema} AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
         ORDER BY CAST(c.table_name AS BINARY), c.ordinal_position"
    );
    let columns = rows(connection, &sql).await?.into_iter().map(|row| {
        let [table, column, data_type, key] = fixed(row);
        let (table, column) = (table.unwrap_or_default(), column.unwrap_or_default());
        let value = value(&identifier(&column), &data_type.unwrap_or_default().to_lowercase());
        let source = format!("{}.{}", identifier(database), identifier(&table));
        vec![Some(identifier(&table)), Some(source), Some(column), Some(value), key]
    });
    Ok(ReadTable::of_rows(columns.collect()))
}

/// A column's value as text. What may be no text is shown in hexadecimal digits, and a FLOAT with all of its own.
fn value(column: &str, data_type: &str) -> String {
    match data_type {
        "float" => format!("CAST({column} + 0e0 AS CHAR)"),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "bit" | "vector" | "geometry"
        | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geomcollection"
        | "geometrycollection" => format!("CONCAT('0x', HEX({column}))"),
        _ => format!("CAST({column} AS CHAR)"),
    }
}

pub(super) async fn for_each(
    connection: &mut MySqlConnection,
    sql: &str,
    mut each: impl FnMut(Vec<Option<String>>) + Send,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        each(texts(&row)?);
    }
    Ok(())
}
