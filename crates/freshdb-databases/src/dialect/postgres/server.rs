//! The server as a whole: its locks, its limits, who is on it.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::ServerSession;
use super::connection::{APPLICATION, Connection, HIDING_SETTINGS, execute, literal, prepared, rows, value};

/// Advisory locks count within the database of the connection: every process must take them in the same one.
pub(super) async fn try_lock(connection: &mut Connection, name: &str) -> Result<bool, sqlx::Error> {
    let taken = value(connection, &format!("SELECT pg_try_advisory_lock({})", key(name))).await?;
    Ok(taken.as_deref() == Some("t"))
}

pub(super) async fn unlock(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, &format!("SELECT pg_advisory_unlock({})", key(name))).await
}

/// 64 bits of the name's hash.
pub(super) fn key(name: &str) -> i64 {
    let hash = Sha256::digest(name.as_bytes());
    i64::from_be_bytes(std::array::from_fn(|index| hash[index]))
}

/// What decides how a schema comes out, beside its text.
const SETTINGS: &str = "DateStyle,IntervalStyle,TimeZone,array_nulls,backslash_quote,block_size,bytea_output,\
    default_table_access_method,default_tablespace,default_text_search_config,default_toast_compression,extra_float_digits,\
    lc_monetary,lc_numeric,lc_time,quote_all_identifiers,search_path,standard_conforming_strings,timezone_abbreviations,\
    transform_null_equals,xmlbinary,xmloption";

/// Since which version a server tells which version of a library compares the texts of a database. An index that another one has ordered is searched
/// in vain.
const KNOWS_COLLATION: u32 = 150_000;

/// The role is part of it: what a schema makes is its maker's, and nobody else may copy that. So is what it has set for itself, which of
/// this connection's settings some hide.
pub(super) async fn identity(connection: &mut Connection) -> Result<String, sqlx::Error> {
    // As a new session has them. Not of `pg_settings`, which takes the server as long to make as all the rest; and where a role has put other
    // schemas before the catalog, names without one could be anybody's.
    let settings = format!(
        "RESET search_path; RESET bytea_output; RESET IntervalStyle;
        SELECT pg_catalog.string_agg(pg_catalog.concat(name, '=', pg_catalog.current_setting(name, true)), ', ')
            FROM pg_catalog.unnest('{{{SETTINGS}}}'::pg_catalog.text[]) AS names (name);
        {HIDING_SETTINGS}"
    );
    // What the database was made with, the server may not have any more.
    let knows = connection.wire.server_version_num().is_some_and(|version| version >= KNOWS_COLLATION);
    let collation = if knows { "pg_database_collation_actual_version(oid)" } else { "NULL" };
    let sql = format!("SELECT 'PostgreSQL ' || current_setting('server_version') || ' as ' || current_user
        || (SELECT concat_ws(', ', '', pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d) ->> 'datlocprovider',
                coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), {collation})
            FROM pg_database d WHERE datname = 'template0')
        || (SELECT coalesce(string_agg(', ' || setconfig::text, '' ORDER BY setrole), '') FROM pg_db_role_setting
            WHERE setdatabase = 0 AND setrole IN (0, quote_ident(current_user)::regrole))");
    let mut answers = rows(connection, &format!("{settings}; {sql}")).await?.into_iter().flatten().flatten();
    let settings = answers.next().unwrap_or_default();
    Ok(format!("{}, {settings}", answers.next().unwrap_or_default()))
}

pub(super) async fn connection_limit(connection: &mut Connection) -> Result<u32, sqlx::Error> {
    // Not of `pg_settings`, which takes the server a millisecond to make.
    let sql = "SELECT least(greatest(0, current_setting('max_connections')::int
            - current_setting('superuser_reserved_connections')::int - coalesce(current_setting('reserved_connections', true), '0')::int),
        (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user AND NOT rolsuper))";
    let limit = value(connection, sql).await?.unwrap_or_default();
    limit.parse().map_err(|_| sqlx::Error::Protocol(format!("`{limit}` is no number of connections")))
}

/// A query for others' sessions on the database of this name, an expression: the columns that [`session`] reads. The server's own workers, which
/// come and go and are in nobody's way, have no user. What kind of process it is does not tell, for that is hidden, along with what it does, from
/// one who is not a member of `pg_read_all_stats`.
/// See <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW>.
///
/// Not of the view `pg_stat_activity`: to a new connection, the catalogs that it joins cost more than all of the answer.
pub(super) fn sessions_on(database: &str) -> String {
    format!(
        "SELECT a.pid::text, {database}::text, pg_get_userbyid(a.usesysid)::text,
            coalesce(nullif(a.application_name, ''), a.client_addr::text, 'local'), a.state,
            nullif(nullif(a.query, ''), '<insufficient privilege>'),
            extract(epoch FROM clock_timestamp() - coalesce(a.state_change, a.backend_start))::text
        FROM pg_stat_get_activity(NULL) a
        WHERE a.datid = {} AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL",
        oid(database),
    )
}

/// A query for the number of the database of this name, an expression.
pub(super) fn oid(database: &str) -> String {
    format!("(SELECT oid FROM pg_database WHERE datname = {database})")
}

pub(super) async fn sessions(
    connection: &mut Connection,
    database: &str,
    known: &[u64],
) -> Result<Vec<ServerSession>, sqlx::Error> {
    let sql = format!(
        "{} AND coalesce(a.backend_type, 'client backend') = 'client backend' AND a.application_name <> {}
        ORDER BY a.backend_start",
        sessions_on("$1::text"),
        literal(APPLICATION),
    );
    let sessions = prepared(connection, &sql, &[database]).await?.into_iter().map(session);
    Ok(sessions.filter(|session| !known.contains(&session.id)).collect())
}

/// A session from a row of [`sessions_on`].
pub(super) fn session(row: Vec<Option<String>>) -> ServerSession {
    let mut values = row.into_iter();
    let mut next = || values.next().flatten();
    ServerSession {
        id: next().and_then(|pid| pid.parse().ok()).unwrap_or_default(),
        database: next(),
        user: next().unwrap_or_else(|| "unknown".to_owned()),
        client: next(),
        state: next(),
        statement: next(),
        since: next()
            .and_then(|seconds| seconds.parse().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or_default(),
    }
}
