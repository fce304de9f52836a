//! Who is connected, and ending that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::MySqlConnection;

use super::super::{REGISTRY, STAYING_GRACE, ServerSession};
use super::connection::{OWN, TextRow, execute, number, results, rows};

const NO_SUCH_THREAD: u16 = 1094;

/// For how long a session that was killed may take to go: it rolls back first.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// How often sessions are listed, at the most, to find out where one is that looks through `information_schema`.
const MOST_LOOKS: usize = 50;
/// How many listings that say the same are believed.
const ENOUGH_LOOKS: usize = 10;

/// How statements begin that do so, and what they name.
const BEGINNINGS: [&str; 4] = ["show", "desc", "describe", "explain"];
const SCHEMAS: [&str; 2] = ["information_schema", "sys"];
/// Databases that nobody works on, which sessions are said to be on meanwhile.
const PASSED: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// Every session but the server's own threads, this one, and those that administer, which are on the registry.
pub(super) async fn sessions(connection: &mut MySqlConnection) -> Result<Vec<ServerSession>, sqlx::Error> {
    let mut sessions = listed(connection).await?;
    sessions.retain(|session| session.database.as_deref() != Some(REGISTRY));
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

/// Whether it executes a statement.
fn is_at_work(session: &ServerSession) -> bool {
    !matches!(session.state.as_deref(), None | Some("Sleep" | "Connect"))
}

/// Whether a statement looks through `information_schema`. Meanwhile whatever is looked at, or what a view was made under, is called the current
/// database of its session, or none is.
fn looks_through_all(statement: &str) -> bool {
    let statement = statement.to_ascii_lowercase();
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let first = without_comments(&statement).split(|letter| !is_letter(letter)).next();
    first.is_some_and(|first| BEGINNINGS.contains(&first))
        || statement.split(|letter| !is_letter(letter)).any(|word| SCHEMAS.contains(&word))
}

/// A statement from its first word on.
fn without_comments(statement: &str) -> &str {
    let mut rest = statement;
    loop {
        rest = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '(');
        let end = match rest.as_bytes() {
            [b'/', b'*', ..] => "*/",
            [b'-', b'-', ..] | [b'#', ..] => "\n",
            _ => return rest,
        };
        rest = rest.split_once(end).map_or("", |(_, rest)| rest);
    }
}

/// Whether its current database may be another than the server says. Of freshdb's own sessions it is known where they are.
pub(super) fn may_be_elsewhere(session: &ServerSession) -> bool {
    let (database, statement) = (session.database.as_deref(), session.statement.as_deref().unwrap_or_default());
    // Between two statements of one batch it has none, and may still be said to be where the first has looked. Of one that is changing just now
    // MariaDB says that it is busy, and no more.
    let is_between =
        session.statement.is_none() && matches!(session.state.as_deref(), Some("Query" | "Execute" | "Busy"));
    is_at_work(session)
        && database != Some(REGISTRY)
        && !statement.contains(OWN)
        && (is_between || database.is_some_and(|database| PASSED.contains(&database)) || looks_through_all(statement))
}

/// What was seen of a session that may be on another database than the server says.
#[derive(Debug, Default)]
struct Votes {
    /// How often it was on a database that sessions are on, and how often that was one that was chosen.
    all: usize,
    chosen: usize,
    /// How often it was on another.
    passed: usize,
    /// Whether it was seen with nothing that would hide where it is.
    is_known: bool,
}

impl Votes {
    fn add(&mut self, session: &ServerSession, is_chosen: bool) {
        if self.is_known {
            return;
        }
        if !may_be_elsewhere(session) {
            *self = Self { all: 1, chosen: usize::from(is_chosen), passed: 0, is_known: true };
        } else if is_chosen || session.database.as_deref().is_some_and(|database| !PASSED.contains(&database)) {
            self.all += 1;
            self.chosen += usize::from(is_chosen);
        } else {
            self.passed += 1;
        }
    }

    fn are_enough(&self) -> bool {
        let agree = self.all == 0 || self.chosen == 0 || self.chosen == self.all;
        self.is_known || agree && self.all.max(self.passed) >= ENOUGH_LOOKS
    }

    fn is_chosen(&self) -> bool {
        self.chosen * 2 > self.all
    }
}

/// The sessions that `chosen` names: those of which the server does not say where they are, by where they are most often.
async fn chosen_of_listed(
    connection: &mut MySqlConnection,
    chosen: &(dyn Fn(&ServerSession) -> bool + Sync),
) -> Result<Vec<ServerSession>, sqlx::Error> {
    let mut votes: HashMap<u64, Votes> = HashMap::new();
    let mut looks = 0;
    loop {
        let mut sessions = listed(connection).await?;
        looks += 1;
        votes.retain(|id, _| sessions.iter().any(|session| session.id == *id));
        for session in &sessions {
            if may_be_elsewhere(session) || votes.contains_key(&session.id) {
                votes.entry(session.id).or_default().add(session, chosen(session));
            }
        }
        if looks == MOST_LOOKS || votes.values().all(Votes::are_enough) {
            sessions.retain(|session| votes.get(&session.id).map_or_else(|| chosen(session), Votes::is_chosen));
            return Ok(sessions);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Kills the sessions that `chosen` names, and returns once none of them is left. Those that are `staying` have a moment to finish,
/// after which `chosen` may no longer name them.
pub(super) async fn end_sessions(
    connection: &mut MySqlConnection,
    chosen: &(dyn Fn(&ServerSession) -> bool + Sync),
    staying: &[u64],
) -> Result<Vec<ServerSession>, sqlx::Error> {
    let mut ended: Vec<ServerSession> = Vec::new();
    let started = Instant::now();
    loop {
        // However one is called meanwhile that is being ended.
        let known: Vec<u64> = ended.iter().map(|session| session.id).collect();
        let is_left = |session: &ServerSession| known.contains(&session.id) || chosen(session);
        let left = chosen_of_listed(connection, &is_left).await?;
        if left.is_empty() {
            return Ok(ended);
        }
        for session in left {
            let is_waited_for = session.may_yet_stay(staying) && started.elapsed() < STAYING_GRACE;
            if is_waited_for || ended.iter().any(|known| known.id == session.id) {
                continue;
            }
            match execute(connection, &format!("KILL {}", session.id)).await {
                // It has ended by itself.
                Err(error) if number(&error) == Some(NO_SUCH_THREAD) => {}
                answer => answer?,
            }
            ended.push(session);
        }
        if started.elapsed() > PATIENCE {
            return Err(sqlx::Error::Protocol(format!("sessions that were killed are still there after {PATIENCE:?}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(state: &str, database: Option<&str>, statement: &str) -> ServerSession {
        ServerSession {
            id: 7,
            database: database.map(str::to_owned),
            user: "somebody".to_owned(),
            client: None,
            state: Some(state.to_owned()),
            statement: Some(statement.to_owned()).filter(|statement| !statement.is_empty()),
            since: Duration::ZERO,
        }
    }

    #[test]
    fn who_looks_through_all_databases_may_be_on_any() {
        for statement in
            ["SHOW TABLES", "/* app */ show full columns from t", "(SELECT 1 FROM information_schema.TABLES)"]
        {
            assert!(may_be_elsewhere(&session("Query", None, statement)), "{statement}");
            assert!(may_be_elsewhere(&session("Execute", Some("other"), statement)), "{statement}");
            assert!(!may_be_elsewhere(&session("Sleep", Some("other"), statement)), "{statement}");
        }
        assert!(may_be_elsewhere(&session("Query", Some("sys"), "SELECT 1")));
        assert!(may_be_elsewhere(&session("Query", Some("other"), "-- all\n# of them\nDESC t")));
        assert!(!may_be_elsewhere(&session("Query", Some("other"), "SELECT * FROM shows ORDER BY id DESC")));
        assert!(!may_be_elsewhere(&session("Query", Some("other"), "/* it does not end")));
        let own = format!("{OWN}SELECT 1 FROM information_schema.tables");
        for database in [None, Some("information_schema"), Some("slot")] {
            assert!(!may_be_elsewhere(&session("Query", database, &own)));
        }
        assert!(!may_be_elsewhere(&session("Query", Some(REGISTRY), "SHOW FULL PROCESSLIST")));
        assert!(may_be_elsewhere(&session("Query", Some("other"), "")));
        assert!(may_be_elsewhere(&session("Busy", None, "")));
        assert!(!may_be_elsewhere(&session("Connect", None, "")));
    }

    #[test]
    fn where_a_session_is_seen_at_rest_it_is() {
        let (looks, slot) = ("SHOW TABLES", "slot");
        let see =
            |votes: &mut Votes, session: &ServerSession| votes.add(session, session.database.as_deref() == Some(slot));
        let mut votes = Votes::default();
        for _ in 0..3 {
            see(&mut votes, &session("Query", Some("other"), looks));
        }
        assert!(!votes.are_enough() && !votes.is_chosen(), "{votes:?}");
        see(&mut votes, &session("Sleep", Some(slot), ""));
        assert!(votes.are_enough() && votes.is_chosen(), "{votes:?}");
        // It goes on, which changes nothing.
        see(&mut votes, &session("Query", Some("other"), looks));
        assert!(votes.are_enough() && votes.is_chosen(), "{votes:?}");

        let mut votes = Votes::default();
        for database in ["sys", slot, "information_schema", slot, "other", slot] {
            see(&mut votes, &session("Query", Some(database), looks));
        }
        assert!(!votes.are_enough() && votes.is_chosen(), "{votes:?}");
        let mut votes = Votes::default();
        for _ in 0..ENOUGH_LOOKS {
            see(&mut votes, &session("Query", Some("mysql"), "SELECT SLEEP(60)"));
        }
        assert!(votes.are_enough() && !votes.is_chosen(), "{votes:?}");
    }
}
