//! The database of a test: from a pool of this process, or of the broker of `freshdb run`.

use std::future::Future;

use freshdb_databases::broker::{self, Broker, Outcome, Template};
use freshdb_databases::{Config, DatabaseUrl, Error, Pool, ServerSession};
use futures_util::future::Either;

use crate::registry::Place;

/// Where databases of one schema come from.
#[derive(Clone)]
pub(super) enum Source {
    Pool(Pool),
    Broker(Template),
}

/// A pristine database, for as long as this lives.
#[derive(Debug)]
pub(super) enum Leased {
    Pool { pool: Pool, lease: freshdb_databases::Lease },
    Broker(broker::Lease),
}

impl Source {
    pub(super) async fn lease(&self, test: &str, place: Place) -> Result<Leased, Error> {
        match self {
            Self::Pool(pool) => Ok(Leased::Pool { pool: pool.clone(), lease: pool.lease_at(place).await? }),
            Self::Broker(template) => Ok(Leased::Broker(template.lease(test).await?)),
        }
    }
}

/// The broker of the environment, once for the process.
pub(super) fn broker(config: &Config) -> Option<&'static Broker> {
    static BROKER: std::sync::OnceLock<Option<Broker>> = std::sync::OnceLock::new();

    BROKER.get_or_init(|| Broker::of(config)).as_ref()
}

/// Of what a test did.
const SHOWN: &str = "`freshdb diff` shows the rows";

impl Leased {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Pool { lease, .. } => lease.name(),
            Self::Broker(lease) => lease.name(),
        }
    }

    pub(super) fn url(&self) -> &DatabaseUrl {
        match self {
            Self::Pool { lease, .. } => lease.url(),
            Self::Broker(lease) => lease.url(),
        }
    }

    /// How many connections a test may open.
    pub(super) fn connections(&self) -> u32 {
        match self {
            Self::Pool { lease, .. } => lease.connections(),
            Self::Broker(lease) => lease.connections(),
        }
    }

    /// Who is connected but those of whom that is known.
    pub(super) async fn other_sessions(&self, known: Vec<u64>) -> Result<Vec<ServerSession>, Error> {
        match self {
            Self::Pool { lease, .. } => lease.other_sessions(known).await,
            Self::Broker(lease) => {
                let mut sessions = lease.sessions().await?;
                sessions.retain(|session| !known.contains(&session.id));
                Ok(sessions)
            }
        }
    }

    /// Whether it is gone with the tests, so that there is nothing to be kept.
    pub(super) fn ends_with_the_tests(&self) -> bool {
        match self {
            Self::Pool { pool, .. } => pool.server().is_throwaway(),
            Self::Broker(lease) => lease.is_private(),
        }
    }

    /// The test has failed: what it did to its database is written down, for `freshdb diff`, and told in short, if it did anything,
    /// and where to see the rest.
    pub(super) async fn tell_failure(
        &self,
        config: &Config,
        test: &str,
        failure: &str,
        leaks: &[String],
    ) -> Result<Option<String>, Error> {
        match self {
            Self::Pool { lease, .. } => {
                let changes = lease.changes().await?.noted(test);
                let shown = match changes.store(config) {
                    Ok(_) => SHOWN.to_owned(),
                    Err(error) => format!("{error}: {}", error.advice().unwrap_or_default()),
                };
                Ok((!changes.is_empty()).then(|| format!("{changes}; {shown}")))
            }
            Self::Broker(lease) => {
                let told = lease.tell_failure(failure, leaks).await?;
                Ok(told.map(|changes| format!("{changes}; {SHOWN}")))
            }
        }
    }

    /// Keeps the database as it is.
    pub(super) async fn keep(self, test: &str, outcome: Outcome) -> Result<(), Error> {
        match self {
            Self::Pool { lease, .. } => lease.keep(test).await.map(drop),
            Self::Broker(lease) => lease.keep(outcome).await,
        }
    }

    /// Gives the database back, of a process that ends with its test: it is put back by then, or somebody else sees to it.
    pub(super) async fn give_back_for_good(self, outcome: Outcome) -> Result<(), Error> {
        match self {
            Self::Pool { pool, lease } => {
                let given_back = lease.give_back().await;
                pool.close().await?;
                given_back.map(drop)
            }
            Self::Broker(lease) => lease.give_back(outcome).await,
        }
    }

    /// Gives the database back, with sessions that stay connected to it. Awaited, it says whether there will be a next test on it.
    pub(super) fn give_back_with(
        self,
        outcome: Outcome,
        staying: Vec<u64>,
    ) -> impl Future<Output = bool> + Send + use<> {
        match self {
            Self::Pool { lease, .. } => {
                let given_back = lease.give_back_with(staying);
                Either::Left(async { given_back.await.is_ok_and(|report| report.changed().is_none()) })
            }
            Self::Broker(lease) => {
                let given_back = lease.give_back_with(outcome, &staying);
                Either::Right(async { given_back.await.is_ok_and(|changed| changed.is_none()) })
            }
        }
    }
}
