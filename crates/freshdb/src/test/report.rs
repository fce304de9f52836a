//! What is said about a test that failed, or that left something behind.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::time::Duration;

use freshdb_databases::{Error, ErrorKind, Kind, ServerSession, variables};

use super::arguments::{Held, OfAnotherEngine};
use super::case::{Case, Leaking};
use super::context::{BuildError, EndingFailed};
use super::guard::{self, Database, Refusal};
use super::leftovers::{KeptPool, Left, OpenTransaction};
use super::pools;
use super::runtime::StillRunning;
use crate::registry::{OpenSession, Use, seconds};

/// Nothing is in the way of writing to a text.
const WRITTEN: &str = "a text grows";

/// One thing to say.
pub(super) enum Finding {
    Failed(String),
    Panicked(Box<dyn Any + Send>),
    /// It was meant to.
    DidNotPanic,
    /// It was meant to panic in other words. `said` is nothing where it panicked without any.
    PanickedOtherwise {
        said: Option<String>,
        expected: String,
    },
    NotBuilt(BuildError),
    NotStarted(std::io::Error),
    TimedOut {
        limit: Duration,
        is_blocked: bool,
    },
    /// Its arguments' ends, or a destructor, block the thread.
    EndIsBlocked {
        waited: Duration,
    },
    EndingFailed(EndingFailed),
    Refused(Refusal),
    Sessions {
        sessions: Vec<OpenSession>,
        waited: Duration,
    },
    Connections {
        connections: Vec<Held>,
        waited: Duration,
    },
    Transactions(Vec<OpenTransaction>),
    Tasks {
        running: StillRunning,
        waited: Duration,
    },
    BlockingThreads {
        count: usize,
        waited: Duration,
    },
    Pools {
        pools: Vec<KeptPool>,
        waited: Duration,
    },
    Strangers {
        sessions: Vec<ServerSession>,
        waited: Duration,
    },
    ServerDidNotTell(Error),
}

impl Finding {
    pub(super) fn of_left(left: Left) -> Vec<Self> {
        let Left { sessions, connections, transactions, pools, strangers, unreturned: _, out: _, own: _, waited } =
            left;
        let mut findings = Vec::new();
        if !sessions.is_empty() {
            findings.push(Self::Sessions { sessions, waited });
        }
        if !connections.is_empty() {
            findings.push(Self::Connections { connections, waited });
        }
        if !transactions.is_empty() {
            findings.push(Self::Transactions(transactions));
        }
        if !pools.is_empty() {
            findings.push(Self::Pools { pools, waited });
        }
        if !strangers.is_empty() {
            findings.push(Self::Strangers { sessions: strangers, waited });
        }
        findings
    }

    /// Something that was left open, which a test may be forgiven.
    pub(super) fn is_leak(&self) -> bool {
        matches!(
            self,
            Self::Sessions { .. }
                | Self::Connections { .. }
                | Self::Transactions(_)
                | Self::Tasks { .. }
                | Self::BlockingThreads { .. }
                | Self::Pools { .. }
                | Self::Strangers { .. }
        )
    }

    pub(super) fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        if let Self::Panicked(panic) = self { Some(panic) } else { None }
    }

    pub(super) fn fails(&self, leaks: Leaking) -> bool {
        leaks == Leaking::Fails || !self.is_leak()
    }

    /// What can be done about it.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Sessions { .. } | Self::Connections { .. } => {
                "drop each session, or await the task that owns it, before the test returns"
            }
            Self::Transactions(_) => {
                "begin it by `begin()`, whose transaction ends when it is dropped, or end it in every path"
            }
            Self::Tasks { running, .. } if running.spawned_at.is_empty() => {
                "await the task's `JoinHandle`, or abort it, before the test returns; `RUSTFLAGS=\"--cfg tokio_unstable\"` has tokio tell \
                 where each was spawned"
            }
            Self::Tasks { .. } => "await the task's `JoinHandle`, or abort it, before the test returns",
            Self::BlockingThreads { .. } => {
                "await what `spawn_blocking` returned; such a thread cannot be stopped from outside"
            }
            Self::Pools { .. } => {
                "keep no pool in a `static`: take it from the test's arguments; code that cannot be changed may run with \
                 `runtime = \"shared\"` and a database of its own in `allow = […]`"
            }
            Self::Strangers { .. } => "close what the test has connected by a driver of its own before it returns",
            Self::TimedOut { is_blocked: true, .. } => {
                "block in `tokio::task::spawn_blocking`, and let a loop `.await`; to wait longer, say `timeout = …`"
            }
            Self::TimedOut { .. } => "to wait longer, say `timeout = …` in `#[freshdb::test(…)]`",
            Self::Refused(_) => guard::HINT,
            Self::NotBuilt(error) => return hint_of(&*error.cause),
            Self::ServerDidNotTell(error) => return error.advice().map(str::to_owned),
            Self::Failed(_)
            | Self::Panicked(_)
            | Self::DidNotPanic
            | Self::PanickedOtherwise { .. }
            | Self::NotStarted(_)
            | Self::EndIsBlocked { .. }
            | Self::EndingFailed(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// What became of the database.
pub(super) enum Kept {
    /// Nobody wants to look at it.
    NotWanted,
    At(String),
    /// Its server ends with this process.
    Not(Kind),
    Failed(Error),
}

/// What the test did to the database, in short, and what became of it.
pub(super) struct Fate {
    pub(super) wrote: Option<String>,
    pub(super) kept: Kept,
}

/// All that is to be said of one test.
pub(super) struct Report<'a> {
    pub(super) case: &'a Case,
    pub(super) database: &'a Database,
    pub(super) findings: &'a [Finding],
    /// It panicked, which has been said.
    pub(super) panicked: bool,
    pub(super) fate: Fate,
}

impl Report<'_> {
    /// What became of the database.
    pub(super) fn note(&self) -> Option<String> {
        let wrote = self.fate.wrote.as_ref().map(|what| format!("  wrote: {what}"));
        let notes: Vec<String> = [wrote, self.kept()].into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("\n"))
    }

    fn kept(&self) -> Option<String> {
        match &self.fate.kept {
            Kept::NotWanted => None,
            Kept::At(url) => Some(format!("  kept: {url}")),
            Kept::Not(kind) => Some(match variable_of(*kind) {
                Some(variable) => {
                    format!(
                        "  kept: no, its server ends with the tests; with {variable} set, failed databases are kept"
                    )
                }
                None => "  kept: no, its directory ends with the tests".to_owned(),
            }),
            Kept::Failed(error) => Some(format!("  kept: no: {error}")),
        }
    }
}

fn variable_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Sqlite => None,
        Kind::Mysql => Some(variables::MYSQL_URL),
        Kind::Mariadb => Some(variables::MARIADB_URL),
        Kind::Postgres => Some(variables::POSTGRES_URL),
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { name, place, leaks, .. } = self.case;
        for (index, finding) in self.findings.iter().enumerate() {
            let severity = if finding.fails(*leaks) { "error" } else { "warning" };
            let subject = match (index, self.panicked) {
                (0, false) => format!("test `{name}`"),
                (0, true) => format!("test `{name}`, which panicked,"),
                _ => "it also".to_owned(),
            };
            writeln!(formatter, "{severity}: {}", finding.said_of(&subject, self.database))?;
        }
        write!(formatter, "  test: {}:{}", place.file(), place.line())?;
        if let Some(note) = self.note() {
            write!(formatter, "\n{note}")?;
        }
        let mut hints: Vec<String> = Vec::new();
        for hint in self.findings.iter().filter_map(Finding::hint) {
            if !hints.contains(&hint) {
                write!(formatter, "\nhint: {hint}")?;
                hints.push(hint);
            }
        }
        Ok(())
    }
}

impl Finding {
    /// One sentence, and what belongs to it in indented lines.
    pub(super) fn said_of(&self, test: &str, database: &Database) -> String {
        match self {
            Self::Failed(error) => format!("{test} failed: {}", indented(error)),
            Self::Panicked(panic) => format!("{test} panicked: {}", message_of(&**panic).unwrap_or("unknown")),
            Self::DidNotPanic => format!("{test} did not panic as expected"),
            Self::PanickedOtherwise { said, expected } => {
                let said = said.as_ref().map_or_else(|| "unknown".to_owned(), |said| format!("{said:?}"));
                format!(
                    "{test} did not panic as expected: panic did not contain expected string\n  panic message: {said}\n  \
                     expected substring: {expected:?}"
                )
            }
            Self::NotBuilt(error) => {
                format!("{test} did not begin: {error}\n  caused by: {}", indented(&with_causes(&*error.cause)))
            }
            Self::NotStarted(error) => {
                format!("{test} did not begin: the system gives no runtime\n  caused by: {error}")
            }
            Self::TimedOut { limit, is_blocked } => {
                let how = if *is_blocked {
                    "it blocks its thread, which is left behind"
                } else {
                    "it waited for something that did not come, and was dropped"
                };
                format!("{test} had not ended after {}: {how}", seconds(*limit))
            }
            Self::EndIsBlocked { waited } => format!(
                "{test} has returned, but what it left does not end: after {} its thread is left behind",
                seconds(*waited)
            ),
            Self::EndingFailed(EndingFailed { what, why }) => format!("{test} did not end {what}: {}", indented(why)),
            Self::Refused(refusal) => refusal.to_string(),
            Self::Sessions { sessions, waited } => {
                let (transactions, others): (Vec<_>, Vec<_>) =
                    sessions.iter().partition(|session| session.used_for() == Use::Transaction);
                let what = [counted(others.len(), "session"), counted(transactions.len(), "transaction")];
                let what: Vec<String> = what.into_iter().flatten().collect();
                let lines: Vec<String> = sessions.iter().map(|session| format!("{session:#}")).collect();
                let what = what.join(" and ");
                format!("{test} left {what} open on `{}`{}\n{}", database.short(), after(*waited), lines.join("\n"))
            }
            Self::Connections { connections, waited } => {
                let lines: Vec<String> = connections.iter().map(line_of_connection).collect();
                format!(
                    "{test} left {} of its pool open on `{}`{}\n{}",
                    counted(connections.len(), "connection").unwrap_or_default(),
                    database.short(),
                    after(*waited),
                    lines.join("\n")
                )
            }
            Self::Transactions(transactions) => {
                let lines: Vec<String> = transactions.iter().map(line_of_transaction).collect();
                format!(
                    "{test} gave {} back inside a transaction, which was rolled back\n{}",
                    counted(transactions.len(), "session").unwrap_or_default(),
                    lines.join("\n")
                )
            }
            Self::Tasks { running, waited } => {
                let mut said = format!(
                    "{test} left {} running{}",
                    counted(running.tasks, "task").unwrap_or_default(),
                    after(*waited)
                );
                for source in &running.spawned_at {
                    write!(said, "\n  spawned at {source}").expect(WRITTEN);
                }
                said
            }
            Self::BlockingThreads { count, waited } => format!(
                "{test} left {} of `spawn_blocking` running{}",
                counted(*count, "thread").unwrap_or_default(),
                after(*waited)
            ),
            Self::Pools { pools, waited } => {
                let lines: Vec<String> = pools.iter().map(line_of_pool).collect();
                format!(
                    "{test} left {} behind that somebody still has, on `{}`{}\n{}",
                    counted(pools.len(), "pool").unwrap_or_default(),
                    database.short(),
                    after(*waited),
                    lines.join("\n")
                )
            }
            Self::Strangers { sessions, waited } => {
                let lines: Vec<String> = sessions.iter().map(line_of_stranger).collect();
                format!(
                    "{test} left {} open on `{}` that no engine and no pool of freshdb's opened{}\n{}",
                    counted(sessions.len(), "session").unwrap_or_default(),
                    database.short(),
                    after(*waited),
                    lines.join("\n")
                )
            }
            Self::ServerDidNotTell(error) => {
                format!("{test}: the server did not tell who is still connected: {}", indented(&with_causes(error)))
            }
        }
    }
}

fn line_of_connection(held: &Held) -> String {
    let id = held.id.map(|id| format!(" {id}")).unwrap_or_default();
    format!("  connection{id}: held for {}\n    acquired at {}", seconds(held.since), held.trace.source())
}

fn line_of_transaction(transaction: &OpenTransaction) -> String {
    let statement = transaction.statement.as_deref().unwrap_or("unknown");
    format!("  session opened at {}\n    began by: {statement}", transaction.opened.source())
}

fn line_of_pool(pool: &KeptPool) -> String {
    match pool {
        KeptPool::Engine { made_at } => format!("  pool of an engine made at {}:{}", made_at.file(), made_at.line()),
        KeptPool::Argument { what } => format!("  {what} that was made for the test's arguments"),
    }
}

fn line_of_stranger(session: &ServerSession) -> String {
    let state = session.state.as_deref().unwrap_or("unknown");
    let client = session.client.as_deref().filter(|client| !client.is_empty());
    let client = client.map(|client| format!(" from {client}")).unwrap_or_default();
    format!(
        "  session {} of {}{client}: {state} for {}\n    opened at unknown\n    last statement: {}",
        session.id,
        session.user,
        seconds(session.since),
        session.statement.as_deref().unwrap_or("unknown")
    )
}

fn counted(count: usize, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        more => Some(format!("{more} {what}s")),
    }
}

/// Nothing where nobody waited: the test's thread did not answer.
fn after(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" (waited {})", seconds(waited)) }
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

/// An error and what caused it, a line each.
pub(super) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    freshdb_databases::told(error).join("\ncaused by: ")
}

/// The hint of an error of freshdb's, wherever among the causes it is.
fn hint_of(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(hint) = cause.downcast_ref::<Error>().and_then(Error::advice) {
            return Some(hint.to_owned());
        }
        if let Some(hint) = cause.downcast_ref::<crate::Error>().and_then(crate::Error::hint) {
            return Some(hint.to_owned());
        }
        if let Some(error) = cause.downcast_ref::<OfAnotherEngine>() {
            return Some(error.hint());
        }
        next = cause.source();
    }
    None
}

/// What it says, if it was made with a text.
pub(super) fn message_of(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// A test that has no database.
pub(super) fn no_database(case: &Case, error: &Error) -> String {
    let Case { name, kind, place, .. } = case;
    let mut report = format!("error: test `{name}` has no {kind} database: {}", indented(&with_causes(error)));
    write!(report, "\n  test: {}:{}", place.file(), place.line()).expect(WRITTEN);
    if let Some(hint) = hint_of(error) {
        write!(report, "\nhint: {hint}").expect(WRITTEN);
    }
    // Of a server only: a variable or a schema that is wrong is wrong for the other engines too.
    if matches!(error.kind(), ErrorKind::NoServer | ErrorKind::Unreachable) {
        if error.kind() == ErrorKind::Unreachable
            && let Some(variable) = variable_of(*kind)
            && pools::config().is_ok_and(|config| config.url(*kind).is_some())
        {
            write!(report, "\nhint: start that server, or unset {variable} to have a private one started")
                .expect(WRITTEN);
        }
        write!(report, "\nhint: to leave out the tests of {kind}, set {}={}", variables::SKIP, kind.name())
            .expect(WRITTEN);
    }
    report
}
