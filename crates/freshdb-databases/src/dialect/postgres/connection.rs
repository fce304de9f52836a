//! Connections of freshdb's own, and what is said over them.

use std::str::FromStr;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Either, PgConnection, Row};

use super::super::say_goodbye;
use crate::{DatabaseUrl, url};

/// What freshdb's own connections call themselves, so that they are told from everybody else's.
pub(super) const APPLICATION: &str = "freshdb-databases";

/// Settings that a statement's meaning or patience depends on. Sent with the start of the connection, they win over what
/// a template's `ALTER DATABASE … SET` says.
const SETTINGS: [(&str, &str); 13] = [
    ("client_min_messages", "warning"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // Nobody else is in a slot that is put back: who waits this long waits for ever.
    ("lock_timeout", "20s"),
    // Seed rows are read in their order on disk, as text that reads back as the same values.
    ("synchronize_seqscans", "off"),
    ("enable_indexonlyscan", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("DateStyle", "ISO,YMD"),
    ("extra_float_digits", "1"),
    ("jit", "off"),
];

/// Limits on how long a session may be idle, or a transaction may take, and since which version the server has them. One that does not know a
/// setting does not let in whoever sends it with the start.
const LIMITS: [(u32, &str); 2] = [(140_000, "idle_session_timeout"), (170_000, "transaction_timeout")];

/// Since which version logging in can fire triggers.
const LOGIN_TRIGGERS: u32 = 170_000;

pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Those that a schema's own connection has as the server, its role or PGOPTIONS say, and with which it can come out otherwise. Sent with the
/// start of this connection they would hide that from [`identity`](super::server::identity).
///
/// Nothing that a template defines may stand in for what the server defines; and names are printed in full.
pub(super) const HIDING_SETTINGS: &str =
    "SET search_path = pg_catalog, pg_temp; SET bytea_output = hex; SET IntervalStyle = postgres";

/// A connection of freshdb's own.
pub(crate) struct Connection {
    pub(super) wire: PgConnection,
    server: DatabaseUrl,
}

impl Connection {
    /// Connects to another database of the same server: some things can only be done from within one.
    pub(super) async fn elsewhere(&self, database: &str) -> Result<Self, sqlx::Error> {
        connect(&self.server, database).await
    }

    /// Whether a database of this server can have triggers that fire when somebody logs in:
    /// <https://www.postgresql.org/docs/17/event-trigger-definition.html#EVENT-TRIGGER-LOGIN>.
    pub(super) fn has_login_triggers(&self) -> bool {
        self.wire.server_version_num().is_some_and(|version| version >= LOGIN_TRIGGERS)
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        say_goodbye(self.wire).await
    }
}

/// Connects to a database of the server.
pub(super) async fn connect(server: &DatabaseUrl, database: &str) -> Result<Connection, sqlx::Error> {
    connect_with(server, database, &[]).await
}

/// Connects to a database that may have triggers `ON login`, and fires none of them, unless this user may not say so: it is a superuser who makes them.
/// The server must be one that [has such](Connection::has_login_triggers).
pub(super) async fn connect_unseen(server: &DatabaseUrl, database: &str) -> Result<Connection, sqlx::Error> {
    match connect_with(server, database, &[("event_triggers", "off")]).await {
        Err(error) if is(&error, &[INSUFFICIENT_PRIVILEGE]) => connect(server, database).await,
        answer => answer,
    }
}

async fn connect_with(server: &DatabaseUrl, database: &str, more: &[(&str, &str)]) -> Result<Connection, sqlx::Error> {
    let mut wire = url::postgres(PgConnectOptions::from_str(&server.for_sqlx())?)
        .database(database)
        .application_name(APPLICATION)
        .options(SETTINGS)
        .options(more.iter().copied())
        .connect()
        .await?;
    let known = LIMITS.iter().filter(|(since, _)| wire.server_version_num().is_some_and(|version| version >= *since));
    let unlimited = known.map(|(_, limit)| format!("SET {limit} = 0"));
    let sql: Vec<String> = std::iter::once(HIDING_SETTINGS.to_owned()).chain(unlimited).collect();
    sqlx::raw_sql(AssertSqlSafe(sql.join("; "))).execute(&mut wire).await?;
    Ok(Connection { wire, server: server.clone() })
}

/// Runs one statement, or several as one transaction.
pub(super) async fn execute(connection: &mut Connection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection.wire).await?;
    Ok(())
}

/// The rows of a query, every value as the server writes it.
pub(super) async fn rows(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection.wire).await?;
    rows.iter().map(values).collect()
}

pub(super) fn values(row: &PgRow) -> Result<Vec<Option<String>>, sqlx::Error> {
    (0..row.len()).map(|column| row.try_get_unchecked::<Option<String>, _>(column)).collect()
}

/// The rows of a query that is asked again and again: planned once for each connection. Every column and every argument must be text.
pub(super) async fn prepared(
    connection: &mut Connection,
    sql: &str,
    arguments: &[&str],
) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
    let query = arguments.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, argument| query.bind(*argument));
    let rows = query.fetch_all(&mut connection.wire).await?;
    rows.iter().map(values).collect()
}

/// Runs several statements as one transaction: how many rows each of them touched, and the first column of the last one's answer.
pub(super) async fn batch(connection: &mut Connection, sql: &str) -> Result<(Vec<u64>, Vec<String>), sqlx::Error> {
    let mut answers = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(&mut connection.wire);
    let (mut touched, mut last, mut ended) = (Vec::new(), Vec::new(), false);
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Left(result) => {
                touched.push(result.rows_affected());
                ended = true;
            }
            Either::Right(row) => {
                if std::mem::take(&mut ended) {
                    last.clear();
                }
                last.extend(values(&row)?.into_iter().next().flatten());
            }
        }
    }
    Ok((touched, last))
}

/// The first value of a query's first row.
pub(super) async fn value(connection: &mut Connection, sql: &str) -> Result<Option<String>, sqlx::Error> {
    Ok(rows(connection, sql).await?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
}

/// A name as an identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The SQLSTATE of an error that the server sent.
pub(super) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether the server answered with one of these SQLSTATEs.
pub(super) fn is(error: &sqlx::Error, codes: &[&str]) -> bool {
    sqlstate(error).is_some_and(|code| codes.contains(&code.as_str()))
}
