//! Sessions on a server, and for how long one that is still there may be.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Somebody who is connected to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSession {
    /// The server's number for it.
    pub id: u64,
    /// The database it is in.
    pub database: Option<String>,
    /// The account it uses.
    pub user: String,
    /// What it calls itself, or the address it comes from.
    pub client: Option<String>,
    /// What it is doing, in the server's own word: `idle in transaction`, `Query`.
    pub state: Option<String>,
    /// What it executes, or executed last.
    pub statement: Option<String>,
    /// For how long it has been in that state.
    pub since: Duration,
}

impl ServerSession {
    /// Whether it is one of those that are to stay, and does nothing, as the server says: MySQL calls that `Sleep`.
    pub(crate) fn stays(&self, staying: &[u64]) -> bool {
        staying.contains(&self.id) && matches!(self.state.as_deref(), Some("idle" | "Sleep"))
    }

    /// Whether it is one of those, and is at work: one that has just answered is, for a moment, and is waited for.
    fn may_yet_stay(&self, staying: &[u64]) -> bool {
        let in_transaction = self.state.as_deref().is_some_and(|state| state.starts_with("idle in transaction"));
        staying.contains(&self.id) && !self.stays(staying) && !in_transaction
    }
}

impl fmt::Display for ServerSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        write!(
            formatter,
            "session {} of {} on {}: {} for {:.1} s, last statement: {}",
            self.id,
            self.user,
            self.database.clone().unwrap_or_else(unknown),
            self.state.clone().unwrap_or_else(unknown),
            self.since.as_secs_f64(),
            self.statement.clone().unwrap_or_else(unknown),
        )
    }
}

/// How long sessions that are still there when a database is given back have to go, or to finish what they do, before they are ended.
pub(crate) struct Grace<'a> {
    staying: &'a [u64],
    since: Instant,
    looks: u32,
}

#[cfg_attr(not(any(feature = "mysql", feature = "postgres")), expect(dead_code, reason = "a file has no sessions"))]
impl<'a> Grace<'a> {
    /// For a session that its client has just closed: it goes by itself, and only one that does not is somebody's leftover.
    const CLOSING: Duration = Duration::from_millis(25);

    /// And how often it is looked for meanwhile, at the least: on a busy machine, where that moment is longer, so is each look.
    const LOOKS: u32 = 15;

    /// For one that is to stay, and is at work when its lease ends.
    const STAYING: Duration = Duration::from_secs(1);

    pub(crate) fn start(staying: &'a [u64]) -> Self {
        Self { staying, since: Instant::now(), looks: 0 }
    }

    /// Has been looked for sessions once more.
    pub(crate) fn looked(&mut self) {
        self.looks += 1;
    }

    /// Whether one that is still there has had its moment.
    pub(crate) fn is_over_for(&self, session: &ServerSession) -> bool {
        let grace = if session.may_yet_stay(self.staying) { Self::STAYING } else { Self::CLOSING };
        self.looks >= Self::LOOKS && self.since.elapsed() >= grace
    }
}
