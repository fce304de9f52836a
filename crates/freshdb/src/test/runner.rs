//! One test, from its database to its verdict.

use std::any::Any;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use freshdb_databases::broker::Outcome;
use freshdb_databases::{Config, Schema};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::arguments::Lease;
use super::body::Body;
use super::case::Case;
use super::context::{BuildError, Context, EndingFailed};
use super::guard::{Database, Permit};
use super::leased::Leased;
use super::leftovers::{self, Left};
use super::report::{Fate, Finding, Kept, Report};
use super::reuse::Reuse;
use super::runtime::{Runtime, StillRunning};
use super::supervisor::{self, Progress, Supervised};
use super::{census, pools, report};
use crate::runtime::within;

/// How long it may take to learn what a failed test did to its database.
const COMPARISON_LIMIT: Duration = Duration::from_secs(5);

/// How the body of a test ended.
pub(super) enum Ending {
    Passed,
    /// It returned an error: what `{:?}` shows of it.
    Failed(String),
    Panicked(Box<dyn Any + Send>),
    NotBuilt(BuildError),
    /// An argument panicked when it was made, which is not what `should_panic` is about.
    ArgumentPanicked(Box<dyn Any + Send>),
    TimedOut,
    /// The system gave no runtime.
    NotStarted(std::io::Error),
}

/// What a test's thread reports when it is done.
pub(super) struct Departure {
    pub(super) ending: Ending,
    pub(super) failed_endings: Vec<EndingFailed>,
    pub(super) left: Left,
    pub(super) running: StillRunning,
    /// Threads of `spawn_blocking` that did not end.
    pub(super) blocking_threads: usize,
}

/// Runs a test on a pristine database: what `#[freshdb::test]` expands to, and what a harness of your own calls.
///
/// `body` is an async function, or a closure that returns a future, whose arguments implement
/// [`FromContext`](super::FromContext). It runs on a thread and a runtime of its own. What it leaves open is waited for, for the case's
/// [grace](Case::grace), and then named.
///
/// ```
/// use freshdb::SqliteEngine;
/// use freshdb::test::{Case, Kind, run, schema};
///
/// run(
///     Case::new("a_row_is_stored", Kind::Sqlite),
///     || schema::sql("CREATE TABLE tags (tag_id TEXT PRIMARY KEY)"),
///     async |engine: SqliteEngine| {
///         sqlx::query("INSERT INTO tags VALUES ('Rust')").execute(&engine).await?;
///         Ok::<_, sqlx::Error>(())
///     },
/// );
/// ```
///
/// # Panics
///
/// If the test fails: with the body's own panic where it panicked. The report is printed before. It returns at the latest a few seconds
/// after the case's [timeout](Case::timeout), even if the body blocks its thread for ever; that thread is then left behind.
#[expect(clippy::needless_pass_by_value, reason = "a case is made for one run")]
pub fn run<Arguments: 'static, S, B>(case: Case, schema: impl FnOnce() -> S, body: B)
where
    S: Schema + 'static,
    B: Body<Arguments> + Send + 'static,
{
    // From here on nothing is compiled anew for each test.
    let schema = Box::new(|| Box::new(schema()) as Box<dyn Schema>);
    run_any(&case, schema, Box::new(|context| Box::pin(body.run(context))));
}

/// The body of any test.
type AnyBody = Box<dyn for<'c> FnOnce(&'c mut Context) -> LocalBoxFuture<'c, Run> + Send>;

/// What running it gives: whether its arguments could be made, and then what it returned.
type Run = Result<Result<(), String>, BuildError>;

fn run_any(case: &Case, schema: Box<dyn FnOnce() -> Box<dyn Schema> + '_>, body: AnyBody) {
    let config = pools::config().unwrap_or_else(|error| fail(&report::no_database(case, &error)));
    if config.skips(case.kind) {
        return skip(case);
    }
    let leased = futures_executor::block_on(pools::lease(case, schema()));
    let lease = leased.unwrap_or_else(|error| fail(&report::no_database(case, &error)));

    let database = Database::of(lease.name(), lease.url());
    let reuse = Reuse::begin(config, &lease);
    let permit = Permit::new(case.name.clone(), database.clone(), allowed(case));
    let limit = |endings| longest(case, endings);
    let supervised = {
        let (case, permit, database) = (case.clone(), permit.clone(), database.clone());
        let (lease, reuse) = (Lease::of(&lease), reuse.clone());
        supervisor::supervise(&case.name.clone(), limit, move |progress| {
            live(&case, lease, reuse, &permit, &database, &progress, body)
        })
    };

    let strangers = match &supervised {
        Supervised::Returned(departure) => {
            futures_executor::block_on(supervisor::strangers(&lease, &departure.left, case.grace))
        }
        // Its connections are its own still.
        Supervised::Panicked(_) | Supervised::Blocked { .. } => Ok(Vec::new()),
    };
    let is_left_behind = matches!(supervised, Supervised::Blocked { .. });
    let findings = findings(case, supervised, strangers, &permit, &database);
    census::strike_off(&database);
    let failed = findings.iter().any(|finding| finding.fails(case.leaks));
    let wrote = if failed { write_down(&lease, config, case, &findings, &database) } else { None };
    let kept = hand_back(lease, reuse, failed, is_left_behind, case);
    judge(case, &database, findings, failed, Fate { wrote, kept });
}

/// The test's own thread: its runtime, its arguments, its body, and the end of all that.
fn live(
    case: &Case,
    lease: Lease,
    reuse: Option<Reuse>,
    permit: &std::sync::Arc<Permit>,
    database: &Database,
    progress: &Progress,
    body: AnyBody,
) -> Departure {
    let runtime = match Runtime::start(case) {
        Ok(runtime) => runtime,
        Err(error) => return Departure::of(Ending::NotStarted(error)),
    };
    let in_force = permit.enforce(runtime.handle().id());
    let mut departure = runtime.block_on(async {
        let mut context = Context::new(case.name.clone(), lease, reuse);
        let work = AssertUnwindSafe(body(&mut context)).catch_unwind();
        let ending = match within(case.timeout, work).await {
            None => Ending::TimedOut,
            Some(Err(panic)) if context.body_has_begun => Ending::Panicked(panic),
            Some(Err(panic)) => Ending::ArgumentPanicked(panic),
            Some(Ok(Err(error))) => Ending::NotBuilt(error),
            Some(Ok(Ok(Err(error)))) => Ending::Failed(error),
            Some(Ok(Ok(Ok(())))) => Ending::Passed,
        };
        progress.body_has_ended(context.endings());
        let failed_endings = context.end(case.limit_of_endings()).await;
        let left = leftovers::collect(database, context, case.grace, || runtime.tasks()).await;
        Departure { failed_endings, left, ..Departure::of(ending) }
    });
    departure.running = runtime.still_running();
    departure.blocking_threads = runtime.stop(case.grace);
    drop(in_force);
    departure
}

impl Departure {
    fn of(ending: Ending) -> Self {
        Self {
            ending,
            failed_endings: Vec::new(),
            left: Left::default(),
            running: StillRunning::default(),
            blocking_threads: 0,
        }
    }
}

/// By when the test's thread has answered, unless the test blocks it: its own limits, each of which is kept by that thread. Each of what
/// is to be ended has its limit for itself; what is left open has the grace, and so has the runtime.
fn longest(case: &Case, endings: usize) -> Duration {
    let endings = case.limit_of_endings().saturating_mul(u32::try_from(endings).unwrap_or(u32::MAX));
    let rest = case.grace.saturating_mul(3).saturating_add(Duration::from_secs(2));
    case.timeout.saturating_add(endings).saturating_add(rest)
}

fn allowed(case: &Case) -> Vec<String> {
    case.allowed.iter().map(|url| crate::dialect::target_of(url).unwrap_or_else(|| url.clone())).collect()
}

/// All that is to be said, the body's own failure first.
fn findings(
    case: &Case,
    supervised: Supervised,
    strangers: supervisor::Strangers,
    permit: &Permit,
    database: &Database,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut left = match supervised {
        Supervised::Returned(departure) => {
            let Departure { ending, failed_endings, left, running, blocking_threads } = *departure;
            findings.extend(unmeant(case, ending));
            findings.extend(failed_endings.into_iter().map(Finding::EndingFailed));
            if running.tasks > 0 {
                findings.push(Finding::Tasks { running, waited: left.waited });
            }
            if blocking_threads > 0 {
                findings.push(Finding::BlockingThreads { count: blocking_threads, waited: case.grace });
            }
            left
        }
        Supervised::Panicked(panic) => {
            findings.push(Finding::Panicked(panic));
            Left::default()
        }
        Supervised::Blocked { waited, body_has_ended } => {
            findings.push(if body_has_ended {
                Finding::EndIsBlocked { waited }
            } else {
                Finding::TimedOut { limit: case.timeout, is_blocked: true }
            });
            Left { sessions: supervisor::open_sessions(database), ..Left::default() }
        }
    };
    match strangers {
        Ok(strangers) => left.take_up(strangers),
        Err(error) => {
            left.take_up_unseen();
            findings.push(Finding::ServerDidNotTell(error));
        }
    }
    let refused = std::mem::take(&mut *permit.refused());
    findings.extend(refused.into_iter().map(Finding::Refused));
    findings.extend(Finding::of_left(left));
    findings
}

/// What there is to say of how the body ended, unless it was meant to. A panic is judged here and not by the harness, which would take
/// every failure of the test for the one that was expected.
fn unmeant(case: &Case, ending: Ending) -> Option<Finding> {
    Some(match (ending, &case.expected_panic) {
        (Ending::Passed, None) => return None,
        (Ending::Passed, Some(_)) => Finding::DidNotPanic,
        (Ending::Panicked(panic), None) | (Ending::ArgumentPanicked(panic), _) => Finding::Panicked(panic),
        (Ending::Panicked(panic), Some(expected)) => {
            let said = report::message_of(&*panic);
            if expected.is_empty() || said.is_some_and(|said| said.contains(expected)) {
                return None;
            }
            Finding::PanickedOtherwise { said: said.map(str::to_owned), expected: expected.clone() }
        }
        (Ending::Failed(error), _) => Finding::Failed(error),
        (Ending::NotBuilt(error), _) => Finding::NotBuilt(error),
        (Ending::TimedOut, _) => Finding::TimedOut { limit: case.timeout, is_blocked: false },
        (Ending::NotStarted(error), _) => Finding::NotStarted(error),
    })
}

/// What the test did to its database, for `freshdb diff` to show when that is gone.
fn write_down(
    lease: &Leased,
    config: &Config,
    case: &Case,
    findings: &[Finding],
    database: &Database,
) -> Option<String> {
    let (leaks, failures): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.is_leak());
    let said = |findings: Vec<&Finding>| -> Vec<String> {
        findings.into_iter().map(|finding| finding.said_of("it", database)).collect()
    };
    let (failure, leaks) = (said(failures).join("\n"), said(leaks));
    // What a session that was left open has locked is not waited for.
    let told = within(COMPARISON_LIMIT, lease.tell_failure(config, &case.name, &failure, &leaks));
    match futures_executor::block_on(told) {
        Some(Ok(wrote)) => wrote,
        Some(Err(error)) => Some(format!("not known: {}", report::with_causes(&error).replace('\n', "; "))),
        None => Some(format!("not known in {COMPARISON_LIMIT:?}")),
    }
}

/// Gives the database back. One of a test that failed is kept, where its server outlives this process; and so is, wherever it is, one
/// that a thread which was left behind may write to and close engines on at any time: it is nobody else's again.
fn hand_back(lease: Leased, reuse: Option<Reuse>, failed: bool, is_left_behind: bool, case: &Case) -> Kept {
    let lives_on = !lease.ends_with_the_tests();
    let outcome = if failed { Outcome::Failed } else { Outcome::Passed };
    if failed && let Some(reuse) = &reuse {
        reuse.forget();
    }
    if failed && lives_on || is_left_behind {
        let url = lease.url().to_string();
        match futures_executor::block_on(lease.keep(&case.name, outcome)) {
            Ok(()) if lives_on => Kept::At(url),
            Ok(()) => Kept::Not(case.kind),
            Err(error) => Kept::Failed(error),
        }
    } else {
        // Others go on while it is put back; but where this process ends with the test, the next one would find it as it is.
        if let Some(reuse) = reuse {
            reuse.give_back(lease, outcome);
        } else if let Err(error) = futures_executor::block_on(lease.give_back_for_good(outcome)) {
            tracing::warn!("the database of `{}` was not put back: {error:?}", case.name);
        }
        if failed { Kept::Not(case.kind) } else { Kept::NotWanted }
    }
}

/// Prints the report, and fails the test if it has failed.
fn judge(case: &Case, database: &Database, mut findings: Vec<Finding>, failed: bool, fate: Fate) {
    // Its message was printed when it panicked.
    let panic = findings.extract_if(.., |finding| matches!(finding, Finding::Panicked(_))).next();
    let panic = panic.and_then(Finding::into_panic);
    if findings.is_empty() && panic.is_none() {
        return;
    }
    let is_all = findings.is_empty();
    let report = Report { case, database, findings: &findings, panicked: panic.is_some(), fate };
    match (failed, panic) {
        (false, _) => warn(&report.to_string()),
        (true, Some(panic)) if is_all => {
            if let Some(note) = report.note() {
                eprintln!("{note}");
            }
            resume_unwind(panic)
        }
        (true, Some(panic)) => {
            eprintln!("{report}");
            resume_unwind(panic)
        }
        (true, None) => fail(&report.to_string()),
    }
}

/// Fails the test with this report, which the harness shows.
fn fail(report: &str) -> ! {
    eprintln!("{report}");
    // Not by `panic!`: the hook would say once more what has been said, and that it was said here.
    resume_unwind(Box::new("see the report above"))
}

/// Past the harness, which hides what a test that passes prints.
fn warn(text: &str) {
    // Where standard error is closed there is nobody to be warned.
    drop(writeln!(std::io::stderr(), "{text}"));
}

fn skip(case: &Case) {
    let variable = freshdb_databases::variables::SKIP;
    warn(&format!("warning: test `{}` was SKIPPED: {variable} names {}", case.name, case.kind.name()));
}
