//! Bringing a database's schema up to date.

use std::time::Duration;

use freshdb::words;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use sea_orm_migration::MigratorTrait;

use super::dialect::{self, Dialect};
use super::error::OpenError;
use super::open::Database;
use crate::migration::{self, Migrator};

impl Database {
    /// Applies the migrations that the database lacks, and says which those were. Of several processes that do this at
    /// once, one migrates and the others wait for it, for [`Options::migration_wait`](super::Options::migration_wait) each.
    ///
    /// # Errors
    ///
    /// If the database refuses one, or another process does not come to its end, in one sentence.
    ///
    /// # Cancellation
    ///
    /// As that of [`Self::begin_migration`], and then of [`BegunMigration::apply`].
    pub async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        match self.begin_migration().await? {
            Some(migration) => migration.apply().await,
            None => Ok(Vec::new()),
        }
    }

    /// Waits until no other process migrates the database, and keeps others from it; nothing if it lacks no migration.
    ///
    /// # Errors
    ///
    /// If it cannot be told what the database lacks, or another process does not come to its end, in one sentence.
    ///
    /// # Cancellation
    ///
    /// Safe: nothing is changed yet.
    pub async fn begin_migration(&self) -> Result<Option<BegunMigration>, OpenError> {
        let connection = Migrating::of(self);
        let begun = match connection.begin(self.dialect(), self.migration_wait()).await {
            Ok(Some(transaction)) => {
                return Ok(Some(BegunMigration { database: self.clone(), connection, transaction }));
            }
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        };
        connection.close_after(begun).await.map_err(|failure| self.open_error(&failure))
    }

    /// Whether it is for whoever opens the database to migrate it: nobody else has it open.
    pub(crate) fn migrates_unasked(&self) -> bool {
        self.dialect().migrates_unasked()
    }

    /// Makes sure that the schema is this version's or a newer one: migrates an embedded database, and of a server's says
    /// what it lacks.
    ///
    /// # Errors
    ///
    /// If it lacks something, in one sentence.
    ///
    /// # Cancellation
    ///
    /// Safe on a server; of an embedded database as that of [`Self::migrate`].
    pub async fn require_schema(&self) -> Result<(), OpenError> {
        if self.migrates_unasked() {
            self.migrate().await?;
            return Ok(());
        }
        let connection = Migrating::of(self);
        let pending = connection.close_after(connection.pending().await).await;
        let pending = pending.map_err(|failure| self.open_error(&failure))?;
        if pending.is_empty() {
            return Ok(());
        }
        Err(OpenError {
            sentence: format!("the schema of {} is behind: it lacks {}", self.url(), pending.join(", ")),
            hint: Some("run `tags-api migrate`, or start with `--migrate`".into()),
        })
    }

    fn open_error(&self, failure: &Failure) -> OpenError {
        let (doing, error) = match failure {
            Failure::Read(error) => ("read the schema of", error),
            Failure::Migrate(error) => ("migrate", error),
        };
        OpenError {
            sentence: format!("cannot {doing} {}: {}", self.url(), root_cause(error)),
            hint: self.hint(failure).map(str::to_owned),
        }
    }

    fn hint(&self, failure: &Failure) -> Option<&'static str> {
        match failure {
            Failure::Read(error) => {
                let error = dialect::driver_error(error)?;
                self.dialect().hint_at_history(error).or_else(|| self.dialect().hint(error))
            }
            Failure::Migrate(error) => self.dialect().hint(dialect::driver_error(error)?),
        }
    }
}

/// The turn of this process to migrate a database. Dropped, it changes nothing, and it is another's turn.
#[derive(Debug)]
#[must_use = "nothing is migrated before it is applied"]
pub struct BegunMigration {
    database: Database,
    connection: Migrating,
    transaction: DatabaseTransaction,
}

impl BegunMigration {
    /// Applies the migrations that the database lacks, and says which those were.
    ///
    /// # Errors
    ///
    /// If the database refuses one, in one sentence.
    ///
    /// # Cancellation
    ///
    /// Not safe on MySQL and MariaDB, where each statement of a migration is committed by itself: the schema may be left
    /// half-way.
    pub async fn apply(self) -> Result<Vec<String>, OpenError> {
        let Self { database, connection, transaction } = self;
        let applied = apply_still_pending(transaction, database.dialect()).await.map_err(Failure::Migrate);
        connection.close_after(applied).await.map_err(|failure| database.open_error(&failure))
    }
}

/// What went wrong, by what was done.
enum Failure {
    Read(DbErr),
    Migrate(DbErr),
}

/// A connection of SeaORM's own, while the schema is looked at or changed: its migrator takes no other.
#[derive(Debug)]
struct Migrating(DatabaseConnection);

impl Migrating {
    fn of(database: &Database) -> Self {
        Self(database.driver().connection())
    }

    async fn pending(&self) -> Result<Vec<String>, Failure> {
        migration::pending(&self.0).await.map_err(Failure::Read)
    }

    /// A transaction for what is pending, while no other process migrates.
    async fn begin(&self, dialect: &dyn Dialect, wait: Duration) -> Result<Option<DatabaseTransaction>, Failure> {
        if self.pending().await?.is_empty() {
            return Ok(None);
        }
        let transaction = self.0.begin_with_options(dialect.transaction()).await.map_err(Failure::Migrate)?;
        dialect.lock_migrations(&transaction, wait).await.map_err(Failure::Migrate)?;
        Ok(Some(transaction))
    }

    /// What went wrong before comes first.
    async fn close_after<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        let closed = self.0.close_by_ref().await;
        let value = result?;
        closed.map_err(Failure::Migrate)?;
        Ok(value)
    }
}

async fn apply_still_pending(transaction: DatabaseTransaction, dialect: &dyn Dialect) -> Result<Vec<String>, DbErr> {
    let outcome = apply_in(&transaction).await;
    let unlocked = dialect.unlock_migrations(&transaction).await;
    let applied = outcome?;
    unlocked?;
    transaction.commit().await?;
    Ok(applied)
}

/// Whoever held the lock before may have done the work.
async fn apply_in(transaction: &DatabaseTransaction) -> Result<Vec<String>, DbErr> {
    let pending = migration::pending(transaction).await?;
    if !pending.is_empty() {
        Migrator::up(transaction, None).await?;
    }
    Ok(pending)
}

/// The driver's own words, or ours, without those that say which layer passed them on.
fn root_cause(error: &DbErr) -> String {
    if let DbErr::Custom(words) = error {
        return words.clone();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    words(cause)
}
