//! All that is in a database, to be compared.

use std::fmt::Write as _;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row};

use super::super::{Definition, Dialect, ReadTable};
use super::{Connection, Sqlite};

pub(super) async fn definitions(connection: &mut Connection) -> Result<Vec<Definition>, sqlx::Error> {
    let sql =
        r"SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\'";
    let rows = Sqlite::rows(connection, sql).await?.into_iter().map(|row| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        Definition { kind: next(), name: next(), statement: next() }
    });
    Ok(rows.collect())
}

/// Not those of modules, which another connection may not have.
pub(super) async fn tables(connection: &mut Connection) -> Result<Vec<ReadTable>, sqlx::Error> {
    // A value as a literal tells its type, too. One of text with a NUL in it ends there, unless it is written in another way.
    let value = r"'CASE WHEN ' || c || ' IS NULL THEN NULL WHEN typeof(' || c || ') = ''text'' AND instr(' || c || ', char(0)) > 0
        THEN ''CAST(x'''''' || hex(' || c || ') || '''''' AS TEXT)'' ELSE quote(' || c || ') END'";
    let sql = format!(
        r#"SELECT t, f, name, {value}, k FROM (
            SELECT m.name AS t, '"' || replace(m.name, '"', '""') || '"' AS f, i.name, '"' || replace(i.name, '"', '""') || '"' AS c,
                i.cid, CASE WHEN i.pk > 0 THEN i.pk END AS k
            FROM sqlite_master m, pragma_table_xinfo(m.name) i
            WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND i.hidden <> 1
                AND m.sql NOT LIKE 'CREATE VIRTUAL%')
        ORDER BY t, cid"#
    );
    Ok(ReadTable::of_rows(Sqlite::rows(connection, &sql).await?))
}

/// A literal as the engine writes it. A text may be of any bytes, and two that differ in those that are no UTF-8 are not told alike.
fn literal(quoted: Vec<u8>) -> String {
    String::from_utf8(quoted).unwrap_or_else(|error| {
        let quoted = error.into_bytes();
        let text = quoted.strip_prefix(b"'").and_then(|text| text.strip_suffix(b"'")).unwrap_or(&quoted);
        let mut hex = String::new();
        let mut after_quote = false;
        for byte in text {
            after_quote = *byte == b'\'' && !after_quote;
            // A quote is written twice.
            if *byte != b'\'' || after_quote {
                write!(hex, "{byte:02X}").expect("a String takes all");
            }
        }
        format!("CAST(x'{hex}' AS TEXT)")
    })
}

pub(super) async fn for_each(
    connection: &mut Connection,
    sql: &str,
    mut each: impl FnMut(Vec<Option<String>>) + Send,
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut connection.file);
    while let Some(row) = rows.try_next().await? {
        let value = |column| Ok(row.try_get_unchecked::<Option<Vec<u8>>, _>(column)?.map(literal));
        each((0..row.len()).map(value).collect::<Result<_, sqlx::Error>>()?);
    }
    Ok(())
}
