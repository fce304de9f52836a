//! Connections that go from one test to the next on the same database, which spares that the most of its time.
//!
//! A connection is kept if every statement that it ever executed only read and wrote rows, and its session could be made as good as a new
//! one. Only those of engines that tests are given: others are made by options of which nothing is known.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use freshdb_databases::Config;
use freshdb_databases::broker::Outcome;

use super::leased::Leased;
use crate::dialect::Backend;
use crate::lease::{Live, bounded};
use crate::runtime::spawn;

/// One test's share in the connections to its database.
#[derive(Clone, Debug)]
pub(crate) struct Reuse {
    database: Arc<str>,
    /// Which of the tests on that database it is: what comes back too late for one is not the next one's.
    test: u64,
}

/// The connections to one database.
struct Kept {
    /// The test that has the database now; nobody, between two.
    test: Option<u64>,
    connections: Vec<Connection>,
    since: Instant,
}

/// A connection of whatever driver: a [`Live`].
struct Connection {
    id: u64,
    live: Box<dyn Any + Send>,
}

/// How long a session may take to become as good as new.
const RENEWAL: Duration = Duration::from_secs(1);

/// What nobody has asked for in this time is closed. Its database is gone, or will wait for longer than it takes to connect.
const LONGEST: Duration = Duration::from_secs(20);

static KEPT: LazyLock<Mutex<HashMap<Arc<str>, Kept>>> = LazyLock::new(Mutex::default);

impl Reuse {
    /// A test has this database. What was kept from the one before is this one's. A process that ends with its test has no next one.
    pub(super) fn begin(config: &Config, lease: &Leased) -> Option<Self> {
        static TESTS: AtomicU64 = AtomicU64::new(0);

        if config.is_process_per_test() {
            return None;
        }
        let (database, test) = (Arc::from(lease.name()), TESTS.fetch_add(1, Ordering::Relaxed));
        let reuse = Self { database, test };
        let old = with(|kept| {
            let old: Vec<Kept> = kept
                .extract_if(|other, kept| {
                    *other != reuse.database && kept.test.is_none() && kept.since.elapsed() > LONGEST
                })
                .map(|(_, kept)| kept)
                .collect();
            let kept = kept.entry(reuse.database.clone()).or_insert_with(Kept::nothing);
            kept.test = Some(test);
            old
        });
        drop(old);
        Some(reuse)
    }

    /// A connection of an earlier test's, if one is left.
    pub(crate) fn take<DB: Backend>(&self) -> Option<Live<DB>> {
        let connection = self.with(|kept| {
            let fits = |connection: &Connection| connection.live.is::<Live<DB>>();
            kept.connections.iter().rposition(fits).map(|at| kept.connections.swap_remove(at))
        })??;
        let mut live = *connection.live.downcast::<Live<DB>>().ok()?;
        live.idle_since = Instant::now();
        Some(live)
    }

    /// Keeps those that can be used again, and gives back the others.
    pub(crate) async fn keep<DB: Backend>(&self, idle: Vec<Live<DB>>) -> Vec<Live<DB>> {
        let mut others = Vec::new();
        for mut live in idle {
            if !live.is_plain {
                others.push(live);
                continue;
            }
            match (live.id, bounded(RENEWAL, DB::renew(&mut live.connection, live.is_reused)).await) {
                (Some(id), Ok(true)) => {
                    live.is_reused = true;
                    let connection = Connection { id, live: Box::new(live) };
                    self.with(|kept| kept.connections.push(connection));
                }
                // It may be in the middle of an answer.
                (_, Err(error)) => tracing::debug!(%error, "a session could not be renewed"),
                (_, Ok(_)) => others.push(live),
            }
        }
        others
    }

    /// How the server calls the connections that are kept for the next test.
    pub(super) fn connections(&self) -> Vec<u64> {
        self.with(|kept| kept.connections.iter().map(|connection| connection.id).collect()).unwrap_or_default()
    }

    /// The test has ended, and gives its database back. One that cannot be put back is dropped, and has no next test.
    pub(super) fn give_back(self, lease: Leased, outcome: Outcome) {
        let staying = self.connections();
        self.with(|kept| {
            kept.test = None;
            kept.since = Instant::now();
        });
        let given_back = lease.give_back_with(outcome, staying);
        let follow = async move {
            if !given_back.await {
                self.forget();
            }
        };
        if let Err(error) = spawn(follow) {
            tracing::debug!("nobody follows a database on its way back: {error}");
        }
    }

    /// The test has ended, and there will be no other on its database.
    pub(super) fn forget(&self) {
        drop(with(|kept| kept.remove(&self.database)));
    }

    /// Nothing, if another test has the database now.
    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        with(|kept| kept.get_mut(&self.database).filter(|kept| kept.test == Some(self.test)).map(work))
    }
}

impl Kept {
    fn nothing() -> Self {
        Self { test: None, connections: Vec::new(), since: Instant::now() }
    }
}

/// Works under the lock. What `work` takes out, it returns: a connection is dropped outside.
fn with<T>(work: impl FnOnce(&mut HashMap<Arc<str>, Kept>) -> T) -> T {
    work(&mut KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(all(test, feature = "sea-orm"))]
mod tests {
    use std::sync::mpsc;

    use sea_orm::ConnectionTrait as _;
    use test_support::eventually;

    use super::with;
    use crate::OrmEngine;
    use crate::test::{Case, Kind, Lease, run, schema};

    /// One whose schema was altered is dropped. Nobody would ever ask for what is kept of it.
    fn nothing_is_kept_of_a_database_that_is_dropped(kind: Kind) {
        let (tell, told) = mpsc::channel();
        let schema = || schema::sql("CREATE TABLE altered (id INT)");
        run(Case::new("alters", kind), schema, async move |engine: OrmEngine, lease: Lease| {
            let (plain, other) = (engine.session().await.expect("one"), engine.session().await.expect("another"));
            plain.execute_unprepared("INSERT INTO altered VALUES (1)").await.expect("a row");
            other.execute_unprepared("ALTER TABLE altered ADD another INT").await.expect("a column");
            tell.send(lease.name().to_owned()).expect("somebody hears it");
        });
        let database = told.recv().expect("the database's name");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let is_forgotten = async || with(|kept| !kept.contains_key(database.as_str()));
        runtime.block_on(eventually("it is forgotten", is_forgotten));
    }

    #[test]
    fn mysql() {
        nothing_is_kept_of_a_database_that_is_dropped(Kind::Mysql);
    }

    #[test]
    fn mariadb() {
        nothing_is_kept_of_a_database_that_is_dropped(Kind::Mariadb);
    }

    #[test]
    fn postgres() {
        nothing_is_kept_of_a_database_that_is_dropped(Kind::Postgres);
    }
}
