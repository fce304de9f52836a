//! Who is connected, and ending that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::MySqlConnection;

use super::super::{Grace, REGISTRY, ServerSession};
use super::connection::{TextRow, connect, execute, number, results, rows};
use super::fault::{carried, carry};
use super::marks::Features;
use super::server::engine_of;
use super::whereabouts::{Votes, may_be_elsewhere};
use crate::{DatabaseUrl, Error, ErrorKind, Kind};

const NO_SUCH_THREAD: u16 = 1094;
const KILL_DENIED: u16 = 1095;

/// For how long a session that was killed may take to go: it rolls back first.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// For how long sessions are listed, at the most, to find out where one is that looks through `information_schema`.
const LONGEST_FOLLOWED: Duration = Duration::from_secs(2);

/// Every session on a database but those that are known and those that compare it.
pub(super) async fn sessions(
    connection: &mut MySqlConnection,
    database: &str,
    known: &[u64],
) -> Result<Vec<ServerSession>, sqlx::Error> {
    let rows_of_all = rows(connection, "SHOW FULL PROCESSLIST").await?;
    let mut sessions: Vec<ServerSession> = rows_of_all.into_iter().filter_map(session).collect();
    sessions.retain(|session| on_database(database)(session) && !known.contains(&session.id));
    // As after nearly every test. Whoever is there has more asked about him.
    if sessions.is_empty() {
        return Ok(sessions);
    }
    let unlisted = unlisted(connection, &sessions).await?;
    sessions.retain(|session| !unlisted.contains(&session.id));
    if sessions.iter().any(|session| session.state.as_deref() == Some("Sleep")) {
        // The list alone does not tell an idle session from one that holds locks. Without the privilege PROCESS it has to do.
        let transactions = rows(connection, "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx").await;
        let transactions = match transactions {
            Ok(transactions) => transactions,
            Err(error) if number(&error).is_some() => Vec::new(),
            Err(error) => return Err(error),
        };
        for session in sessions.iter_mut().filter(|session| session.state.as_deref() == Some("Sleep")) {
            let id = Some(session.id.to_string());
            let open = transactions.iter().any(|row| row.first() == Some(&id));
            session.state = Some(if open { "idle in transaction" } else { "idle" }.to_owned());
        }
    }
    Ok(sessions)
}

/// Everybody who is connected.
pub(super) struct Connected {
    pub(super) sessions: Vec<ServerSession>,
    /// Whether there is a prepared transaction on the server, asked after that.
    pub(super) any_prepared: bool,
    /// Those whose client has gone, and that MySQL lists no more though their threads are still there.
    pub(super) leaving: Vec<u64>,
}

/// For how long those who are leaving are waited for. They need microseconds, of a processor.
const LONGEST_LEAVING: Duration = Duration::from_millis(100);

/// Asks who is connected, and who is leaving, where the server says that.
pub(super) async fn connected(connection: &mut MySqlConnection, features: Features) -> Result<Connected, sqlx::Error> {
    let questions = features.threads().into_iter().chain(["SHOW FULL PROCESSLIST", "XA RECOVER"]);
    let mut lists = results(connection, &questions.collect::<Vec<_>>().join(";")).await?.into_iter();
    // Before those that are listed: whoever comes in between is no one who leaves.
    let threads = if features.threads().is_some() { lists.next().unwrap_or_default() } else { Vec::new() };
    let listed = lists.next().unwrap_or_default();
    let id = |row: &TextRow| row.first()?.as_ref()?.parse::<u64>().ok();
    let ids: Vec<u64> = listed.iter().filter_map(id).collect();
    Ok(Connected {
        leaving: threads.iter().filter_map(id).filter(|id| !ids.contains(id)).collect(),
        sessions: listed.into_iter().filter_map(session).collect(),
        any_prepared: lists.next().is_some_and(|prepared| !prepared.is_empty()),
    })
}

impl Connected {
    /// Returns once those have left who are leaving, and says whether they have. Until then MySQL may count twice what they have executed, which
    /// would hide what somebody else alters later.
    pub(super) async fn have_left(
        self,
        connection: &mut MySqlConnection,
        features: Features,
    ) -> Result<bool, sqlx::Error> {
        let started = Instant::now();
        let mut leaving = self.leaving;
        while !leaving.is_empty() && started.elapsed() < LONGEST_LEAVING {
            let now = connected(connection, features).await?.leaving;
            leaving.retain(|id| now.contains(id));
        }
        Ok(leaving.is_empty())
    }
}

/// Holds a lock that is called after the session: of what a client says of itself, `SHOW PROCESSLIST` shows nothing.
/// <https://dev.mysql.com/doc/refman/en/locking-functions.html>
const UNLISTED: &str = "freshdb_unlisted_";

/// A session that is none of those that are listed, nor of those that were ended.
pub(super) async fn connect_unlisted(server: &DatabaseUrl) -> Result<MySqlConnection, sqlx::Error> {
    let mut connection = connect(server, REGISTRY).await?;
    execute(&mut connection, &format!("DO GET_LOCK(CONCAT('{UNLISTED}', CONNECTION_ID()), 0)")).await?;
    Ok(connection)
}

/// Which of them are. One that is on no database compares none.
async fn unlisted(connection: &mut MySqlConnection, sessions: &[ServerSession]) -> Result<Vec<u64>, sqlx::Error> {
    let candidates = sessions.iter().filter(|session| session.database.is_some());
    let asked: Vec<String> =
        candidates.map(|session| format!("IS_USED_LOCK('{UNLISTED}{0}') = {0}, {0}", session.id)).collect();
    let mut unlisted = Vec::new();
    // A row has 4096 columns at the most.
    for some in asked.chunks(1000) {
        let row =
            rows(connection, &format!("SELECT {}", some.join(", "))).await?.into_iter().next().unwrap_or_default();
        let held = row.chunks(2).filter(|pair| pair[0].as_deref() == Some("1"));
        unlisted.extend(held.filter_map(|pair| pair[1].as_ref()?.parse::<u64>().ok()));
    }
    Ok(unlisted)
}

async fn listed(connection: &mut MySqlConnection) -> Result<Vec<ServerSession>, sqlx::Error> {
    let mut lists = results(connection, "SELECT CONNECTION_ID(); SHOW FULL PROCESSLIST").await?.into_iter();
    let own = lists.next().into_iter().flatten().flatten().flatten().next();
    Ok(lists
        .next()
        .unwrap_or_default()
        .into_iter()
        .filter(|row| row.first().cloned().flatten() != own)
        .filter_map(session)
        .collect())
}

/// Out of a row of `SHOW FULL PROCESSLIST`: Id, User, Host, db, Command, Time, State, Info.
pub(super) fn session(row: TextRow) -> Option<ServerSession> {
    let mut values = row.into_iter();
    let mut next = || values.next().flatten();
    let id = next()?.parse().ok()?;
    let user = next()?;
    let client = next();
    let database = next().filter(|database| !database.is_empty());
    let command = next();
    let since = next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    let (_, statement) = (next(), next());
    // Threads of the server's own.
    let daemon =
        matches!(command.as_deref(), Some("Daemon" | "Binlog Dump" | "Binlog Dump GTID" | "Slave_IO" | "Slave_SQL"));
    if daemon || user == "system user" || user == "event_scheduler" {
        return None;
    }
    Some(ServerSession { id, database, user, client, state: command, statement, since: Duration::from_secs(since) })
}

/// Those on one database.
pub(super) fn on_database(name: &str) -> impl Fn(&ServerSession) -> bool + '_ {
    move |session| session.database.as_deref() == Some(name)
}

/// The sessions that `chosen` names: those of which the server does not say where they are, by where they are most often.
async fn chosen_of_listed(
    connection: &mut MySqlConnection,
    chosen: &(dyn Fn(&ServerSession) -> bool + Sync),
) -> Result<Vec<ServerSession>, sqlx::Error> {
    let mut votes: HashMap<u64, Votes> = HashMap::new();
    let started = Instant::now();
    loop {
        let mut sessions = listed(connection).await?;
        let now = Instant::now();
        votes.retain(|id, _| sessions.iter().any(|session| session.id == *id));
        for session in &sessions {
            if may_be_elsewhere(session) || votes.contains_key(&session.id) {
                votes.entry(session.id).or_insert_with(|| Votes::new(now)).add(session, chosen(session));
            }
        }
        if started.elapsed() > LONGEST_FOLLOWED || votes.values().all(|votes| votes.are_enough(now)) {
            sessions.retain(|session| votes.get(&session.id).map_or_else(|| chosen(session), Votes::is_chosen));
            return Ok(sessions);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether its client has said goodbye, or somebody has killed it: nobody has left it open. Both are `Killed` to MariaDB.
fn is_ending(session: &ServerSession) -> bool {
    matches!(session.state.as_deref(), Some("Killed" | "Quit"))
}

/// Kills the sessions that `chosen` names, and returns once none of them is left. With a `grace` they have a moment to go by themselves, or to do
/// what `chosen` names them no longer for.
pub(super) async fn end_sessions(
    connection: &mut MySqlConnection,
    chosen: &(dyn Fn(&ServerSession) -> bool + Sync),
    mut grace: Option<Grace<'_>>,
) -> Result<Vec<ServerSession>, sqlx::Error> {
    let mut ended: Vec<ServerSession> = Vec::new();
    let mut known: Vec<u64> = Vec::new();
    let mut own = Vec::new();
    let started = Instant::now();
    loop {
        // However one is called meanwhile that is being ended.
        let is_left = |session: &ServerSession| known.contains(&session.id) || chosen(session);
        let left = chosen_of_listed(connection, &is_left).await?;
        grace.iter_mut().for_each(Grace::looked);
        if left.is_empty() {
            ended.retain(|session| !own.contains(&session.id));
            return Ok(ended);
        }
        own.extend(unlisted(connection, &left).await?);
        for session in left {
            let is_waited_for = grace.as_ref().is_some_and(|grace| !grace.is_over_for(&session));
            if is_waited_for || known.contains(&session.id) {
                continue;
            }
            known.push(session.id);
            match execute(connection, &format!("KILL {}", session.id)).await {
                // It has ended by itself.
                Err(error) if number(&error) == Some(NO_SUCH_THREAD) => {}
                Err(error) if number(&error) == Some(KILL_DENIED) => {
                    return Err(may_not_end(connection, &session, error).await);
                }
                answer => {
                    answer?;
                    ended.extend(Some(session).filter(|session| !is_ending(session)));
                }
            }
        }
        if started.elapsed() > PATIENCE {
            return Err(still_there());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// They roll back what they had written, which cannot be broken off.
pub(super) fn still_there() -> sqlx::Error {
    let fact = format!("sessions that were killed are still there after {} s", PATIENCE.as_secs());
    carry(Error::new(ErrorKind::Database, fact).hint(
        "a session that is killed rolls back first, which takes about as long as its writes did; `SHOW PROCESSLIST` shows it until then",
    ))
}

/// Whether it is that error.
pub(super) fn are_still_there(error: &sqlx::Error) -> bool {
    carried(error).is_some_and(|error| error.kind() == ErrorKind::Database)
}

/// What the servers say of whoever may not end a session does not tell which privilege is missing, and they do not call it the same.
async fn may_not_end(connection: &mut MySqlConnection, session: &ServerSession, error: sqlx::Error) -> sqlx::Error {
    let missing = match missing_privilege(connection).await {
        Ok(missing) => missing,
        Err(error) => return error,
    };
    let fact = format!("session {} of `{}` is not this user's to end", session.id, session.user);
    let grant = format!("GRANT {missing} ON *.* TO <user>");
    carry(Error::new(ErrorKind::Privileges, fact).because(error).hint(grant))
}

async fn missing_privilege(connection: &mut MySqlConnection) -> Result<&'static str, sqlx::Error> {
    if engine_of(connection).await? == Kind::Mariadb {
        return Ok("CONNECTION ADMIN");
    }
    // With what the roles have that are active.
    let granted = rows(connection, "SHOW GRANTS").await?;
    let ends_others = granted.into_iter().flatten().flatten().any(|grant| grant.contains("CONNECTION_ADMIN"));
    // <https://dev.mysql.com/doc/refman/9.7/en/privileges-provided.html#priv_system-user>
    Ok(if ends_others { "SYSTEM_USER" } else { "CONNECTION_ADMIN" })
}
