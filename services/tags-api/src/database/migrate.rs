//! Bringing a database's schema up to date.

use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};
use sea_orm_migration::MigratorTrait;

use super::error::OpenError;
use super::session::Database;
use crate::migration::{self, Migrator};

impl Database {
    /// Applies the migrations that the database lacks, and says which those were. Of several processes that do this at
    /// once, one migrates and the others wait for it.
    ///
    /// # Errors
    ///
    /// If the database refuses one, in one sentence.
    pub async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        self.apply_pending().await.map_err(|error| OpenError {
            sentence: format!("cannot migrate {}: {}", self.url(), root_cause(&error)),
            hint: None,
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
        let pending = migration::pending(self.connection()).await.map_err(|error| OpenError {
            sentence: format!("cannot read the schema of {}: {}", self.url(), root_cause(&error)),
            hint: None,
        })?;
        if pending.is_empty() {
            return Ok(());
        }
        Err(OpenError {
            sentence: format!("the schema of {} is behind: it lacks {}", self.url(), pending.join(", ")),
            hint: Some("run `tags-api migrate`, or start with `--migrate`".into()),
        })
    }

    async fn apply_pending(&self) -> Result<Vec<String>, DbErr> {
        if migration::pending(self.connection()).await?.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = self.connection().begin_with_options(self.dialect().transaction()).await?;
        self.dialect().lock_migrations(&transaction).await?;
        let outcome = apply_still_pending(&transaction).await;
        let unlocked = self.dialect().unlock_migrations(&transaction).await;
        let applied = outcome?;
        unlocked?;
        transaction.commit().await?;
        Ok(applied)
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

/// The driver's own words, without those that say which layer passed them on.
fn root_cause(error: &DbErr) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
