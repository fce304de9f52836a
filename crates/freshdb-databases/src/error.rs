//! What goes wrong with databases: the fact, its cause, and a hint apart.

use std::error::Error as StdError;
use std::fmt;

type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// Why there is no database, or why it could not be put back.
///
/// `{}` shows the fact. `{:?}`, as `unwrap` and `expect` show it, adds the causes and, where there is one, a hint.
pub struct Error(Box<Parts>);

struct Parts {
    kind: ErrorKind,
    fact: String,
    source: Option<Cause>,
    hint: Option<String>,
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A URL, a variable, or a setting that cannot be used.
    Config,
    /// There is no server: no program and no URL, or it did not start.
    NoServer,
    /// The server is there and does not answer, or answers no longer.
    Unreachable,
    /// Every database that the pool may have is in use, for longer than one waits.
    Exhausted,
    /// The server has no connection left to give.
    ConnectionsExhausted,
    /// The server refuses what freshdb must be allowed to do.
    Privileges,
    /// The schema could not be applied.
    Schema,
    /// A statement of freshdb's own failed.
    Database,
    /// A file could not be read or written.
    Files,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, fact: impl Into<String>) -> Self {
        Self(Box::new(Parts { kind, fact: fact.into(), source: None, hint: None }))
    }

    /// A schema of which no [`Fingerprint`](crate::Fingerprint) can be taken, for it cannot be read.
    pub fn of_fingerprint(cause: impl Into<Cause>) -> Self {
        Self::new(ErrorKind::Schema, "the schema cannot be read").because(cause)
    }

    pub(crate) fn url(fact: &str) -> Self {
        Self::new(ErrorKind::Config, format!("the database URL {fact}"))
            .hint("write `mysql://user:password@host:3306`, `mariadb://…`, `postgres://…` or `sqlite:///directory`")
    }

    /// With what caused it.
    #[must_use]
    pub(crate) fn because(mut self, source: impl Into<Cause>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// With what can be done about it, where that is no guess.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let mut next = self.source();
        std::iter::from_fn(move || {
            let cause = next?;
            next = cause.source();
            Some(cause)
        })
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What can be done about it, where that is no guess.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The fact with its causes, a line each; and what can be done about it, or about one of them.
    pub fn explained(&self) -> (String, Option<&str>) {
        let text = told(self).join("\n  caused by: ");
        let hint = self.advice().or_else(|| self.causes().find_map(|cause| cause.downcast_ref::<Self>()?.advice()));
        (text, hint)
    }

    /// The driver's error behind it.
    pub fn driver_error(&self) -> Option<&sqlx::Error> {
        self.0.source.as_ref()?.downcast_ref()
    }
}

/// An error and what caused it, but for causes that repeat what was said of them: most of a driver's errors show theirs.
#[doc(hidden)]
pub fn told(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut told = vec![words(error)];
    let mut next = error.source().filter(|_| !is_of_server(error));
    while let Some(cause) = next {
        let words = words(cause);
        if !told.last().is_some_and(|said| said.ends_with(&words)) {
            told.push(words);
        }
        next = cause.source().filter(|_| !is_of_server(cause));
    }
    told
}

/// Whether the driver's error tells all that the server's does.
fn is_of_server(error: &(dyn StdError + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(sqlx::Error::Database(_)))
}

/// What sqlx writes before an error of somebody else's that its types carry, as freshdb's sessions have theirs carried.
const CARRIER: &str = "error in Any driver mapping: ";

/// To an error of PostgreSQL's its driver adds `at line 1188`, which is where in the server's own source it was raised, and is
/// taken for a line of the statement.
fn words(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string().replace(CARRIER, "");
    #[cfg(feature = "postgres")]
    if let Some(said) = of_postgres(error) {
        return text.replace(&said.to_string(), sqlx::error::DatabaseError::message(said));
    }
    text
}

/// What PostgreSQL said, which may be behind the errors of others, who repeat it.
#[cfg(feature = "postgres")]
fn of_postgres<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a sqlx::postgres::PgDatabaseError> {
    let driver = error.downcast_ref::<sqlx::Error>();
    #[cfg(feature = "sea-orm")]
    let driver = driver.or_else(|| match error.downcast_ref() {
        Some(sea_orm::RuntimeErr::SqlxError(error)) => Some(&**error),
        _ => None,
    });
    match driver {
        Some(sqlx::Error::Database(said)) => said.try_downcast_ref(),
        _ => of_postgres(error.source()?),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.fact)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, hint) = self.explained();
        formatter.write_str(&text)?;
        hint.map_or(Ok(()), |hint| write!(formatter, "\nhint: {hint}"))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_an_error_is_not_told() {
        let carried = sqlx::Error::AnyDriverError(Box::new(Error::new(ErrorKind::Exhausted, "no session became free")));
        assert_eq!(told(&carried), ["no session became free"]);
        let error = Error::new(ErrorKind::Schema, "the schema fails").because(carried);
        assert_eq!(told(&error), ["the schema fails", "no session became free"]);
    }
}
