//! What is compared: an engine and a plain pool, doing the same.

use std::time::{Duration, Instant};

use freshdb::{Dialect, Engine, EngineOptions};
use sqlx::pool::PoolOptions;
use sqlx::{Executor, IntoArguments, Pool};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::failure::{Failure, OrFail};

/// Connections of each contender's pool.
const CONNECTIONS: u32 = 4;

/// Operations in one measurement.
const BATCH: u32 = 200;

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// freshdb's engine, its connections on its own runtime.
    Engine,
    /// The same, bound to the caller's runtime.
    BoundEngine,
    /// sqlx's pool, with its default settings: each connection is asked whether it lives before it is used, and when it
    /// comes back.
    Sqlx,
    /// sqlx's pool, told not to ask before.
    SqlxNoPing,
}

impl Contender {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::BoundEngine => "engine, bound",
            Self::Sqlx => "sqlx",
            Self::SqlxNoPing => "sqlx, no ping",
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Acquire, `SELECT 1`, release.
    Cycle,
    /// `SELECT 1` on a session that is held.
    Held,
}

impl Operation {
    pub(super) const ALL: [Self; 2] = [Self::Cycle, Self::Held];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::Held => "held",
        }
    }
}

/// From what kind of runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    CurrentThread,
    MultiThread,
}

impl Flavor {
    pub(super) const ALL: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current-thread",
            Self::MultiThread => "multi-thread",
        }
    }

    fn build(self) -> Result<Runtime, Failure> {
        let mut builder = match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::MultiThread => Builder::new_multi_thread(),
        };
        builder.worker_threads(2).enable_all().build().or_fail(|| "cannot start a runtime".into())
    }

    /// An engine is not bound to a runtime that stands still when nobody drives it.
    pub(super) fn contenders(self) -> &'static [Contender] {
        match self {
            Self::CurrentThread => &[Contender::Sqlx, Contender::SqlxNoPing, Contender::Engine],
            Self::MultiThread => &[Contender::Sqlx, Contender::SqlxNoPing, Contender::Engine, Contender::BoundEngine],
        }
    }
}

/// Measures every contender in turn, again and again, so that each meets the machine in all of its moods. Gives the time
/// of one operation in each of the batches, in microseconds, contender by contender.
pub(super) fn measure<DB>(
    url: &str,
    flavor: Flavor,
    operation: Operation,
    duration: Duration,
) -> Result<Vec<(Contender, Vec<f64>)>, Failure>
where
    DB: Dialect,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    let runtime = flavor.build()?;
    let mut running = Vec::new();
    for &contender in flavor.contenders() {
        let started = runtime.block_on(Running::<DB>::start(contender, url, runtime.handle()));
        running.push((contender, started.or_fail(|| format!("cannot start `{}`", contender.name()))?, Vec::new()));
    }
    let started = Instant::now();
    let mut warm = false;
    while started.elapsed() < duration {
        for (contender, running, times) in &mut running {
            let batch = running.clone().batch(operation);
            // As a service does it: in a task, and not on the thread that waits for the runtime.
            let took = match flavor {
                Flavor::CurrentThread => runtime.block_on(batch),
                Flavor::MultiThread => runtime.block_on(runtime.spawn(batch)).or_fail(|| "a task failed".into())?,
            };
            let took = took.or_fail(|| format!("`{}` failed", contender.name()))?;
            if warm {
                times.push(took.as_secs_f64() * 1e6 / f64::from(BATCH));
            }
        }
        warm = true;
    }
    let mut measured = Vec::new();
    for (contender, running, times) in running {
        runtime.block_on(running.close()).or_fail(|| format!("`{}` did not close", contender.name()))?;
        measured.push((contender, times));
    }
    Ok(measured)
}

enum Running<DB: Dialect> {
    Engine(Engine<DB>),
    Sqlx(Pool<DB>),
}

impl<DB: Dialect> Clone for Running<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::Engine(engine) => Self::Engine(engine.clone()),
            Self::Sqlx(pool) => Self::Sqlx(pool.clone()),
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl<DB> Running<DB>
where
    DB: Dialect,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    async fn start(contender: Contender, url: &str, runtime: &Handle) -> Result<Self, AnyError> {
        let options = EngineOptions::new().max_connections(CONNECTIONS).echo(false);
        let pool = PoolOptions::<DB>::new().max_connections(CONNECTIONS);
        Ok(match contender {
            Contender::Engine => Self::Engine(options.lazy(url)?),
            Contender::BoundEngine => Self::Engine(options.runtime(runtime.clone()).lazy(url)?),
            Contender::Sqlx => Self::Sqlx(pool.connect_with(quiet::<DB>(url)?).await?),
            Contender::SqlxNoPing => Self::Sqlx(pool.test_before_acquire(false).connect_with(quiet::<DB>(url)?).await?),
        })
    }

    async fn batch(self, operation: Operation) -> Result<Duration, AnyError> {
        const ONE: &str = "SELECT 1";

        let started;
        match (self, operation) {
            (Self::Engine(engine), Operation::Cycle) => {
                started = Instant::now();
                for _ in 0..BATCH {
                    let mut session = engine.session().await?;
                    sqlx::query(ONE).fetch_one(&mut session).await?;
                }
            }
            (Self::Engine(engine), Operation::Held) => {
                let mut session = engine.session().await?;
                started = Instant::now();
                for _ in 0..BATCH {
                    sqlx::query(ONE).fetch_one(&mut session).await?;
                }
            }
            (Self::Sqlx(pool), Operation::Cycle) => {
                started = Instant::now();
                for _ in 0..BATCH {
                    let mut connection = pool.acquire().await?;
                    sqlx::query(ONE).fetch_one(&mut *connection).await?;
                }
            }
            (Self::Sqlx(pool), Operation::Held) => {
                let mut connection = pool.acquire().await?;
                started = Instant::now();
                for _ in 0..BATCH {
                    sqlx::query(ONE).fetch_one(&mut *connection).await?;
                }
            }
        }
        Ok(started.elapsed())
    }

    async fn close(self) -> Result<(), AnyError> {
        match self {
            Self::Engine(engine) => Ok(engine.close(Duration::from_secs(5)).await?),
            Self::Sqlx(pool) => {
                pool.close().await;
                Ok(())
            }
        }
    }
}

/// Neither contender's driver logs its statements.
fn quiet<DB: sqlx::Database>(url: &str) -> Result<<DB::Connection as sqlx::Connection>::Options, sqlx::Error> {
    use sqlx::ConnectOptions as _;

    let options: <DB::Connection as sqlx::Connection>::Options = url.parse()?;
    Ok(options.disable_statement_logging())
}
