//! Where scripts are tried: a pool of one database, so that the next lease has what the last one left.

use std::sync::Arc;
use std::time::Duration;

use freshdb_databases::schema::SqlText;
use freshdb_databases::{Error, Lease, Pool, ResetReport, Server};
use test_support::Engine;
use tokio::time::timeout;

use crate::dirt;
use crate::dump::{self, Dump, Tool};
use crate::script::{Ending, SESSIONS, Script, Step};
use crate::session::{Session, Tally};

/// No reset and no copy of these few tables takes this long.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pool: Pool,
    tool: Arc<Tool>,
    /// What every lease must hold.
    reference: Arc<Dump>,
    tally: Tally,
    lease: Option<Lease>,
    /// Tells its scripts from those of others.
    tag: String,
    tried: u32,
    pub(crate) counts: Counts,
}

/// What became of the databases.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) untouched: u32,
    pub(crate) put_back: u32,
    pub(crate) replaced: u32,
    /// Of these the reset itself failed.
    pub(crate) failed: u32,
    pub(crate) sessions_ended: usize,
    pub(crate) reset: Duration,
}

impl Counts {
    /// Says how it went.
    fn add(&mut self, report: Result<ResetReport, Error>) -> String {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                // As after a session that was ended in the middle of an ALTER TABLE, which left half a table.
                self.failed += 1;
                println!("a database could not be put back, and had to be replaced: {error:?}");
                return format!("it could not be put back: {error:?}");
            }
        };
        self.sessions_ended += report.sessions().len();
        self.reset += report.elapsed();
        if let Some(why) = report.changed() {
            self.replaced += 1;
            return format!("it was replaced: {why}");
        }
        match report.touched() {
            Some(0) => self.untouched += 1,
            _ => self.put_back += 1,
        }
        "it was put back in place".to_owned()
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            untouched: self.untouched + other.untouched,
            put_back: self.put_back + other.put_back,
            replaced: self.replaced + other.replaced,
            failed: self.failed + other.failed,
            sessions_ended: self.sessions_ended + other.sessions_ended,
            reset: self.reset + other.reset,
        }
    }
}

impl Bench {
    pub(crate) async fn open(
        engine: Engine,
        server: Server,
        checkout: &str,
        schema: SqlText,
        tool: Arc<Tool>,
        reference: Arc<Dump>,
        tally: Tally,
    ) -> Self {
        let pool = Pool::builder(server, schema).checkout(checkout).limit(1).open().await.expect("a pool");
        let tag = format!("tag_{}_{:08x}", std::process::id(), fastrand::u32(..));
        Self { engine, pool, tool, reference, tally, lease: None, tag, tried: 0, counts: Counts::default() }
    }

    /// Dumps a lease that nobody has touched.
    pub(crate) async fn dump(&mut self) -> Result<Dump, String> {
        let lease = self.take_lease().await?;
        let dumped = self.tool.dump(lease.url(), lease.name()).await;
        self.lease = Some(lease);
        dumped
    }

    /// Does to a lease what the script says, gives it back, and looks at the next one.
    pub(crate) async fn try_script(&mut self, script: &Script) -> Result<(), String> {
        self.tried += 1;
        let tag = format!("{}_{}", self.tag, self.tried);
        let lease = self.take_lease().await?;
        let leaked = self.play(&lease, script, &tag).await;

        let report = timeout(LIMIT, lease.give_back()).await.map_err(|_| "it was not put back in time".to_owned())?;
        let how = self.counts.add(report);

        for session in &leaked {
            let sql = dirt::late(self.engine).to_owned();
            session.execute(Step { session: 0, sql, origin: None }).await;
        }
        let lease = self.take_lease().await?;
        let found = self.tool.dump(lease.url(), lease.name()).await;
        for session in leaked {
            session.drop_it().await;
        }
        let verdict = match found {
            Err(error) => Err(error),
            Ok(found) if found == *self.reference => Ok(()),
            Ok(found) => Err(format!("the next lease differs; {how}\n{}", dump::difference(&self.reference, &found))),
        };
        match verdict {
            Ok(()) => self.lease = Some(lease),
            // What is not pristine must not reach the next script.
            Err(_) => drop(lease.keep("it is not pristine").await.map_err(|error| format!("{error:?}"))?),
        }
        verdict
    }

    /// Closes the pool.
    pub(crate) async fn close(self) {
        if let Some(lease) = self.lease {
            lease.give_back().await.expect("put back");
        }
        self.pool.close().await.expect("closed");
    }

    async fn take_lease(&mut self) -> Result<Lease, String> {
        if let Some(lease) = self.lease.take() {
            return Ok(lease);
        }
        let lease = timeout(LIMIT, self.pool.lease()).await.map_err(|_| "there is no lease".to_owned())?;
        lease.map_err(|error| format!("there is no lease: {error:?}"))
    }

    /// Gives the sessions that are still there.
    async fn play(&self, lease: &Lease, script: &Script, tag: &str) -> Vec<Session> {
        let url = lease.url().reveal();
        let mut sessions: [Option<Session>; SESSIONS] = Default::default();
        for step in &script.steps {
            let place = &mut sessions[step.session];
            if place.is_none() {
                *place = Some(Session::open(self.engine, &url, tag, &self.tally).await);
            }
            place.as_ref().expect("a session").execute(step.clone()).await;
        }
        let mut leaked = Vec::new();
        for (session, ending) in sessions.into_iter().zip(script.endings) {
            let Some(session) = session else { continue };
            match ending {
                Ending::Closed => session.close().await,
                Ending::Dropped => session.drop_it().await,
                Ending::Leaked => leaked.push(session),
            }
        }
        leaked
    }
}
