//! A leased database by itself, for tests that something else runs.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use freshdb_databases::broker::Outcome;
use freshdb_databases::{Error, Kind, Schema};
use tokio::runtime::Handle;

use super::arguments::Lease;
use super::case::Case;
use super::context::{BuildError, Context, FromContext};
use super::guard::{Database, InForce, Permit};
use super::leased::Leased;
use super::report::{Fate, Finding, Kept, Report};
use super::reuse::Reuse;
use super::runtime::StillRunning;
use super::{leftovers, pools};

/// A pristine database for a test that something else runs, such as `#[tokio::test]` or `rstest`: leased when this is made, and looked
/// after when it [ends](Self::end).
///
/// ```
/// use freshdb::SqliteEngine;
/// use freshdb::test::{Guarded, Kind, schema};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut database = Guarded::lease(Kind::Sqlite, schema::sql("CREATE TABLE tags (tag_id TEXT)")).await?;
/// let engine: SqliteEngine = database.get().await?;
/// sqlx::query("INSERT INTO tags VALUES ('Rust')").execute(&engine).await?;
/// drop(engine);
/// database.end().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropped without that, as by a panic, it gives the database back, and whatever is connected to it is ended. What was left open is then not
/// told.
#[must_use = "dropped, the database is given back"]
pub struct Guarded {
    context: Context,
    case: Case,
    database: Database,
    permit: Arc<Permit>,
    in_force: InForce,
    reuse: Option<Reuse>,
    lease: Leased,
}

impl Guarded {
    /// Leases a database of this schema. Until it ends, engines on the current runtime may use no other.
    ///
    /// # Errors
    ///
    /// If there is none to be had.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancellation
    ///
    /// Safe: dropped, the database goes to the next.
    #[track_caller]
    pub fn lease<S: Schema + 'static>(kind: Kind, schema: S) -> impl Future<Output = Result<Self, Arc<Error>>> {
        let place = Location::caller();
        async move {
            let thread = std::thread::current();
            let case = Case { place, ..Case::new(thread.name().unwrap_or("unnamed"), kind) };
            // The pool is a static's, and outlives the lease.
            let lease = pools::lease(&case, Box::new(schema)).await?;
            let database = Database::of(lease.name(), lease.url());
            let permit = Permit::new(case.name.clone(), database.clone(), Vec::new());
            let in_force = permit.enforce(Handle::current().id());
            let reuse = Reuse::begin(pools::config()?, &lease);
            let context = Context::new(case.name.clone(), Lease::of(&lease), reuse.clone());
            Ok(Self { context, case, database, permit, in_force, reuse, lease })
        }
    }

    /// Makes what an argument of this type would be.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    ///
    /// # Cancellation
    ///
    /// As that of the argument.
    pub async fn get<Argument: FromContext>(&mut self) -> Result<Argument, BuildError> {
        self.context.get().await
    }

    /// The database.
    pub fn database(&self) -> &Lease {
        self.context.lease()
    }

    /// Ends what was made, waits for what is open, at most for two seconds, and gives the database back. Drop your own engines and
    /// pools before.
    ///
    /// # Errors
    ///
    /// If something was left open, or did not end well. The error says where it was opened.
    ///
    /// # Cancellation
    ///
    /// The database is given back all the same.
    pub async fn end(self) -> Result<(), Leftovers> {
        let Self { mut context, case, database, permit, in_force, reuse, lease } = self;
        let grace: Duration = case.grace;
        let failed = context.end(case.limit_of_endings()).await;
        let tasks = || Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks());
        let left = leftovers::collect(&database, context, grace, tasks).await;
        drop(in_force);
        let mut findings: Vec<Finding> = failed.into_iter().map(Finding::EndingFailed).collect();
        let tasks = tasks();
        if tasks > 0 {
            let running = StillRunning { tasks, spawned_at: Vec::new() };
            findings.push(Finding::Tasks { running, waited: left.waited });
        }
        findings.extend(std::mem::take(&mut *permit.refused()).into_iter().map(Finding::Refused));
        let mut left = left;
        match super::supervisor::strangers(&lease, &left, grace).await {
            Ok(strangers) => left.take_up(strangers),
            Err(error) => {
                left.take_up_unseen();
                findings.push(Finding::ServerDidNotTell(error));
            }
        }
        findings.extend(Finding::of_left(left));
        super::census::strike_off(&database);
        match reuse {
            Some(reuse) if findings.is_empty() => reuse.give_back(lease, Outcome::Passed),
            Some(reuse) => {
                reuse.forget();
                reuse.give_back(lease, Outcome::Failed);
            }
            None => drop(lease),
        }
        if findings.is_empty() {
            return Ok(());
        }
        let fate = Fate { wrote: None, kept: Kept::NotWanted };
        let report = Report { case: &case, database: &database, findings: &findings, panicked: false, fate };
        Err(Leftovers(report.to_string()))
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Guarded").field(&self.lease).finish()
    }
}

/// What a test left open: see [`Guarded::end`].
pub struct Leftovers(String);

impl fmt::Display for Leftovers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// As `unwrap` and `?` show it.
impl fmt::Debug for Leftovers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl std::error::Error for Leftovers {}
