//! What goes wrong with sessions.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::registry::{OpenSession, Place, seconds, time_limit};
use crate::verdict::Verdict;
use crate::words::words;

/// Why there is no session, or why its transaction did not begin or end as it was told to.
///
/// Shown by `{}`: the fact, and who is in the way; and of one behind an error of the driver's, why there is no connection. By `{:?}`,
/// as `unwrap` and `expect` show it: with its causes and, where there is one, a hint.
pub struct Error(Box<Kind>);

enum Kind {
    Closed {
        target: String,
    },
    Exhausted {
        target: String,
        waited: Duration,
        wanted: Wanted,
        holders: Vec<OpenSession>,
    },
    Connect {
        target: String,
        source: sqlx::Error,
        /// Whether it is behind an error of the driver's, whose readers find the reason in its words, and SeaORM's nowhere else.
        says_why: bool,
    },
    RuntimeGone {
        target: String,
    },
    CutOff {
        place: Place,
    },
    Confused {
        place: Place,
    },
    Garbled {
        place: Place,
    },
    Aborted {
        cause: String,
    },
    Ended,
    InDoubt {
        source: sqlx::Error,
        /// As of [`Kind::Connect`].
        says_why: bool,
    },
    Statement {
        doing: &'static str,
        source: sqlx::Error,
    },
    Options {
        fact: String,
        source: Option<sqlx::Error>,
    },
    #[cfg(feature = "test")]
    NotLeased(crate::test::guard::Refusal),
}

/// What there was not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Session {
        limit: u32,
    },
    /// The one place for a writer.
    Writer,
}

impl Error {
    pub(crate) fn closed(target: &str) -> Self {
        Self(Box::new(Kind::Closed { target: target.to_owned() }))
    }

    pub(crate) fn exhausted(target: &str, after: Duration, wanted: Wanted, holders: Vec<OpenSession>) -> Self {
        Self(Box::new(Kind::Exhausted { target: target.to_owned(), waited: after, wanted, holders }))
    }

    pub(crate) fn connect(target: &str, source: sqlx::Error) -> Self {
        Self(Box::new(Kind::Connect { target: target.to_owned(), source, says_why: false }))
    }

    pub(crate) fn runtime_gone(target: &str) -> Self {
        Self(Box::new(Kind::RuntimeGone { target: target.to_owned() }))
    }

    pub(crate) fn cut_off(place: Place) -> Self {
        Self(Box::new(Kind::CutOff { place }))
    }

    pub(crate) fn confused(place: Place) -> Self {
        Self(Box::new(Kind::Confused { place }))
    }

    pub(crate) fn garbled(place: Place) -> Self {
        Self(Box::new(Kind::Garbled { place }))
    }

    pub(crate) fn aborted(cause: String) -> Self {
        Self(Box::new(Kind::Aborted { cause }))
    }

    pub(crate) fn miscounted() -> Self {
        Self::aborted("a transaction of the driver's own was begun or ended on its connection, and not by turns".into())
    }

    pub(crate) fn ended() -> Self {
        Self(Box::new(Kind::Ended))
    }

    pub(crate) fn in_doubt(source: sqlx::Error) -> Self {
        Self(Box::new(Kind::InDoubt { source, says_why: false }))
    }

    pub(crate) fn options(fact: impl Into<String>, source: Option<sqlx::Error>) -> Self {
        Self(Box::new(Kind::Options { fact: fact.into(), source }))
    }

    #[cfg(feature = "test")]
    pub(crate) fn not_leased(refusal: crate::test::guard::Refusal) -> Self {
        Self(Box::new(Kind::NotLeased(refusal)))
    }

    /// An error of the driver's, unless it is one of freshdb's own that came through the driver's types.
    pub(crate) fn statement(doing: &'static str, source: sqlx::Error) -> Self {
        match source {
            sqlx::Error::AnyDriverError(inner) => match inner.downcast::<Self>() {
                Ok(own) => own.by_itself(),
                Err(inner) => Self(Box::new(Kind::Statement { doing, source: sqlx::Error::AnyDriverError(inner) })),
            },
            source => Self(Box::new(Kind::Statement { doing, source })),
        }
    }

    /// Out of the driver's types again: its reason is its source.
    fn by_itself(mut self) -> Self {
        if let Kind::Connect { says_why, .. } | Kind::InDoubt { says_why, .. } = &mut *self.0 {
            *says_why = false;
        }
        self
    }

    /// The error of freshdb's in an error of the driver's, where a session is used as the driver's executor.
    pub fn within(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::AnyDriverError(inner) => inner.downcast_ref(),
            _ => None,
        }
    }

    /// What it means for the work that met it.
    pub fn verdict(&self) -> Verdict {
        match &*self.0 {
            Kind::Exhausted { .. } => Verdict::Exhausted,
            // It may have been a server that answered before: whatever its reason, it is away.
            Kind::Connect { .. } | Kind::InDoubt { .. } => Verdict::Lost,
            Kind::Statement { source, .. } => Verdict::of(source),
            Kind::Closed { .. }
            | Kind::RuntimeGone { .. }
            | Kind::CutOff { .. }
            | Kind::Confused { .. }
            | Kind::Garbled { .. }
            | Kind::Aborted { .. }
            | Kind::Ended
            | Kind::Options { .. } => Verdict::Refused,
            #[cfg(feature = "test")]
            Kind::NotLeased(_) => Verdict::Refused,
        }
    }

    /// The engine was closed.
    pub fn is_closed(&self) -> bool {
        matches!(&*self.0, Kind::Closed { .. })
    }

    /// Every session was in use for as long as one waits: see [`Self::holders`].
    pub fn is_exhausted(&self) -> bool {
        matches!(&*self.0, Kind::Exhausted { .. })
    }

    /// No connection could be made.
    pub fn is_connect(&self) -> bool {
        matches!(&*self.0, Kind::Connect { .. })
    }

    /// A statement had failed before, and the database had undone the transaction, or will not commit it; or a statement had ended it.
    pub fn is_aborted(&self) -> bool {
        matches!(&*self.0, Kind::Aborted { .. } | Kind::Ended)
    }

    /// The connection was lost before COMMIT was answered. The transaction is stored, or it is not: the database knows.
    pub fn is_in_doubt(&self) -> bool {
        matches!(&*self.0, Kind::InDoubt { .. })
    }

    /// Who held the sessions when there was none to be had, the oldest first.
    pub fn holders(&self) -> &[OpenSession] {
        match &*self.0 {
            Kind::Exhausted { holders, .. } => holders,
            _ => &[],
        }
    }

    /// The driver's error behind it.
    pub fn driver_error(&self) -> Option<&sqlx::Error> {
        match &*self.0 {
            Kind::Connect { source, .. } | Kind::InDoubt { source, .. } | Kind::Statement { source, .. } => {
                Some(source)
            }
            Kind::Options { source, .. } => source.as_ref(),
            _ => None,
        }
    }

    /// What can be done about it, where that is no guess.
    pub fn hint(&self) -> Option<&'static str> {
        match &*self.0 {
            Kind::Closed { .. } => Some("close the engine after the last of its users has ended"),
            Kind::Exhausted { wanted: Wanted::Session { .. }, .. } => {
                Some("a session is free again when it is dropped; if all of these are at work, raise `max_connections`")
            }
            Kind::Exhausted { wanted: Wanted::Writer, .. } => {
                Some("SQLite has one writer at a time: keep what is done inside a transaction short")
            }
            Kind::RuntimeGone { .. } => {
                Some("bind an engine only to a runtime that outlives it, or leave out `EngineOptions::runtime`")
            }
            Kind::CutOff { .. } => Some("drop the session together with the statement, and take a new one"),
            Kind::Confused { .. } => Some("bind as many values as the statement has places, and take a new session"),
            Kind::Garbled { .. } => Some("drop the session, and take a new one"),
            Kind::Aborted { .. } => {
                Some("return the error of a statement in a transaction instead of going on, or undo it by a savepoint")
            }
            Kind::Ended => Some(
                "DDL, LOCK TABLES, and COMMIT or ROLLBACK by text end a transaction, and a procedure's handler may hide a deadlock: \
                 keep them out of it",
            ),
            Kind::InDoubt { .. } => Some(
                "look in the database for what it stores; what may be done twice can be run again, and `Tx::run` does so",
            ),
            #[cfg(feature = "test")]
            Kind::NotLeased(_) => Some(crate::test::guard::HINT),
            Kind::Connect { .. } | Kind::Statement { .. } | Kind::Options { .. } => None,
        }
    }
}

/// At the most so many holders are listed.
const MOST_HOLDERS: usize = 10;

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fact(formatter)?;
        match &*self.0 {
            Kind::Connect { source, says_why: true, .. } | Kind::InDoubt { source, says_why: true } => {
                write!(formatter, ": {}", words(source))
            }
            _ => Ok(()),
        }
    }
}

impl Error {
    fn fact(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Closed { target } => write!(formatter, "the engine of `{target}` is closed"),
            Kind::Exhausted { target, waited, wanted, holders } => {
                let waited = time_limit(*waited);
                match wanted {
                    Wanted::Session { limit } => write!(
                        formatter,
                        "no session of `{target}` became free within {waited}: all {limit} are in use"
                    )?,
                    Wanted::Writer => {
                        write!(
                            formatter,
                            "no transaction on `{target}` could begin within {waited}: another one is open"
                        )?;
                    }
                }
                for holder in holders.iter().take(MOST_HOLDERS) {
                    write!(formatter, "\n{holder}")?;
                }
                match holders.len().saturating_sub(MOST_HOLDERS) {
                    0 => Ok(()),
                    more => write!(formatter, "\n  and {more} more"),
                }
            }
            Kind::Connect { target, .. } => write!(formatter, "cannot connect to `{target}`"),
            Kind::RuntimeGone { target } => {
                write!(formatter, "the runtime to which the engine of `{target}` is bound has ended")
            }
            Kind::CutOff { place } => write!(
                formatter,
                "the session opened at {place} cannot be used any more: a statement on it was dropped before its answer came"
            ),
            Kind::Confused { place } => write!(
                formatter,
                "the session opened at {place} cannot be used any more: a statement on it had more or fewer values than places"
            ),
            Kind::Garbled { place } => write!(
                formatter,
                "the session opened at {place} cannot be used any more: the driver did not understand an answer on it"
            ),
            Kind::Aborted { cause } => {
                write!(formatter, "the transaction cannot go on: it was undone before ({cause})")
            }
            Kind::Ended => formatter.write_str(
                "a statement in the transaction had ended it: what came before that is stored or undone, and what came after is stored",
            ),
            Kind::InDoubt { .. } => formatter
                .write_str("the connection was lost before COMMIT was answered: the transaction is stored, or it is not"),
            Kind::Statement { doing, .. } => write!(formatter, "cannot {doing}"),
            Kind::Options { fact, .. } => formatter.write_str(fact),
            #[cfg(feature = "test")]
            Kind::NotLeased(refusal) => write!(formatter, "{refusal}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fact(formatter)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(formatter, "\n  caused by: {}", words(error))?;
            cause = error.source();
        }
        match self.hint() {
            Some(hint) => write!(formatter, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.driver_error().map(|error| error as &(dyn StdError + 'static))
    }
}

/// So that `?` works where the driver's errors are used; [`Error::within`] finds it again.
impl From<Error> for sqlx::Error {
    fn from(error: Error) -> Self {
        match *error.0 {
            Kind::Statement { source, .. } => source,
            Kind::Connect { target, source, .. } => {
                Self::AnyDriverError(Box::new(Error(Box::new(Kind::Connect { target, source, says_why: true }))))
            }
            Kind::InDoubt { source, .. } => {
                Self::AnyDriverError(Box::new(Error(Box::new(Kind::InDoubt { source, says_why: true }))))
            }
            kind => Self::AnyDriverError(Box::new(Error(Box::new(kind)))),
        }
    }
}

/// Sessions that were still open when the time to close was over. The server was told to end each of them.
///
/// Shown by `{:?}`, as `unwrap` and `expect` show it, with a hint.
pub struct Leaks {
    pub(crate) target: String,
    pub(crate) waited: Duration,
    pub(crate) sessions: Vec<OpenSession>,
}

impl Leaks {
    /// The sessions, the oldest first.
    pub fn sessions(&self) -> &[OpenSession] {
        &self.sessions
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, waited) = (self.sessions.len(), seconds(self.waited));
        let (sessions, were) = if count == 1 { ("session", "was") } else { ("sessions", "were") };
        write!(formatter, "{count} {sessions} of `{}` {were} still open after {waited}", self.target)?;
        for session in &self.sessions {
            write!(formatter, "\n{session}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Leaks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{self}\nhint: drop each session, or await the task that owns it, before the engine is closed"
        )
    }
}

impl StdError for Leaks {}
