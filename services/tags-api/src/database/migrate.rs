//! Bringing a database's schema up to date.

use std::time::Duration;

use freshdb::words;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr, TransactionTrait};
use sea_orm_migration::MigratorTrait;

use super::dialect::Dialect;
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
    /// Not safe on MySQL and MariaDB, where each statement of a migration is committed by itself: the schema may be left
    /// half-way.
    pub async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        self.apply_pending().await.map_err(|error| OpenError {
            sentence: format!("cannot migrate {}: {}", self.url(), root_cause(&error)),
            hint: self.hint(&error),
        })
    }

    /// Makes sure that the schema is this version's or a newer one: migrates an embedded database, and of a server's says
    /// what it lacks.
    ///
    /// # Errors
    ///
    /// If it lacks something, in one sentence.
    pub async fn require_schema(&self) -> Result<(), OpenError> {
        if self.dialect().migrates_unasked() {
            self.migrate().await?;
            return Ok(());
        }
        let connection = Migrating::of(self);
        let pending =
            connection.close_after(migration::pending(&connection.0).await).await.map_err(|error| OpenError {
                sentence: format!("cannot read the schema of {}: {}", self.url(), root_cause(&error)),
                hint: self.hint(&error),
            })?;
        if pending.is_empty() {
            return Ok(());
        }
        Err(OpenError {
            sentence: format!("the schema of {} is behind: it lacks {}", self.url(), pending.join(", ")),
            hint: Some("run `tags-api migrate`, or start with `--migrate`".into()),
        })
    }

    fn hint(&self, error: &DbErr) -> Option<String> {
        let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
            return None;
        };
        self.dialect().hint(error).map(str::to_owned)
    }

    async fn apply_pending(&self) -> Result<Vec<String>, DbErr> {
        let connection = Migrating::of(self);
        let applied = connection.apply_pending(self.dialect(), self.migration_wait()).await;
        connection.close_after(applied).await
    }
}

/// A connection of SeaORM's own, while the schema is looked at or changed: its migrator takes no other.
struct Migrating(DatabaseConnection);

impl Migrating {
    fn of(database: &Database) -> Self {
        Self(database.driver().connection())
    }

    async fn apply_pending(&self, dialect: &dyn Dialect, wait: Duration) -> Result<Vec<String>, DbErr> {
        if migration::pending(&self.0).await?.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = self.0.begin_with_options(dialect.transaction()).await?;
        dialect.lock_migrations(&transaction, wait).await?;
        let outcome = apply_still_pending(&transaction).await;
        let unlocked = dialect.unlock_migrations(&transaction).await;
        let applied = outcome?;
        unlocked?;
        transaction.commit().await?;
        Ok(applied)
    }

    /// What went wrong before comes first.
    async fn close_after<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        let closed = self.0.close_by_ref().await;
        let value = result?;
        closed?;
        Ok(value)
    }
}

/// Whoever held the lock before may have done the work.
async fn apply_still_pending(transaction: &DatabaseTransaction) -> Result<Vec<String>, DbErr> {
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
