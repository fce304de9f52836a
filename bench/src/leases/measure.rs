//! Taking the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use freshdb_databases::schema::sql;
use freshdb_databases::{Garbage, Pool, ResetReport, Server};
use tokio::runtime::{Builder, Runtime};

use crate::databases::execute;
use crate::engine::Engine;
use crate::failure::{Failure, OrFail, both};
use crate::tables::{tables, touch};

/// A pool whose databases and template are dropped by [`Self::close`].
pub(super) struct House {
    server: Server,
    checkout: String,
    pub(super) pool: Pool,
    tables: usize,
}

impl House {
    pub(super) async fn open(
        engine: Engine,
        server: Server,
        tables_count: usize,
        seed_rows: usize,
    ) -> Result<Self, Failure> {
        let checkout = format!("freshdb-bench {}", std::process::id());
        let schema = sql(tables(engine, tables_count, seed_rows));
        let builder = Pool::builder(server.clone(), schema).checkout(&checkout);
        let pool = builder.limit(8).open().await.or_fail(|| "cannot open a pool of databases".into())?;
        Ok(Self { server, checkout, pool, tables: tables_count })
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        let closed = self.pool.close().await.or_fail(|| "cannot close the pool".into());
        let collected = Garbage::everything().checkout(&self.checkout).collect(&self.server).await;
        both(closed, collected.map(drop).or_fail(|| "cannot drop the databases".into()))
    }

    /// Has as many databases made as are used at once.
    pub(super) async fn warm(&self) -> Result<(), Failure> {
        const DATABASES: usize = 6;

        let mut leases = Vec::new();
        for _ in 0..DATABASES {
            leases.push(self.pool.lease().await.or_fail(|| "no lease".into())?);
        }
        for lease in leases {
            lease.give_back().await.or_fail(|| "a database could not be put back".into())?;
        }
        Ok(())
    }

    /// Two threads test, each with a runtime of its own for every test, and `pause` after what a test does with its database: how long
    /// each lease took, and each test. They end early when it `is_over`.
    pub(super) fn test(
        &self,
        duration: Duration,
        touched: usize,
        pause: Duration,
        is_over: &AtomicBool,
    ) -> Result<(Vec<Duration>, Vec<Duration>), Failure> {
        let deadline = Instant::now() + duration;
        let dirt = touch(self.tables, touched);
        let thread = || -> Result<_, Failure> {
            let (mut leases, mut tests) = (Vec::new(), Vec::new());
            while Instant::now() < deadline && !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                one_thread()?.block_on(async {
                    let asked = Instant::now();
                    let lease = self.pool.lease().await.or_fail(|| "no lease".into())?;
                    leases.push(asked.elapsed());
                    execute(&lease.url().reveal(), &dirt).await?;
                    tokio::time::sleep(pause).await;
                    Ok::<_, Failure>(())
                })?;
                tests.push(began.elapsed());
            }
            Ok((leases, tests))
        };
        thread::scope(|scope| {
            let threads = [scope.spawn(thread), scope.spawn(thread)];
            let (mut leases, mut tests) = (Vec::new(), Vec::new());
            for handle in threads {
                let (some_leases, some_tests) = handle.join().map_err(|_| Failure::new("a thread panicked"))??;
                leases.extend(some_leases);
                tests.extend(some_tests);
            }
            Ok((leases, tests))
        })
    }

    /// One after another: what putting back so many touched tables took; and the same when a row of the seed is touched.
    pub(super) async fn put_back(&self, times: usize, what: Touched) -> Result<Vec<ResetReport>, Failure> {
        let dirt = match what {
            Touched::Empty(tables) => touch(self.tables, tables),
            Touched::Seed => "UPDATE seed SET name = 'another' WHERE id = 1".to_owned(),
        };
        let mut reports = Vec::new();
        // The first ones fill caches.
        for time in 0..times + 3 {
            let lease = self.pool.lease().await.or_fail(|| "no lease".into())?;
            execute(&lease.url().reveal(), &dirt).await?;
            let report = lease.give_back().await.or_fail(|| "a database could not be put back".into())?;
            if time >= 3 {
                reports.push(report);
            }
        }
        Ok(reports)
    }
}

/// What a test touches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Touched {
    /// So many tables that are empty in the template.
    Empty(usize),
    /// One row of the seed.
    Seed,
}

fn one_thread() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().or_fail(|| "cannot start a runtime".into())
}
