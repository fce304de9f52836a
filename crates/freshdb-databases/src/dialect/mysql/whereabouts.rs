//! On which database a session is, of which the servers do not always say so.
//!
//! While a session looks through `information_schema`, the servers call the database that is looked at, or that a view was made under, its current
//! one. So it is followed until it rests, or executes something else.

use std::time::{Duration, Instant};

use super::super::{REGISTRY, ServerSession};
use super::connection::OWN;

/// How statements begin that look through it, and what they name.
const BEGINNINGS: [&str; 4] = ["show", "desc", "describe", "explain"];
const SCHEMAS: [&str; 2] = ["information_schema", "sys"];

/// Databases that nobody works on, which sessions are said to be on meanwhile.
const PASSED: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// How many listings that say the same are believed, and over which time: on a busy machine a session may stand still for tens of
/// milliseconds.
const ENOUGH_LOOKS: usize = 10;
const LONG_ENOUGH: Duration = Duration::from_millis(300);

/// Whether it executes a statement.
fn is_at_work(session: &ServerSession) -> bool {
    !matches!(session.state.as_deref(), None | Some("Sleep" | "Connect"))
}

/// Whether a statement looks through `information_schema`.
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
#[derive(Debug)]
pub(super) struct Votes {
    /// From when on.
    since: Instant,
    /// How often it was on a database that sessions are on, and how often that was one that was chosen.
    all: usize,
    chosen: usize,
    /// How often it was on another.
    passed: usize,
    /// Whether it was seen with nothing that would hide where it is.
    is_known: bool,
}

impl Votes {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, all: 0, chosen: 0, passed: 0, is_known: false }
    }

    pub(super) fn add(&mut self, session: &ServerSession, is_chosen: bool) {
        if self.is_known {
            return;
        }
        if !may_be_elsewhere(session) {
            *self = Self { all: 1, chosen: usize::from(is_chosen), is_known: true, ..Self::new(self.since) };
        } else if is_chosen || session.database.as_deref().is_some_and(|database| !PASSED.contains(&database)) {
            self.all += 1;
            self.chosen += usize::from(is_chosen);
        } else {
            self.passed += 1;
        }
    }

    pub(super) fn are_enough(&self, now: Instant) -> bool {
        let agree = self.all == 0 || self.chosen == 0 || self.chosen == self.all;
        let are_many = self.all.max(self.passed) >= ENOUGH_LOOKS && now.duration_since(self.since) >= LONG_ENOUGH;
        self.is_known || agree && are_many
    }

    pub(super) fn is_chosen(&self) -> bool {
        self.chosen * 2 > self.all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let now = Instant::now();
        let mut votes = Votes::new(now);
        for _ in 0..3 {
            see(&mut votes, &session("Query", Some("other"), looks));
        }
        assert!(!votes.are_enough(now + LONG_ENOUGH) && !votes.is_chosen(), "{votes:?}");
        see(&mut votes, &session("Sleep", Some(slot), ""));
        assert!(votes.are_enough(now) && votes.is_chosen(), "{votes:?}");
        // It goes on, which changes nothing.
        see(&mut votes, &session("Query", Some("other"), looks));
        assert!(votes.are_enough(now) && votes.is_chosen(), "{votes:?}");

        let mut votes = Votes::new(now);
        for database in ["sys", slot, "information_schema", slot, "other", slot] {
            see(&mut votes, &session("Query", Some(database), looks));
        }
        assert!(!votes.are_enough(now + LONG_ENOUGH) && votes.is_chosen(), "{votes:?}");
        let mut votes = Votes::new(now);
        for _ in 0..ENOUGH_LOOKS {
            see(&mut votes, &session("Query", Some("mysql"), "SELECT SLEEP(60)"));
        }
        assert!(!votes.are_enough(now), "it may stand still: {votes:?}");
        assert!(votes.are_enough(now + LONG_ENOUGH) && !votes.is_chosen(), "{votes:?}");
    }
}
