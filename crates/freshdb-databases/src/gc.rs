//! Dropping what nobody uses any more.

use std::collections::HashSet;
use std::time::Duration;

use crate::dialect::{Dialect, explain};
use crate::registry::{Entry, Registry, Role};
use crate::server::Server;
use crate::template::is_older_than;
use crate::{DatabaseUrl, Error, ErrorKind, Kind, names, runtime};

/// What is no longer wanted on a server. Whatever a living process uses stays in any case.
#[derive(Clone, Debug)]
pub struct Garbage {
    checkout: Option<String>,
    unused_for: Duration,
    templates: usize,
    kept_for: Duration,
    kept: usize,
}

const DAY: Duration = Duration::from_hours(24);

impl Default for Garbage {
    /// What pools on a server of yours have collected when they make a template, and when a database is kept: of this checkout,
    /// the templates that have not been used for a week, and all but the newest five; of what was kept, all but the newest ten, and
    /// what is older than a week.
    fn default() -> Self {
        Self { checkout: None, unused_for: 7 * DAY, templates: 5, kept_for: 7 * DAY, kept: 10 }
    }
}

impl Garbage {
    /// Everything that freshdb ever made on the server, for whichever checkout, and that no living process uses.
    pub fn everything() -> Self {
        Self { checkout: None, unused_for: Duration::ZERO, templates: 0, kept_for: Duration::ZERO, kept: 0 }
    }

    /// Of one checkout only: what its pools were told by [`PoolBuilder::checkout`](crate::PoolBuilder::checkout).
    #[must_use]
    pub fn checkout(mut self, checkout: &str) -> Self {
        self.checkout = Some(names::digest_of_checkout(checkout));
        self
    }

    /// Templates, and the databases made from them, that have not been used for so long.
    #[must_use]
    pub fn unused_for(mut self, age: Duration) -> Self {
        self.unused_for = age;
        self
    }

    /// All templates of a checkout but so many, the newest.
    #[must_use]
    pub fn templates(mut self, at_most: usize) -> Self {
        self.templates = at_most;
        self
    }

    /// Databases that were kept so long ago.
    #[must_use]
    pub fn kept_for(mut self, age: Duration) -> Self {
        self.kept_for = age;
        self
    }

    /// All databases of a checkout that were kept, but so many, the newest.
    #[must_use]
    pub fn kept(mut self, at_most: usize) -> Self {
        self.kept = at_most;
        self
    }

    /// Drops it.
    ///
    /// Only what freshdb's registry on that server says it made is ever dropped.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached. What could not be dropped is in the report.
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn collect(self, server: &Server) -> impl Future<Output = Result<Collected, Error>> + Send + use<> {
        let (kind, server) = (server.kind(), server.administration());
        runtime::run(async move {
            match kind {
                #[cfg(feature = "sqlite")]
                Kind::Sqlite => self.run::<crate::dialect::sqlite::Sqlite>(&server).await,
                #[cfg(feature = "mysql")]
                Kind::Mysql | Kind::Mariadb => self.run::<crate::dialect::mysql::Mysql>(&server).await,
                #[cfg(feature = "postgres")]
                Kind::Postgres => self.run::<crate::dialect::postgres::Postgres>(&server).await,
                #[allow(unreachable_patterns, reason = "with all features there is no other")]
                kind => Err(Error::new(ErrorKind::Config, format!("freshdb-databases was built without {kind}"))),
            }
        })
    }

    async fn run<D: Dialect>(self, server: &DatabaseUrl) -> Result<Collected, Error> {
        let failed = |error| explain::<D>(format!("cannot collect what is unused on `{server}`"), error);
        let mut connection = Registry::connect::<D>(server).await?;
        let connection = &mut connection;
        let mut collected = Collected::default();

        let entries = self.entries::<D>(connection).await.map_err(failed)?;
        let used = living_users::<D>(connection, &entries).await.map_err(failed)?;
        let kept = unwanted(&entries, Role::Kept, self.kept_for, self.kept);
        let templates = unwanted(&entries, Role::Template, self.unused_for, self.templates);
        for entry in kept {
            collected.add(&entry.name, drop_unless_locked::<D>(connection, entry).await);
        }
        for template in templates {
            if used.contains(&template.name) {
                collected.in_use.push(template.name.clone());
            } else {
                collect_template::<D>(connection, template, &mut collected).await.map_err(failed)?;
            }
        }
        // Slots whose template is gone: their process died between the two.
        let entries = self.entries::<D>(connection).await.map_err(failed)?;
        let templates: HashSet<&str> =
            entries.iter().filter(|entry| entry.role == Role::Template).map(|entry| entry.name.as_str()).collect();
        for entry in
            entries.iter().filter(|entry| entry.role == Role::Slot && !templates.contains(entry.template.as_str()))
        {
            collected.add(&entry.name, drop_unless_locked::<D>(connection, entry).await);
        }
        Ok(collected)
    }

    async fn entries<D: Dialect>(&self, connection: &mut D::Connection) -> Result<Vec<Entry>, sqlx::Error> {
        let mut entries = Registry::entries::<D>(connection).await?;
        entries.retain(|entry| self.checkout.as_ref().is_none_or(|checkout| entry.checkout == *checkout));
        Ok(entries)
    }
}

/// What was dropped.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collected {
    /// The names of the databases that were dropped.
    pub dropped: Vec<String>,
    /// The names of those that should have been, and are in use.
    pub in_use: Vec<String>,
    /// Those that could not be dropped, and why.
    pub failed: Vec<(String, Error)>,
}

enum Attempt {
    Dropped,
    InUse,
    Failed(Error),
}

impl Collected {
    fn add(&mut self, name: &str, attempt: Attempt) {
        match attempt {
            Attempt::Dropped => self.dropped.push(name.to_owned()),
            Attempt::InUse => self.in_use.push(name.to_owned()),
            Attempt::Failed(error) => self.failed.push((name.to_owned(), error)),
        }
    }
}

/// Those of a role that are too old, or too many in their checkout.
fn unwanted(entries: &[Entry], role: Role, age: Duration, at_most: usize) -> Vec<&Entry> {
    // Entries come the oldest first.
    let of_role: Vec<&Entry> = entries.iter().filter(|entry| entry.role == role).collect();
    let newer_in_checkout = |index: usize, entry: &Entry| {
        of_role[index + 1..].iter().filter(|newer| newer.checkout == entry.checkout).count()
    };
    let unwanted =
        |(index, entry): &(usize, &Entry)| is_older_than(entry, age) || newer_in_checkout(*index, entry) >= at_most;
    of_role.iter().copied().enumerate().filter(unwanted).map(|(_, entry)| entry).collect()
}

/// The templates that a living process uses. The rows of dead ones are taken out.
async fn living_users<D: Dialect>(
    connection: &mut D::Connection,
    entries: &[Entry],
) -> Result<HashSet<String>, sqlx::Error> {
    let mut used = HashSet::new();
    for entry in entries.iter().filter(|entry| entry.role == Role::User) {
        if D::try_lock(connection, &entry.name).await? {
            Registry::remove::<D>(connection, &entry.name).await?;
            D::unlock(connection, &entry.name).await?;
        } else {
            used.insert(entry.template.clone());
        }
    }
    Ok(used)
}

/// A template with all that was copied from it, unless somebody has begun to use it.
async fn collect_template<D: Dialect>(
    connection: &mut D::Connection,
    template: &Entry,
    collected: &mut Collected,
) -> Result<(), sqlx::Error> {
    let lock = template.lock_of_template();
    if !D::try_lock(connection, &lock).await? {
        collected.in_use.push(template.name.clone());
        return Ok(());
    }
    // See `template::claim`, which does the same the other way round: one of the two notices.
    Registry::doubt::<D>(connection, &template.name).await?;
    let mut is_used = false;
    for entry in Registry::of_template::<D>(connection, &template.name).await? {
        if entry.role == Role::User {
            if D::try_lock(connection, &entry.name).await? {
                D::unlock(connection, &entry.name).await?;
            } else {
                is_used = true;
            }
        }
    }
    if is_used {
        Registry::trust::<D>(connection, &template.name).await?;
        collected.in_use.push(template.name.clone());
    } else {
        Registry::set_making::<D>(connection, &template.name).await?;
        for entry in Registry::of_template::<D>(connection, &template.name).await? {
            if entry.role == Role::Slot {
                collected.add(&entry.name, drop_unless_locked::<D>(connection, &entry).await);
            }
        }
        Registry::forget::<D>(connection, &template.name).await;
        collected.add(&template.name, drop_database::<D>(connection, &template.name).await);
    }
    D::unlock(connection, &lock).await
}

async fn drop_unless_locked<D: Dialect>(connection: &mut D::Connection, entry: &Entry) -> Attempt {
    let failed = |error| Attempt::Failed(explain::<D>(format!("cannot drop `{}`", entry.name), error));
    match D::try_lock(connection, &entry.name).await {
        Ok(true) => {}
        Ok(false) => return Attempt::InUse,
        Err(error) => return failed(error),
    }
    // Between the list and the lock somebody may have dropped it, or kept it.
    let attempt = match Registry::find::<D>(connection, &entry.name).await {
        Ok(Some(found)) if found.role == entry.role => drop_database::<D>(connection, &entry.name).await,
        Ok(_) => Attempt::InUse,
        Err(error) => failed(error),
    };
    match D::unlock(connection, &entry.name).await {
        Ok(()) => attempt,
        Err(error) => failed(error),
    }
}

async fn drop_database<D: Dialect>(connection: &mut D::Connection, name: &str) -> Attempt {
    let dropped = match D::drop(connection, name).await {
        Ok(()) => Registry::remove::<D>(connection, name).await,
        Err(error) => Err(error),
    };
    match dropped {
        Ok(()) => Attempt::Dropped,
        Err(error) => Attempt::Failed(explain::<D>(format!("cannot drop `{name}`"), error)),
    }
}

/// Collects what is unused of one checkout, while its owner goes on. A failure costs nothing but room, and is logged.
pub(crate) fn collect_in_background<D: Dialect>(server: &DatabaseUrl, checkout: &str) {
    let (server, garbage) = (server.clone(), Garbage { checkout: Some(checkout.to_owned()), ..Garbage::default() });
    let work = async move {
        match garbage.run::<D>(&server).await {
            Ok(collected) => tracing::debug!(%server, "collected: {collected:?}"),
            Err(error) => tracing::warn!("{error:?}"),
        }
    };
    // The runtime is there: its caller runs on it.
    drop(runtime::spawn(work));
}
