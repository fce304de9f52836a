//! What a test's arguments are made from, and how they end.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use freshdb_databases::Kind;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::arguments::{Lease, Ledger};
use super::reuse::Reuse;
use crate::runtime::within;

/// Whatever went wrong with an argument.
pub type ArgumentError = Box<dyn StdError + Send + Sync>;

/// What can be an argument of a test: it is made for the test from the database that is leased to it.
///
/// freshdb has these: [`Engine`](crate::Engine) and, with the feature `sea-orm`, `OrmEngine`; `sqlx::MySqlPool`, `sqlx::PgPool` and
/// `sqlx::SqlitePool`; `sea_orm::DatabaseConnection`; and the bare [`Lease`], whose URL any other driver takes. Your own are made of
/// these:
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use freshdb::SqliteEngine;
/// use freshdb::test::{ArgumentError, Context, FromContext};
///
/// struct App {
///     engine: SqliteEngine,
///     address: std::net::SocketAddr,
/// }
///
/// impl FromContext for App {
///     async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
///         let engine: SqliteEngine = context.get().await?;
///         let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
///         let address = listener.local_addr()?;
///         let server = tokio::spawn(async move { drop(listener.accept().await) });
///         // Runs when the test has ended, however it has.
///         context.on_end("the server", async move {
///             server.abort();
///             Ok(())
///         });
///         Ok(Self { engine, address })
///     }
/// }
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a test",
    label = "freshdb does not know how to make a `{Self}` for a test",
    note = "arguments are engines (`freshdb::PgEngine`, …), the pools of sqlx 0.9 (`sqlx::PgPool`, …), `DatabaseConnection` of SeaORM 2.0, \
            those of them for which freshdb's features name the engine, or `sea-orm`; the bare `freshdb::test::Lease`, and types of yours \
            that implement `freshdb::test::FromContext`"
)]
pub trait FromContext: Sized {
    /// Makes one. What must be done when the test has ended goes to [`Context::on_end`].
    ///
    /// # Errors
    ///
    /// If it cannot be made. The test fails, and says so.
    fn from_context(context: &mut Context) -> impl Future<Output = Result<Self, ArgumentError>>;
}

/// An argument that could not be made.
#[derive(Debug)]
pub struct BuildError {
    pub(crate) argument: &'static str,
    pub(crate) cause: ArgumentError,
}

impl fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot make the argument `{}`", self.argument)
    }
}

impl StdError for BuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}

/// What a test's arguments are made from: its database, and what was made already.
pub struct Context {
    test: String,
    lease: Lease,
    made: HashMap<TypeId, Box<dyn Any>>,
    endings: Vec<Ending>,
    pub(super) ledgers: Vec<Ledger>,
    /// Where a test's connections may come from an earlier one.
    pub(super) reuse: Option<Reuse>,
    /// Whether all arguments were made.
    pub(super) body_has_begun: bool,
}

/// What is to be done when the test has ended.
struct Ending {
    what: String,
    work: LocalBoxFuture<'static, Result<(), ArgumentError>>,
}

/// Something that did not end well: what, and why.
#[derive(Debug)]
pub(crate) struct EndingFailed {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Context {
    pub(crate) fn new(test: String, lease: Lease, reuse: Option<Reuse>) -> Self {
        Self {
            test,
            lease,
            made: HashMap::new(),
            endings: Vec::new(),
            ledgers: Vec::new(),
            reuse,
            body_has_begun: false,
        }
    }

    /// Makes an argument, such as one that another is made of.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    ///
    /// # Cancellation
    ///
    /// As that of the argument.
    pub async fn get<Argument: FromContext>(&mut self) -> Result<Argument, BuildError> {
        let made = Argument::from_context(self).await;
        made.map_err(|cause| BuildError { argument: type_name::<Argument>(), cause })
    }

    /// The database.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        self.lease.kind()
    }

    /// The test's name, as in `tags::create::mysql`.
    pub fn test(&self) -> &str {
        &self.test
    }

    /// Has something done when the test has ended, however it has: what was made last ends first. An error fails the test, under the name
    /// `what`.
    ///
    /// It is polled on the test's runtime, after the test's own arguments were dropped, and may take twice the test's grace: what waits for as
    /// long as that itself can then say for what.
    pub fn on_end(&mut self, what: impl Into<String>, work: impl Future<Output = Result<(), ArgumentError>> + 'static) {
        self.endings.push(Ending { what: what.into(), work: Box::pin(work) });
    }

    /// What was made for whoever asked first in this test.
    pub(super) fn made<T: Clone + 'static>(&self) -> Option<T> {
        self.made.get(&TypeId::of::<T>()).and_then(|made| made.downcast_ref::<T>()).cloned()
    }

    /// One for all who ask for it in this test.
    pub(super) fn shared<T: Clone + 'static>(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<T, ArgumentError>,
    ) -> Result<T, ArgumentError> {
        if let Some(made) = self.made() {
            return Ok(made);
        }
        let new = make(self)?;
        self.made.insert(TypeId::of::<T>(), Box::new(new.clone()));
        Ok(new)
    }

    /// How much there is to end.
    pub(super) fn endings(&self) -> usize {
        self.endings.len()
    }

    /// Ends what was made, the last first, each within `limit`. One that panics does not keep the others from ending.
    pub(super) async fn end(&mut self, limit: Duration) -> Vec<EndingFailed> {
        let mut failed = Vec::new();
        while let Some(Ending { what, work }) = self.endings.pop() {
            let ended = within(limit, AssertUnwindSafe(work).catch_unwind()).await;
            let why = match ended {
                Some(Ok(Ok(()))) => continue,
                Some(Ok(Err(error))) => super::report::with_causes(&*error),
                Some(Err(_)) => "it panicked".to_owned(),
                None => format!("it took longer than {}", crate::registry::time_limit(limit)),
            };
            failed.push(EndingFailed { what, why });
        }
        failed
    }

    /// Lets go of what was made to be shared.
    pub(super) fn forget_made(&mut self) {
        self.made.clear();
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").field("test", &self.test).field("lease", &self.lease).finish_non_exhaustive()
    }
}
