//! SeaORM's traits, for everything that has a session.

use std::fmt::{Debug, Display};

use futures_util::future::BoxFuture;
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult, Statement,
    TransactionError, TransactionOptions, TransactionTrait,
};

use super::failure::{while_executing, while_querying};
use super::{OrmEngine, OrmSession, OrmTx};
use crate::dialect::Begin;

impl From<TransactionOptions> for Begin {
    fn from(options: TransactionOptions) -> Self {
        Self {
            isolation: options.isolation_level.map(|level| level.to_string()),
            read_only: options.access_mode.map(|mode| mode == AccessMode::ReadOnly),
            mode: options.sqlite_transaction_mode.map(|mode| mode.sqlite_keyword()),
        }
    }
}

/// Statements on a session that is there, or on one that is taken for each.
macro_rules! connects {
    ($connection:ty) => {
        #[async_trait::async_trait]
        impl ConnectionTrait for $connection {
            fn get_database_backend(&self) -> DbBackend {
                self.backend()
            }

            async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
                self.shared().await?.lock_within(self.within()).await?.execute(statement).await.map_err(while_executing)
            }

            async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
                let sql = sql.to_owned();
                self.shared()
                    .await?
                    .lock_within(self.within())
                    .await?
                    .execute_unprepared(sql)
                    .await
                    .map_err(while_executing)
            }

            async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
                self.shared()
                    .await?
                    .lock_within(self.within())
                    .await?
                    .query_one(statement)
                    .await
                    .map_err(while_querying)
            }

            async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
                self.shared()
                    .await?
                    .lock_within(self.within())
                    .await?
                    .query_all(statement)
                    .await
                    .map_err(while_querying)
            }
        }

        #[async_trait::async_trait]
        impl TransactionTrait for $connection {
            type Transaction = OrmTx;

            async fn begin(&self) -> Result<OrmTx, DbErr> {
                Ok(self.begin_inner(None).await?)
            }

            async fn begin_with_config(
                &self,
                isolation_level: Option<IsolationLevel>,
                access_mode: Option<AccessMode>,
            ) -> Result<OrmTx, DbErr> {
                let options = TransactionOptions { isolation_level, access_mode, ..TransactionOptions::default() };
                self.begin_with_options(options).await
            }

            async fn begin_with_options(&self, options: TransactionOptions) -> Result<OrmTx, DbErr> {
                Ok(self.begin_inner(Some(options.into())).await?)
            }

            async fn transaction<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
            where
                F: for<'c> FnOnce(&'c OrmTx) -> BoxFuture<'c, Result<T, E>> + Send,
                T: Send,
                E: Display + Debug + Send,
            {
                let begun = TransactionTrait::begin(self).await.map_err(TransactionError::Connection)?;
                conclude(begun, callback).await
            }

            async fn transaction_with_config<F, T, E>(
                &self,
                callback: F,
                isolation_level: Option<IsolationLevel>,
                access_mode: Option<AccessMode>,
            ) -> Result<T, TransactionError<E>>
            where
                F: for<'c> FnOnce(&'c OrmTx) -> BoxFuture<'c, Result<T, E>> + Send,
                T: Send,
                E: Display + Debug + Send,
            {
                let begun = self.begin_with_config(isolation_level, access_mode).await;
                conclude(begun.map_err(TransactionError::Connection)?, callback).await
            }
        }
    };
}

connects!(OrmEngine);
connects!(OrmSession);
connects!(OrmTx);

async fn conclude<F, T, E>(tx: OrmTx, callback: F) -> Result<T, TransactionError<E>>
where
    F: for<'c> FnOnce(&'c OrmTx) -> BoxFuture<'c, Result<T, E>> + Send,
    T: Send,
    E: Display + Debug + Send,
{
    match callback(&tx).await {
        Ok(value) => tx.commit().await.map(|()| value).map_err(TransactionError::Connection),
        Err(error) => match tx.rollback().await {
            Ok(()) => Err(TransactionError::Transaction(error)),
            Err(rollback) => {
                // Dropped, it is rolled back all the same; what the body said comes first.
                tracing::debug!(%rollback, "a transaction was not rolled back in order");
                Err(TransactionError::Transaction(error))
            }
        },
    }
}

#[async_trait::async_trait]
impl sea_orm::TransactionSession for OrmTx {
    async fn commit(self) -> Result<(), DbErr> {
        Self::commit(self).await
    }

    async fn rollback(self) -> Result<(), DbErr> {
        Self::rollback(self).await
    }
}
