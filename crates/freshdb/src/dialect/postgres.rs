//! PostgreSQL.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgSeverity};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Postgres, Row};
use sqlx_core::Url;
use sqlx_core::url::form_urlencoded;

use super::{Activity, Backend, Birth, Lifetime, bare_host, host_in_url, pass_on, with_socket};
use crate::conduct::{Signs, Undone};
use crate::verdict::Verdict;

/// The parameters of a URL that the driver knows:
/// <https://docs.rs/sqlx/0.9.0/sqlx/postgres/struct.PgConnectOptions.html#parameters>.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

fn is_known(pair: &str) -> bool {
    name_of(pair).is_none_or(|name| PARAMETERS.contains(&&*name) || name.starts_with("options["))
}

/// The name of a URL's parameter, of which there is none in an empty pair.
fn name_of(pair: &str) -> Option<String> {
    form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned())
}

impl Backend for Postgres {
    const TITLE: &str = "PostgreSQL's";

    /// The driver passes over what it does not know, and logs it with its value: of `sslpassword`, which libpq knows, a secret.
    fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
        let mut url: Url = url.parse().map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
        if let Some(parameters) = url.query() {
            let (known, unknown): (Vec<&str>, Vec<&str>) = parameters.split('&').partition(|pair| is_known(pair));
            let known = known.join("&");
            // Without a value it may be the rest of one in which `&` should have been `%26`.
            for name in unknown.into_iter().filter(|pair| pair.contains('=')).filter_map(name_of) {
                tracing::warn!(name, "the driver does not know a parameter of the database URL, and it is passed over");
            }
            url.set_query(Some(&known).filter(|known| !known.is_empty()).map(String::as_str));
        }
        Ok(Self::adapt(PgConnectOptions::from_url(&url)?).0)
    }

    fn adapt(options: PgConnectOptions) -> (PgConnectOptions, Lifetime) {
        let host = bare_host(options.get_host()).to_owned();
        (options.host(&host), Lifetime::Own)
    }

    fn target(options: &PgConnectOptions) -> String {
        let (user, host, port) = (options.get_username(), host_in_url(options.get_host()), options.get_port());
        let database = options.get_database().unwrap_or_default();
        with_socket(format!("postgres://{user}@{host}:{port}/{database}"), "host", options.get_socket())
    }

    const SCHEMES: &[&str] = &["postgres", "postgresql"];

    /// By `pg_terminate_backend`.
    const ENDS_WHILE_OPEN: bool = true;

    /// A function may write, and constraints that are deferred are looked at in the end. The driver reads to the end as well:
    /// <https://www.postgresql.org/docs/15/sql-set-constraints.html>.
    const SELECT_MAY_FAIL_LATE: bool = true;

    /// A transaction of which its process has lost track does not hold its locks for ever either. The settings are numbers of 32
    /// bits, 24 days at the most: <https://www.postgresql.org/docs/15/runtime-config-client.html#GUC-STATEMENT-TIMEOUT>.
    fn bound_statements(limit: Duration) -> String {
        let milliseconds = limit.as_millis().clamp(1, i32::MAX as u128);
        format!("SET statement_timeout = {milliseconds}; SET idle_in_transaction_session_timeout = {milliseconds}")
    }

    fn settle<'c>(connection: &'c mut PgConnection, settings: &'c str) -> BoxFuture<'c, Result<Birth, sqlx::Error>> {
        Box::pin(async move {
            let separator = if settings.is_empty() { "" } else { "\n; " };
            let rows = simple(connection, format!("{settings}{separator}SELECT pg_backend_pid()")).await?;
            let id: i32 = rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
            Ok(Birth { id: u64::try_from(id).ok(), interrupt: None, signs: Signs::default() })
        })
    }

    fn server(connection: &mut PgConnection) -> BoxFuture<'_, Result<String, sqlx::Error>> {
        Box::pin(async move {
            let sql = "SELECT current_setting('server_version')";
            let version: String = sqlx::query_scalar(sql).fetch_one(connection).await?;
            // Debian's builds add their package's version in parentheses.
            Ok(format!("PostgreSQL {}", version.split(' ').next().unwrap_or(&version)))
        })
    }

    /// `now()` is the time at which the transaction began, and differs from the statement's in one that is open already;
    /// by the simple protocol alone. Outside of one a ROLLBACK would leave a warning in the server's log each time. In a
    /// transaction that an error has aborted, every statement but ROLLBACK fails, with 25P02.
    ///
    /// DISCARD ALL and DEALLOCATE take from the server what the driver believes to be prepared there. The driver takes a notification
    /// for the answer to whatever is executed when it comes.
    fn prove(connection: &mut PgConnection, nonce: i64) -> BoxFuture<'_, Result<Option<i64>, sqlx::Error>> {
        Box::pin(async move {
            let answer = format!(
                "UNLISTEN *; SELECT {nonce}::bigint, now() <> statement_timestamp(), pg_advisory_unlock_all(), \
                 (SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'sqlx\\_s\\_%')"
            );
            let proof = |rows: Vec<PgRow>| -> Result<Option<(bool, i64)>, sqlx::Error> {
                let Some(row) = rows.last() else { return Ok(None) };
                let is_it = row.try_get::<i64, _>(0)? == nonce;
                Ok(if is_it { Some((row.try_get(1)?, row.try_get(3)?)) } else { None })
            };
            let mut proven = match simple(connection, answer.clone()).await {
                Ok(rows) => proof(rows)?,
                Err(error) if sqlstate(&error).as_deref() == Some("25P02") => Some((true, 0)),
                Err(error) => return Err(error),
            };
            if let Some((true, _)) = proven {
                proven = proof(simple(connection, format!("ROLLBACK; {answer}")).await?)?;
            }
            let Some((_, prepared)) = proven else { return Ok(None) };
            if usize::try_from(prepared) != Ok(connection.cached_statements_size()) {
                connection.clear_cached_statements().await?;
            }
            Ok(Some(nonce))
        })
    }

    #[cfg(feature = "sea-orm")]
    fn begin_with(begin: &super::Begin) -> (Option<sqlx::SqlStr>, bool) {
        let statement = AssertSqlSafe(format!("BEGIN {}", begin.characteristics()));
        (Some(sqlx::SqlSafeStr::into_sql_str(statement)), true)
    }

    /// Terminates and does not only cancel: a statement that has not begun yet when the word arrives is ended too, and so
    /// is the transaction: <https://www.postgresql.org/docs/15/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL>.
    fn cancel(connection: &mut PgConnection, id: u64) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move { simple(connection, format!("SELECT pg_terminate_backend({id})")).await.map(|_| ()) })
    }

    fn activity<'c>(
        connection: &'c mut PgConnection,
        ids: &'c [u64],
    ) -> BoxFuture<'c, Result<Vec<Activity>, sqlx::Error>> {
        Box::pin(async move {
            let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
            let sql =
                format!("SELECT pid, state, NULLIF(query, '') FROM pg_stat_activity WHERE pid IN ({})", ids.join(", "));
            let rows = simple(connection, sql).await?;
            rows.iter()
                .map(|row| {
                    let id: i32 = row.try_get(0)?;
                    Ok(Activity {
                        id: u64::try_from(id).unwrap_or_default(),
                        state: row.try_get(1)?,
                        statement: row.try_get(2)?,
                    })
                })
                .collect()
        })
    }

    /// Serialization failure and deadlock:
    /// <https://www.postgresql.org/docs/15/mvcc-serialization-failure-handling.html>. Cancelled by `statement_timeout`, and
    /// a lock that was not to be had in time. Class 57P: the server is going down or coming up. Class 08: the connection
    /// broke. 53300: too many connections. A function may raise each of these, such as one that asks another server; the connection is
    /// gone if it is said to be: <https://www.postgresql.org/docs/15/protocol-error-fields.html>. 25P03: nothing happened in the
    /// transaction for longer than `idle_in_transaction_session_timeout`, and the server has closed the connection. 25P04: so it has
    /// because the whole of it took longer than `transaction_timeout`, which it would take again (PostgreSQL 17). 25006: the server is a
    /// standby, or `default_transaction_read_only` is set, or the transaction was begun so.
    fn judge(error: &dyn sqlx::error::DatabaseError) -> Verdict {
        match error.code().as_deref() {
            Some("40001" | "40P01") => Verdict::Conflict,
            Some("57014" | "55P03" | "25P04") => Verdict::Overtime,
            Some("25006") => Verdict::ReadOnly,
            Some("53300" | "25P03") if is_the_end(error) => Verdict::Lost,
            Some(state) if (state.starts_with("57P") || state.starts_with("08")) && is_the_end(error) => Verdict::Lost,
            _ => Verdict::Refused,
        }
    }

    /// `too_many_connections`: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
    fn is_full(error: &sqlx::Error) -> bool {
        sqlstate(error).as_deref() == Some("53300")
    }

    /// `idle_in_transaction_session_timeout`: nothing had come in the transaction for that long.
    fn came_too_late(error: &sqlx::Error) -> bool {
        sqlstate(error).as_deref() == Some("25P03")
    }

    /// What the driver has prepared is not what the table's columns are any more: `cached plan must not change result type`. The driver
    /// prepares it once. The code alone says of many things that the server cannot do them.
    fn spoils(error: &dyn sqlx::error::DatabaseError) -> bool {
        let error = error.try_downcast_ref::<PgDatabaseError>();
        error.is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
    }

    /// Any error aborts the transaction, and COMMIT is then answered with ROLLBACK, which no driver reports:
    /// <https://www.postgresql.org/docs/15/sql-commit.html>.
    fn undoes(_error: &dyn sqlx::error::DatabaseError, _signs: &Signs) -> Undone {
        Undone::Aborted
    }

    /// None is ever gone by itself: the driver has left to the next statement to roll back what was around a savepoint that it could not set.
    fn replace_transaction(
        connection: &mut PgConnection,
        _savepoints: usize,
    ) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(sqlx::Connection::ping(connection))
    }

    #[cfg(feature = "test")]
    fn identity(connection: &mut PgConnection) -> BoxFuture<'_, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            let rows = simple(connection, "SELECT pg_backend_pid()".into()).await?;
            let id: i32 = rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
            Ok(u64::from(id.unsigned_abs()))
        })
    }

    /// As in `prove`.
    #[cfg(feature = "test")]
    fn is_in_transaction(connection: &mut PgConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            match simple(connection, "SELECT now() <> statement_timestamp()".into()).await {
                Ok(rows) => rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0),
                Err(error) if sqlstate(&error).as_deref() == Some("25P02") => Ok(true),
                Err(error) => Err(error),
            }
        })
    }

    /// Beyond its rows, a statement leaves the number that it counted up to. Only what the database has of code could leave more:
    /// functions, and expressions of views, defaults, checks, policies and triggers, in whose trees a function has its number. The
    /// last call has the server count what was written before it says that it is idle.
    #[cfg(feature = "test")]
    fn renew(connection: &mut PgConnection, again: bool) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        const FORGET: &str = "DISCARD SEQUENCES; SELECT pg_stat_force_next_flush()";
        // From this number on, functions are not the server's own. Those in C are extensions'.
        const CODE: &str = "SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang \
             WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')) \
             OR EXISTS (SELECT FROM (SELECT ev_action::text FROM pg_rewrite WHERE ev_class >= 16384 \
                 UNION ALL SELECT adbin::text FROM pg_attrdef UNION ALL SELECT conbin::text FROM pg_constraint WHERE oid >= 16384 \
                 UNION ALL SELECT polqual::text FROM pg_policy UNION ALL SELECT polwithcheck::text FROM pg_policy \
                 UNION ALL SELECT tgqual::text FROM pg_trigger) AS code (tree) \
               WHERE tree ~ (SELECT ':funcid (' || string_agg(oid::text, '|') || ') ' FROM pg_proc \
                 WHERE pronamespace = 'pg_catalog'::regnamespace \
                   AND (proname IN ('set_config', 'setseed') OR proname ~ '^pg_advisory_' OR proname ~ '^pg_try_advisory_'))); ";

        Box::pin(async move {
            // The driver finds what it has prepared by the text alone, whatever types are bound to that the next time.
            connection.clear_cached_statements().await?;
            if again {
                simple(connection, FORGET.into()).await?;
                return Ok(true);
            }
            let rows = match simple(connection, format!("{CODE}{FORGET}")).await {
                // PostgreSQL 14 and earlier do not know that call.
                Err(error) if sqlstate(&error).as_deref() == Some("42883") => return Ok(false),
                answer => answer?,
            };
            let code: bool = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
            Ok(!code)
        })
    }

    pass_on!();
}

/// By the simple protocol, which takes several statements at once and prepares none.
async fn simple(connection: &mut PgConnection, sql: String) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await
}

/// Whether the server ends the session with this error.
fn is_the_end(error: &dyn sqlx::error::DatabaseError) -> bool {
    let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sqlx::Connection as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What a server's words mean that greets with them: later ones than those that the tests have know more of them.
    async fn check(severity: &str, code: &str, expected: Verdict) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut client, _) = listener.accept().await.expect("a client");
            client.read_buf(&mut Vec::with_capacity(1 << 10)).await.expect("its first message");
            let fields = format!("S{severity}\0V{severity}\0C{code}\0Mwords\0L1188\0\0");
            let length = u32::try_from(fields.len() + 4).expect("a short message").to_be_bytes();
            client.write_all(&[b"E", &length[..], fields.as_bytes()].concat()).await.expect("it is taken");
        };
        let url = format!("postgres://app@127.0.0.1:{port}/tags?sslmode=disable");
        let (connected, ()) = tokio::join!(PgConnection::connect(&url), server);
        let error = connected.expect_err("it was refused");
        assert_eq!(Verdict::of(&error), expected, "{severity} {code}: {error}");
        assert_eq!(crate::words(&error), "error returned from database: words");
    }

    #[tokio::test]
    async fn what_the_server_says_is_understood() {
        check("FATAL", "25P03", Verdict::Lost).await;
        check("FATAL", "25P04", Verdict::Overtime).await;
        check("FATAL", "57P05", Verdict::Lost).await;
        check("ERROR", "57P05", Verdict::Refused).await;
        check("ERROR", "40001", Verdict::Conflict).await;
        check("ERROR", "57014", Verdict::Overtime).await;
        check("FATAL", "28P01", Verdict::Refused).await;
    }
}
