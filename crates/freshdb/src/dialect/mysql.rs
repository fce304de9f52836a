//! MySQL and MariaDB, which speak one protocol.

use std::time::Duration;

use futures_util::future::BoxFuture;
#[cfg(feature = "test")]
use sqlx::mysql::MySqlSslMode;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow};
use sqlx::{AssertSqlSafe, MySql, Row};
use sqlx_core::transaction::begin_ansi_transaction_sql;

use super::{Activity, Backend, Birth, ConnectOptions, Lifetime, bare_host, host_in_url, pass_on, with_socket};
use crate::conduct::{Signs, Undone};
use crate::sql::Syntax;
use crate::verdict::Verdict;

/// A session may have set that a ROLLBACK begins another transaction, or ends the session: these words are stronger than
/// `completion_type`.
const ROLLBACK: &str = "ROLLBACK AND NO CHAIN NO RELEASE";

/// The savepoint that is gone with its transaction. Nobody else calls one so.
const MARK: &str = "freshdb_transaction_mark_5e1c";

impl Backend for MySql {
    const TITLE: &str = "MySQL's or MariaDB's";

    const SCHEMES: &[&str] = &["mysql", "mariadb"];

    const SYNTAX: Syntax = Syntax::MySql;

    /// See [`is_disturbed`](Backend::is_disturbed).
    const MAY_BE_SILENT: bool = true;

    /// The driver knows MariaDB by MySQL's name only.
    fn options(url: &str) -> Result<ConnectOptions<Self>, sqlx::Error> {
        let options = match url.strip_prefix("mariadb:") {
            Some(rest) => format!("mysql:{rest}").parse(),
            None => url.parse(),
        };
        Ok(Self::adapt(options?).0)
    }

    fn adapt(options: MySqlConnectOptions) -> (MySqlConnectOptions, Lifetime) {
        let host = bare_host(options.get_host()).to_owned();
        (options.host(&host), Lifetime::Own)
    }

    fn target(options: &MySqlConnectOptions) -> String {
        let (user, host, port) = (options.get_username(), host_in_url(options.get_host()), options.get_port());
        let database = options.get_database().unwrap_or_default();
        with_socket(format!("mysql://{user}@{host}:{port}/{database}"), "socket", options.get_socket())
    }

    /// With TLS, sqlx takes 40 ms longer to connect to MySQL.
    #[cfg(feature = "test")]
    fn plain(options: &MySqlConnectOptions) -> Option<MySqlConnectOptions> {
        let leaves_it_open = matches!(options.get_ssl_mode(), MySqlSslMode::Preferred);
        leaves_it_open.then(|| options.clone().ssl_mode(MySqlSslMode::Disabled))
    }

    /// What is bounded is the time that a statement may wait for a lock, in seconds: of a row, and of the table, whose
    /// default is a year on MySQL and a day on MariaDB. A limit to the whole statement's time exists for reads alone, under
    /// names and in units that differ:
    /// <https://dev.mysql.com/doc/refman/9.7/en/server-system-variables.html#sysvar_lock_wait_timeout>.
    fn bound_statements(limit: Duration) -> String {
        let seconds = limit.as_secs().max(1);
        format!("SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}")
    }

    fn settle<'c>(connection: &'c mut MySqlConnection, settings: &'c str) -> BoxFuture<'c, Result<Birth, sqlx::Error>> {
        Box::pin(async move {
            let separator = if settings.is_empty() { "" } else { "\n; " };
            // A server may be set up so that a statement, or a COMMIT, leaves a transaction open.
            let sql = format!(
                "SET SESSION autocommit = 1, completion_type = 'NO_CHAIN'; {settings}{separator}\
                 SELECT CONNECTION_ID(), @@innodb_rollback_on_timeout"
            );
            let rows = simple(connection, sql).await?;
            let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
            let rolls_back_on_timeout = row.try_get_unchecked::<i64, _>(1)? != 0;
            let signs = Signs { rolls_back_on_timeout, ..Signs::default() };
            Ok(Birth { id: Some(row.try_get(0)?), interrupt: None, signs })
        })
    }

    fn server(connection: &mut MySqlConnection) -> BoxFuture<'_, Result<String, sqlx::Error>> {
        Box::pin(async move {
            // MariaDB says `10.11.19-MariaDB-deb12`, MySQL `9.7.4`.
            let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(connection).await?;
            let number = version.split('-').next().unwrap_or(&version);
            Ok(if version.contains("MariaDB") { format!("MariaDB {number}") } else { format!("MySQL {number}") })
        })
    }

    /// Neither server tells whether a transaction is open without being asked in its own dialect, and both take a ROLLBACK
    /// that has nothing to do without a word. Locks on tables and by name outlive a transaction, and so does the last number that was counted up
    /// to. A session may have set `completion_type`; for the next user it is again what [`settle`](Backend::settle) has made it.
    fn prove(connection: &mut MySqlConnection, nonce: i64) -> BoxFuture<'_, Result<Option<i64>, sqlx::Error>> {
        Box::pin(async move {
            let sql = format!(
                "{ROLLBACK}; UNLOCK TABLES; SET autocommit = 1, completion_type = 'NO_CHAIN'; \
                 SELECT CAST({nonce} AS SIGNED), RELEASE_ALL_LOCKS(), LAST_INSERT_ID(0)"
            );
            let rows = simple(connection, sql).await?;
            rows.last().map(|row| row.try_get(0)).transpose()
        })
    }

    /// The isolation level can be set just before: for the next transaction alone.
    #[cfg(feature = "sea-orm")]
    fn begin_with(begin: &super::Begin) -> (Option<sqlx::SqlStr>, bool) {
        let characteristics = begin.characteristics();
        if characteristics.is_empty() {
            return (None, true);
        }
        let statement = AssertSqlSafe(format!("SET TRANSACTION {characteristics}; BEGIN"));
        (Some(sqlx::SqlSafeStr::into_sql_str(statement)), true)
    }

    /// KILL and not KILL QUERY: a statement that has not begun yet when the word arrives is ended too, and so is the
    /// transaction: <https://dev.mysql.com/doc/refman/9.7/en/kill.html>. 1094: there is no such session any more.
    fn cancel(connection: &mut MySqlConnection, id: u64) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move {
            match simple(connection, format!("KILL {id}")).await {
                Err(error) if number(&error) != Some(1094) => Err(error),
                _ => Ok(()),
            }
        })
    }

    /// KILL closes the socket under a thread that may be writing to it, and what it writes can go to the next connection that gets
    /// the number (MySQL 9.7). A session whose client is gone ends itself, once its statement has been ended. One that had
    /// not begun yet is ended when this is asked again.
    fn interrupt(connection: &mut MySqlConnection, id: u64) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            match simple(connection, format!("KILL QUERY {id}")).await {
                Err(error) if number(&error) == Some(1094) => Ok(true),
                answer => answer.map(|_| false),
            }
        })
    }

    /// Not out of `information_schema.processlist`, which MySQL cannot read while anybody executes a statement with a character of four bytes.
    /// What an idle session executed last is in `performance_schema`, which MariaDB has and leaves empty, and not everybody may read.
    fn activity<'c>(
        connection: &'c mut MySqlConnection,
        ids: &'c [u64],
    ) -> BoxFuture<'c, Result<Vec<Activity>, sqlx::Error>> {
        Box::pin(async move {
            // Id, User, Host, db, Command, Time, State, Info.
            let rows = simple(connection, "SHOW FULL PROCESSLIST".into()).await?;
            let mut activities: Vec<Activity> = rows.iter().filter_map(activity).collect();
            activities.retain(|activity| ids.contains(&activity.id));
            if activities.is_empty() {
                return Ok(activities);
            }

            let ids: Vec<String> = activities.iter().map(|activity| activity.id.to_string()).collect();
            let sql = format!(
                "SELECT thread.processlist_id, statement.sql_text \
                 FROM performance_schema.threads AS thread \
                 JOIN performance_schema.events_statements_current AS statement \
                   ON statement.thread_id = thread.thread_id \
                 WHERE thread.processlist_id IN ({})",
                ids.join(", ")
            );
            for row in simple(connection, sql).await.unwrap_or_default() {
                let (id, statement) = (text(&row, 0), text(&row, 1));
                let of_it = activities.iter_mut().find(|activity| Some(activity.id.to_string()) == id);
                if let Some(activity) = of_it.filter(|activity| activity.statement.is_none()) {
                    activity.statement = statement;
                }
            }
            Ok(activities)
        })
    }

    /// 1213: a deadlock was found and this transaction was chosen to end it. 1020: MariaDB's snapshot isolation found a
    /// newer row. 3101: another member of MySQL's replication group had written the same rows. 1205: it waited too long for a lock. 3024 and MariaDB's 1969: it ran too long. 1040: too many
    /// connections. 1053: shutdown in progress. 1158 to 1161: the server could not read from the client or write to it. 1927
    /// (MariaDB) and 4031: the server has closed this connection. 1290, where it names `--read-only` or `--super-read-only` and none of
    /// the other options that forbid something, and 1836: the server takes no writes. 1792: the transaction does not, as may be all
    /// transactions of a server that failed over.
    fn judge(error: &dyn sqlx::error::DatabaseError) -> Verdict {
        match error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number) {
            Some(1213 | 1020 | 3101) => Verdict::Conflict,
            Some(1205 | 3024 | 1969) => Verdict::Overtime,
            Some(1040 | 1053 | 1158..=1161 | 1927 | 4031) => Verdict::Lost,
            Some(1290) if error.message().contains("read-only") || error.message().contains("read_only") => {
                Verdict::ReadOnly
            }
            Some(1792 | 1836) => Verdict::ReadOnly,
            _ => Verdict::Refused,
        }
    }

    /// MySQL 9.7 now and then tells a session that is killed its end over the socket of one that is just being greeted, and closes
    /// that: seen some times in a hundred thousand connections, with other clients too. The new one gets bytes of another one's TLS,
    /// an end, nothing at all, or 1158 (reading from the client failed), which while TLS is agreed on is no message of TLS.
    fn is_disturbed(error: &sqlx::Error) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, InvalidData, UnexpectedEof};

        match error {
            sqlx::Error::Io(error) => {
                matches!(error.kind(), InvalidData | UnexpectedEof | ConnectionReset | BrokenPipe)
            }
            sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
            error => number(error) == Some(1158),
        }
    }

    /// 1040: too many connections. 1203 and 1226: too many of this user's.
    fn is_full(error: &sqlx::Error) -> bool {
        matches!(number(error), Some(1040 | 1203 | 1226))
    }

    /// MySQL's `wait_timeout` and `interactive_timeout`: nothing had come for that long. MariaDB closes the connection without a word.
    fn came_too_late(error: &sqlx::Error) -> bool {
        number(error) == Some(4031)
    }

    /// sqlx 0.9 counts the statement before it compares its values with its places, and does not take that back.
    fn confuses(error: &sqlx::Error) -> bool {
        crate::verdict::lacks_values(error)
    }

    /// sqlx 0.9 gives up a result whose columns it does not know, such as one of MySQL's vectors, and takes their definitions for rows: what is
    /// executed next gets what is left of them, or waits for ever.
    fn garbles(error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::Protocol(_))
    }

    /// A deadlock undoes the whole transaction, and so does 1206, the end of the memory for locks; 1205, too long a wait for a
    /// lock, where the server is set up for that. Any other error undoes just its statement:
    /// <https://dev.mysql.com/doc/refman/9.7/en/innodb-error-handling.html>.
    fn undoes(error: &dyn sqlx::error::DatabaseError, signs: &Signs) -> Undone {
        match error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number) {
            Some(1206) => Undone::Gone,
            Some(1205) if signs.rolls_back_on_timeout => Undone::Gone,
            _ if Self::judge(error) == Verdict::Conflict => Undone::Gone,
            _ => Undone::No,
        }
    }

    /// DDL, LOCK TABLES and a COMMIT by text end a transaction, and so does a deadlock, of which nobody hears where a procedure has a
    /// handler for it: <https://dev.mysql.com/doc/refman/9.7/en/implicit-commit.html>. A comment may be the last of a statement of the
    /// user's.
    fn marked(statement: Option<sqlx::SqlStr>) -> Option<sqlx::SqlStr> {
        let begin = statement.unwrap_or_else(|| begin_ansi_transaction_sql(0));
        let begin = begin.as_str().trim_end_matches(|c: char| c.is_ascii_whitespace() || c == ';');
        Some(sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(format!("{begin}\n; SAVEPOINT {MARK}"))))
    }

    /// 1305: there is no such savepoint. The driver ends it by a bare COMMIT or ROLLBACK, which a session may have set to begin another.
    fn is_the_marked_one(connection: &mut MySqlConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            let sql = format!("SET completion_type = 'NO_CHAIN'; RELEASE SAVEPOINT {MARK}");
            match simple(connection, sql).await {
                Err(error) if number(&error) == Some(1305) => Ok(false),
                answer => answer.map(|_| true),
            }
        })
    }

    /// BEGIN would commit what an error has left after all.
    fn replace_transaction(
        connection: &mut MySqlConnection,
        savepoints: usize,
    ) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let begin = (0..=savepoints).map(|depth| begin_ansi_transaction_sql(depth).as_str().to_owned());
            let sql = std::iter::once(format!("{ROLLBACK}; SET completion_type = 'NO_CHAIN'"))
                .chain(begin)
                .collect::<Vec<_>>()
                .join("; ");
            simple(connection, sql).await.map(drop)
        })
    }

    #[cfg(feature = "test")]
    fn identity(connection: &mut MySqlConnection) -> BoxFuture<'_, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            let rows = simple(connection, "SELECT CONNECTION_ID()".into()).await?;
            rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
        })
    }

    /// Outside of a transaction a savepoint ends with its own statement, and that needs no right (1305: there is none). 1399: a
    /// transaction of XA's is open, and in a state that takes none. With `autocommit = 0` one is always open, though nothing was
    /// executed in it yet: whatever the next user writes would be rolled back.
    #[cfg(feature = "test")]
    fn is_in_transaction(connection: &mut MySqlConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            match simple(connection, format!("SAVEPOINT {MARK}; RELEASE SAVEPOINT {MARK}")).await {
                Err(error) if number(&error) == Some(1305) => Ok(false),
                Err(error) if number(&error) == Some(1399) => Ok(true),
                answer => answer.map(|_| true),
            }
        })
    }

    /// Beyond its rows, a statement leaves the number that it counted up to, which [`prove`](Backend::prove) takes back before the session is used
    /// again. Only what the database has of code could leave more, and MariaDB's sequences, whose last number a session has for as long as it lives.
    #[cfg(feature = "test")]
    fn renew(connection: &mut MySqlConnection, again: bool) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        const CODE: &str = "SELECT EXISTS (SELECT 1 FROM information_schema.routines WHERE routine_schema = DATABASE()) \
             OR EXISTS (SELECT 1 FROM information_schema.triggers WHERE trigger_schema = DATABASE()) \
             OR EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'SEQUENCE')";

        Box::pin(async move {
            if again {
                return Ok(true);
            }
            let rows = simple(connection, CODE.into()).await?;
            let code: i64 = rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get_unchecked(0)?;
            Ok(code == 0)
        })
    }

    pass_on!();
}

/// By the text protocol, which takes several statements at once and prepares none.
async fn simple(connection: &mut MySqlConnection, sql: String) -> Result<Vec<MySqlRow>, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await
}

/// Of a row of `SHOW FULL PROCESSLIST`.
fn activity(row: &MySqlRow) -> Option<Activity> {
    let command = text(row, 4)?;
    let state = if command == "Sleep" { "idle".into() } else { command.to_lowercase() };
    Some(Activity {
        id: text(row, 0)?.parse().ok()?,
        state: Some(state),
        statement: text(row, 7).filter(|info| !info.is_empty()),
    })
}

/// A text of the catalog's, whose type is text here and bytes there.
fn text(row: &MySqlRow, column: usize) -> Option<String> {
    let bytes: Option<Vec<u8>> = row.try_get_unchecked(column).ok()?;
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

#[cfg(all(test, feature = "test"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_url_leaves_open_is_plain() {
        let plain = |url: &str| sqlx::MySql::plain(&sqlx::MySql::options(url).expect("options"));
        let options = plain("mariadb://root@127.0.0.1:3306/x").expect("options");
        assert!(matches!(options.get_ssl_mode(), MySqlSslMode::Disabled));
        assert!(plain("mysql://root@127.0.0.1/x?ssl-mode=required").is_none());
    }
}
