//! Connections of freshdb's own, and what is sent through them: the text protocol throughout, in batches where it can be.

use std::str::FromStr;

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Either, MySqlConnection, Row};

use super::verbatim;
use crate::{DatabaseUrl, url};

/// A row, every value as the bytes of its text.
pub(super) type TextRow = Vec<Option<String>>;

/// What the sessions that administer say of themselves to the server, so that what a template's own statements mean is kept and nothing
/// of freshdb's waits for long.
///
/// - `sql_mode`: an explicit id of 0 is one, quotes quote strings, and values that were let in once are let in again.
/// - `sql_select_limit`: none, whatever the server's is.
/// - `completion_type`: with `CHAIN` a COMMIT begins another transaction, in which all that is read is as it was.
/// - `lock_wait_timeout`: its default is a day (MySQL: a year).
/// - `wait_timeout`: a slot may be idle for longer than the default of eight hours.
pub(super) const SETTINGS: &str = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', \
     foreign_key_checks = 0, unique_checks = 0, sql_quote_show_create = 1, sql_safe_updates = 0, sql_select_limit = 18446744073709551615, \
     group_concat_max_len = 1048576, \
     autocommit = 1, completion_type = 'NO_CHAIN', lock_wait_timeout = 5, innodb_lock_wait_timeout = 5, wait_timeout = 2147483";

/// In statements that look through `information_schema`: whose they are may be on any database meanwhile, and freshdb's are not waited for.
pub(super) const OWN: &str = "/* freshdb */";

/// What only some servers have.
///
/// - `information_schema_stats_expiry`: otherwise MySQL answers with an AUTO_INCREMENT of yesterday's.
/// - `show_create_table_verbosity`, `sql_quote_show_create`: definitions are compared as they are shown.
/// - `sql_generate_invisible_primary_key`, `sql_require_primary_key`: a template's table without a primary key is copied as it is.
/// - `system_versioning_insert_history`: so is MariaDB's history of rows.
/// - `innodb_strict_mode`, `restrict_fk_on_non_standard_key`, `check_constraint_checks`: what was let in once is let in again.
/// - `sql_log_bin`: where the server has no number, no replica can follow it
///   (<https://dev.mysql.com/doc/refman/9.7/en/replication-options.html>), and what is done here need not be logged.
const OPTIONAL: [&str; 10] = [
    "information_schema_stats_expiry = 0",
    "show_create_table_verbosity = 0",
    "sql_quote_show_create = 1",
    "sql_generate_invisible_primary_key = 0",
    "sql_require_primary_key = 0",
    "system_versioning_insert_history = 1",
    "innodb_strict_mode = 0",
    "restrict_fk_on_non_standard_key = 0",
    "check_constraint_checks = 0",
    "sql_log_bin = IF(@@GLOBAL.server_id = 0, 0, @@SESSION.sql_log_bin)",
];
const UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
const ACCESS_DENIED: u16 = 1227;
/// Reading from the client failed.
const DISTURBED: u16 = 1158;

/// Connects; to no database in particular if its name is empty.
pub(super) async fn connect(server: &DatabaseUrl, database: &str) -> Result<MySqlConnection, sqlx::Error> {
    let options = url::mysql(MySqlConnectOptions::from_str(&server.with_database(database).for_sqlx())?)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .charset("utf8mb4");
    // What does not leave this machine need not be encrypted, and with TLS it takes 40 ms longer to connect. A server that insists gets it.
    let plain = if server.is_on_loopback() && matches!(options.get_ssl_mode(), MySqlSslMode::Preferred) {
        open(&options.clone().ssl_mode(MySqlSslMode::Disabled)).await.ok()
    } else {
        None
    };
    let mut connection = match plain {
        Some(connection) => connection,
        None => open(&options).await?,
    };
    apply_settings(&mut connection).await?;
    Ok(connection)
}

/// All at once; and where the server does not know one, all that come after it.
async fn apply_settings(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let mut next = 0;
    let optional = OPTIONAL.iter().map(|setting| format!("SET SESSION {setting}"));
    let statements = std::iter::once(SETTINGS.to_owned()).chain(optional).collect::<Vec<_>>();
    while let Some(rest) = statements.get(next..).filter(|rest| !rest.is_empty()) {
        let (done, refused) = results_until(connection, &rest.join(";")).await?;
        next += done.len();
        match refused {
            Some(error) if next > 0 && matches!(number(&error), Some(UNKNOWN_SYSTEM_VARIABLE | ACCESS_DENIED)) => {
                next += 1;
            }
            Some(error) => return Err(error),
            None => break,
        }
    }
    Ok(())
}

async fn open(options: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
    match options.connect().await {
        Err(error) if is_disturbed(&error) => options.connect().await,
        answer => answer,
    }
}

/// MySQL 9.7 now and then tells a session that is killed, as leftover ones are here, its end over the socket of one that is just being
/// greeted, and closes that. The new one gets bytes of another one's TLS, an end, or an error that came out of that.
fn is_disturbed(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, InvalidData, UnexpectedEof};

    match error {
        sqlx::Error::Io(error) => matches!(error.kind(), InvalidData | UnexpectedEof | ConnectionReset | BrokenPipe),
        sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        error => number(error) == Some(DISTURBED),
    }
}

/// Runs one statement, or several with a `;` between them.
pub(super) async fn execute(connection: &mut MySqlConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute_many(connection).try_for_each(|_| async { Ok(()) }).await
}

/// Runs one statement of any bytes. The driver sends texts alone: what is none is prepared out of a value, in so far as the server prepares it.
pub(super) async fn execute_bytes(connection: &mut MySqlConnection, sql: Vec<u8>) -> Result<(), sqlx::Error> {
    let prepare = |sql: Vec<u8>| {
        let sql = binary(&sql);
        format!("SET @freshdb = {sql}; PREPARE freshdb FROM @freshdb; EXECUTE freshdb; DEALLOCATE PREPARE freshdb")
    };
    let sql = String::from_utf8(sql).unwrap_or_else(|error| prepare(error.into_bytes()));
    execute(connection, &sql).await
}

/// The rows of one query.
pub(super) async fn rows(connection: &mut MySqlConnection, sql: &str) -> Result<Vec<TextRow>, sqlx::Error> {
    Ok(results(connection, sql).await?.into_iter().next().unwrap_or_default())
}

/// What each statement of a batch answers, in order; no rows from those that give none.
pub(super) async fn results(connection: &mut MySqlConnection, sql: &str) -> Result<Vec<Vec<TextRow>>, sqlx::Error> {
    let (results, error) = results_until(connection, sql).await?;
    error.map_or(Ok(results), Err)
}

/// The same, verbatim: see `verbatim.rs`.
pub(super) async fn verbatim_results(
    connection: &mut MySqlConnection,
    sql: &str,
) -> Result<Vec<Vec<TextRow>>, sqlx::Error> {
    let (results, error) = answers(connection, sql, verbatim::text, |_| {}).await?;
    error.map_or(Ok(results), Err)
}

/// The same, up to the first statement that the server refuses, and why it does.
pub(super) async fn results_until(
    connection: &mut MySqlConnection,
    sql: &str,
) -> Result<(Vec<Vec<TextRow>>, Option<sqlx::Error>), sqlx::Error> {
    results_as_they_come(connection, sql, |_| {}).await
}

/// The same, and tells after each answer how many there were.
pub(super) async fn results_as_they_come(
    connection: &mut MySqlConnection,
    sql: &str,
    tell: impl FnMut(usize),
) -> Result<(Vec<Vec<TextRow>>, Option<sqlx::Error>), sqlx::Error> {
    answers(connection, sql, lossy, tell).await
}

async fn answers(
    connection: &mut MySqlConnection,
    sql: &str,
    text: fn(&[u8]) -> String,
    mut tell: impl FnMut(usize),
) -> Result<(Vec<Vec<TextRow>>, Option<sqlx::Error>), sqlx::Error> {
    let mut results = vec![Vec::new()];
    let mut refused = None;
    let mut answers = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(connection);
    loop {
        let answer = match answers.try_next().await {
            Ok(Some(answer)) => answer,
            Ok(None) => break,
            Err(error) if number(&error).is_some() => {
                refused = Some(error);
                break;
            }
            Err(error) => return Err(error),
        };
        match answer {
            Either::Left(_) => {
                tell(results.len());
                results.push(Vec::new());
            }
            Either::Right(row) => {
                if let Some(last) = results.last_mut() {
                    last.push(texts_by(&row, text)?);
                }
            }
        }
    }
    // Behind the end of the last there is nothing.
    results.pop();
    Ok((results, refused))
}

/// The rows of a query whose values need not be text.
pub(super) async fn bytes(
    connection: &mut MySqlConnection,
    sql: &str,
) -> Result<Vec<Vec<Option<Vec<u8>>>>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(connection).await?;
    rows.iter().map(values).collect()
}

/// Hands on each row of a query as it comes.
pub(super) async fn for_each(
    connection: &mut MySqlConnection,
    sql: &str,
    mut each: impl FnMut(Vec<Option<Vec<u8>>>),
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        each(values(&row)?);
    }
    Ok(())
}

fn values(row: &MySqlRow) -> Result<Vec<Option<Vec<u8>>>, sqlx::Error> {
    (0..row.len()).map(|column| row.try_get_unchecked(column)).collect()
}

pub(super) fn texts(row: &MySqlRow) -> Result<TextRow, sqlx::Error> {
    texts_by(row, lossy)
}

fn texts_by(row: &MySqlRow, text: fn(&[u8]) -> String) -> Result<TextRow, sqlx::Error> {
    Ok(values(row)?.into_iter().map(|value| value.map(|bytes| text(&bytes))).collect())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first values of a row, each of them missing where it is NULL or not there.
pub(super) fn fixed<const N: usize>(row: TextRow) -> [Option<String>; N] {
    let mut values = row.into_iter();
    std::array::from_fn(|_| values.next().flatten())
}

/// A name, quoted.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string, quoted. It is read as it is meant because the session's `sql_mode` lacks `NO_BACKSLASH_ESCAPES`.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Bytes, as SQL has them.
pub(super) fn binary(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("X'{}'", digits.concat())
}

/// The server's number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(error.number())
}
