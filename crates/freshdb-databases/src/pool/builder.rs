//! How a pool is made.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::handle::Pool;
use super::keeper::Keeper;
use super::slots::Shared;
use crate::dialect::{Dialect, explain};
use crate::names::{self, Names};
use crate::registry::Registry;
use crate::schema::{Fingerprint, Schema};
use crate::server::Server;
use crate::{Error, ErrorKind, Kind, gc, runtime, template};

/// How a pool is made: see [`Pool::builder`].
#[derive(Clone, Debug)]
pub struct PoolBuilder {
    server: Server,
    schema: Arc<dyn Schema>,
    checkout: Option<String>,
    limit: usize,
    connections: u32,
    spare: usize,
    patience: Duration,
    rebuild: bool,
}

/// Counts the ways in which templates were made ready and read. One that was made in another way is not used.
const TEMPLATES: &str = "8";
/// What stays free of a server's connections for others: its own administrators, and freshdb's keeper.
const RESERVED_CONNECTIONS: u32 = 8;
/// A server that is at work may take so long for a new connection, however soon a database is wanted.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);
/// What freshdb itself has open for a slot: the one that puts it back, and at times one that copies or drops.
const OWN_CONNECTIONS: u32 = 2;

impl PoolBuilder {
    pub(crate) fn new(server: Server, schema: impl Schema + 'static) -> Self {
        Self {
            server,
            schema: Arc::new(schema),
            checkout: None,
            limit: 64,
            connections: 8,
            spare: 2,
            patience: Duration::from_mins(1),
            rebuild: false,
        }
    }

    /// What tells this checkout from others on the same server: by default, the path of the nearest directory above the
    /// current one that has a `Cargo.lock` or a repository in it. Processes that say the same share templates and databases.
    #[must_use]
    pub fn checkout(mut self, checkout: impl Into<String>) -> Self {
        self.checkout = Some(checkout.into());
        self
    }

    /// The most databases that this process has at once; 64 by default, and at least one. Fewer where the server's limit
    /// on connections does not allow for so many.
    #[must_use]
    pub fn limit(mut self, databases: usize) -> Self {
        self.limit = databases.max(1);
        self
    }

    /// How many connections a lease may open: 8 by default. [`Lease::connections`](super::Lease::connections) tells it to
    /// whoever opens them.
    #[must_use]
    pub fn connections(mut self, each: u32) -> Self {
        self.connections = each.max(1);
        self
    }

    /// How many databases to have ready beyond those that are asked for, from the second lease on; two by default. With
    /// them, a test that follows another need not wait until that one's database is put back.
    #[must_use]
    pub fn spare(mut self, databases: usize) -> Self {
        self.spare = databases;
        self
    }

    /// How long a lease waits for a database, and [`open`](Self::open), which does for ten seconds at least, for the server's first answer;
    /// a minute by default.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Makes the template anew, even if there is one of this schema already.
    #[must_use]
    pub fn rebuild(mut self, rebuild: bool) -> Self {
        self.rebuild = rebuild;
        self
    }

    /// Finds the template of the schema, or makes it.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses, or is of another engine than its URL says, or the schema cannot be applied.
    ///
    /// # Cancellation
    ///
    /// The work goes on, and its result is there for the next pool of this schema.
    pub fn open(self) -> impl Future<Output = Result<Pool, Error>> + Send + use<> {
        runtime::run(async move {
            match self.server.kind() {
                #[cfg(feature = "sqlite")]
                Kind::Sqlite => self.start::<crate::dialect::sqlite::Sqlite>().await,
                #[cfg(feature = "mysql")]
                Kind::Mysql | Kind::Mariadb => self.start::<crate::dialect::mysql::Mysql>().await,
                #[cfg(feature = "postgres")]
                Kind::Postgres => self.start::<crate::dialect::postgres::Postgres>().await,
                #[allow(unreachable_patterns, reason = "with all features there is no other")]
                kind => Err(Error::new(ErrorKind::Config, format!("freshdb-databases was built without {kind}"))
                    .hint(format!("enable its feature `{}`", kind.name()))),
            }
        })
    }

    async fn start<D: Dialect>(self) -> Result<Pool, Error> {
        let url = self.server.url().clone();
        let administration = self.server.administration();
        // A server that takes connections and says nothing would have everybody wait for ever.
        let limit = self.patience.max(LEAST_PATIENCE);
        let connected = tokio::time::timeout(limit, Registry::connect::<D>(&administration)).await;
        let mut connection = connected.unwrap_or_else(|_| {
            let fact = format!("cannot use the server `{url}`: it has not answered in {limit:?}");
            Err(Error::new(ErrorKind::Unreachable, fact))
        })?;
        let failed = |error| explain::<D>(format!("cannot use the server `{url}`"), error);

        let mut fingerprint = Fingerprint::new();
        fingerprint.add("freshdb", env!("CARGO_PKG_VERSION")).add("templates", TEMPLATES);
        fingerprint.add("server", D::identity(&mut connection).await.map_err(failed)?);
        self.schema.fingerprint(&mut fingerprint).map_err(Error::of_fingerprint)?;
        let names = Names::new(&self.checkout.unwrap_or_else(names::this_checkout), &fingerprint);

        let claimed = template::claim::<D>(&mut connection, &url, &self.schema, &names, self.rebuild).await?;
        let template = template::content::<D>(&mut connection, &administration, &claimed.template).await?;
        if claimed.is_new
            && !D::has_tables(&template)
            && let Some(said) = self.schema.made_no_table()
        {
            tracing::warn!("{said}");
        }
        // A private server is gone before anything on it is old.
        if claimed.is_new && !self.server.is_throwaway() {
            gc::collect_in_background::<D>(&administration, names.checkout());
        }

        let connections = D::connection_limit(&mut connection).await.map_err(failed)?;
        let affordable =
            connections.saturating_sub(RESERVED_CONNECTIONS) / self.connections.saturating_add(OWN_CONNECTIONS);
        let limit = self.limit.min(affordable as usize).max(1);
        let (orders, inbox) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(self.server, limit, self.connections, orders));
        let keeper = Keeper::<D>::new(
            shared.clone(),
            inbox,
            connection,
            names,
            claimed.template.clone(),
            template,
            claimed.user,
            self.spare,
        );
        runtime::spawn(keeper.run())?;
        Ok(Pool::new(shared, claimed.template, self.patience))
    }
}
