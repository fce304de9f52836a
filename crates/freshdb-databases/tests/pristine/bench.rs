//! Where scripts are tried: a pool of one database, so that the next lease has what the last one left.

use std::sync::Arc;
use std::time::Duration;

use freshdb_databases::{DatabaseUrl, Error, Lease, Pool, ResetReport, Server};
use test_support::Engine;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::dirt;
use crate::dump::{self, Dump, Tool};
use crate::owner::{self, Owner};
use crate::script::{Ending, SESSIONS, Script, Step};
use crate::session::{Session, Tally};

/// No reset and no copy of these few tables takes this long.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    server: Server,
    pool: Pool,
    estate: Estate,
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

/// Where databases are left behind: a checkout in which there is one process at a time, so that the next one finds what was left there.
pub(crate) type Estate = Arc<Mutex<String>>;

/// What became of the databases.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) untouched: u32,
    pub(crate) put_back: u32,
    pub(crate) replaced: u32,
    /// Of these the reset itself failed.
    pub(crate) failed: u32,
    pub(crate) sessions_ended: usize,
    /// How many were left behind by a process that was killed, and of these how many were found and put back in place.
    pub(crate) left: u32,
    pub(crate) found: u32,
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
            left: self.left + other.left,
            found: self.found + other.found,
            reset: self.reset + other.reset,
        }
    }
}

impl Bench {
    pub(crate) async fn open(
        engine: Engine,
        server: Server,
        checkout: &str,
        estate: Estate,
        tool: Arc<Tool>,
        reference: Arc<Dump>,
        tally: Tally,
    ) -> Self {
        let pool = owner::pool(engine, server.clone(), checkout).await;
        let tag = format!("tag_{}_{:08x}", std::process::id(), fastrand::u32(..));
        let (lease, counts) = (None, Counts::default());
        Self { engine, server, pool, estate, tool, reference, tally, lease, tag, tried: 0, counts }
    }

    /// Dumps a lease that nobody has touched.
    pub(crate) async fn dump(&mut self) -> Result<Dump, String> {
        let lease = self.take_lease().await?;
        let dumped = self.tool.dump(lease.url(), lease.name()).await;
        self.lease = Some(lease);
        dumped
    }

    /// Does to a lease what the script says, and looks at the next one.
    pub(crate) async fn try_script(&mut self, script: &Script) -> Result<(), String> {
        self.tried += 1;
        let tag = format!("{}_{}", self.tag, self.tried);
        if script.killed { self.try_killed(script, &tag).await } else { self.try_given_back(script, &tag).await }
    }

    async fn try_given_back(&mut self, script: &Script, tag: &str) -> Result<(), String> {
        let lease = self.take_lease().await?;
        let leaked = self.play(lease.url(), script, tag).await;

        let report = timeout(LIMIT, lease.give_back()).await.map_err(|_| "it was not put back in time".to_owned())?;
        let how = self.counts.add(report);

        self.go_on(&leaked).await;
        let lease = self.take_lease().await?;
        self.lease = Some(self.judge(lease, leaked, &how).await?);
        Ok(())
    }

    /// Its own pool has nothing to do with it: what another process left behind, a third one finds.
    async fn try_killed(&mut self, script: &Script, tag: &str) -> Result<(), String> {
        let checkout = self.estate.clone().lock_owned().await;
        let owner = Owner::start(self.engine, self.server.clone(), checkout.clone()).await;
        let leaked = self.play(&owner.database, script, tag).await;
        let name = owner.kill().await;

        let pool = owner::pool(self.engine, self.server.clone(), &checkout).await;
        let lease = timeout(LIMIT, pool.lease()).await.map_err(|_| "there is no lease".to_owned())?;
        let lease = lease.map_err(|error| format!("there is no lease: {error:?}"))?;
        let found = lease.name() == name;
        self.counts.left += 1;
        self.counts.found += u32::from(found);
        self.go_on(&leaked).await;
        let how = if found { "it was found, and put back in place" } else { "what was found was replaced" };
        let lease = self.judge(lease, leaked, how).await?;
        lease.give_back().await.map_err(|error| format!("it could not be put back: {error:?}"))?;
        pool.close().await.map_err(|error| format!("{error:?}"))
    }

    /// Sessions that outlive their lease write into the database that is another's by now.
    async fn go_on(&self, leaked: &[Session]) {
        for session in leaked {
            let sql = dirt::late(self.engine).to_owned();
            session.execute(Step { session: 0, sql, origin: None }).await;
        }
    }

    /// Gives the lease if it is pristine.
    async fn judge(&self, lease: Lease, leaked: Vec<Session>, how: &str) -> Result<Lease, String> {
        let found = self.tool.dump(lease.url(), lease.name()).await;
        for session in leaked {
            session.drop_it().await;
        }
        let error = match found {
            Err(error) => error,
            Ok(found) if found == *self.reference => return Ok(lease),
            Ok(found) => format!("the next lease differs; {how}\n{}", dump::difference(&self.reference, &found)),
        };
        // What is not pristine must not reach the next script.
        lease.keep("it is not pristine").await.map_err(|error| format!("{error:?}"))?;
        Err(error)
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
    async fn play(&self, database: &DatabaseUrl, script: &Script, tag: &str) -> Vec<Session> {
        let url = database.reveal();
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
