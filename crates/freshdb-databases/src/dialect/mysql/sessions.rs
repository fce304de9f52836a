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
    let database = next();
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

/// How often sessions are listed to find out on which database they are.
const MOST_LOOKS: usize = 50;
/// How many looks that say the same are believed.
const FEWEST_LOOKS: usize = 3;

/// While a session looks through `information_schema`, one of these is called its current database, or none is: that which is looked at, or under
/// which a view was made.
const PASSED: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

impl ServerSession {
    /// Whether it executes a statement.
    fn is_at_work(&self) -> bool {
        !matches!(self.state.as_deref(), None | Some("Sleep" | "Connect" | "Killed"))
    }

    /// Whether its current database may be another than the server says.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        let statement = self.statement.as_deref().unwrap_or_default().trim_start().to_ascii_lowercase();
        let looks = ["show", "desc", "explain"].iter().any(|word| statement.starts_with(word))
            || statement.contains("information_schema");
        self.is_at_work()
            && match self.database.as_deref() {
                None => looks,
                Some(database) => PASSED.contains(&database),
            }
            && !statement.starts_with(OWN)
    }
}

/// What was seen of a session that may be on another database than the server says.
#[derive(Default)]
struct Votes {
    /// How often it was on a database that sessions are on, and how often that was one that was chosen.
    all: usize,
    chosen: usize,
    /// Whether it rests, so that what was said of it is so.
    at_rest: bool,
}

impl Votes {
    fn add(&mut self, session: &ServerSession, is_chosen: bool) {
        if !session.is_at_work() {
            *self = Self { all: 1, chosen: usize::from(is_chosen), at_rest: true };
        } else if is_chosen || session.database.as_deref().is_some_and(|database| !PASSED.contains(&database)) {
            self.all += 1;
            self.chosen += usize::from(is_chosen);
        }
    }

    fn are_enough(&self) -> bool {
        self.at_rest || self.all >= FEWEST_LOOKS && (self.chosen == 0 || self.chosen == self.all)
    }

    fn is_chosen(&self) -> bool {
        self.chosen * 2 > self.all
    }
}

/// The sessions that `chosen` names: those that are at work by where they are most often.
async fn chosen_of_listed(
    connection: &mut MySqlConnection,
    chosen: &(dyn Fn(&ServerSession) -> bool + Sync),
) -> Result<Vec<ServerSession>, sqlx::Error> {
    let mut sessions = listed(connection).await?;
    let mut votes: HashMap<u64, Votes> = HashMap::new();
    for session in &sessions {
        if session.may_be_elsewhere() || session.is_at_work() && chosen(session) {
            votes.entry(session.id).or_default().add(session, chosen(session));
        }
    }
    for _ in 1..MOST_LOOKS {
        if votes.values().all(Votes::are_enough) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        sessions = listed(connection).await?;
        votes.retain(|id, _| sessions.iter().any(|session| session.id == *id));
        for session in &sessions {
            if let Some(votes) = votes.get_mut(&session.id) {
                votes.add(session, chosen(session));
            }
        }
    }
    sessions.retain(|session| match votes.get(&session.id) {
        Some(votes) => votes.is_chosen(),
        None => chosen(session),
    });
    Ok(sessions)
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
