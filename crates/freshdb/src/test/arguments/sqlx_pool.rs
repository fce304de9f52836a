//! Plain pools of sqlx's, whose hooks write down who has which connection.

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use sqlx::pool::PoolOptions;

use super::another_engine;
use super::ledger::{Ledger, Page, Watched};
use crate::dialect::Backend;
use crate::test::context::{ArgumentError, Context, FromContext};
use crate::test::trace::Trace;

/// With a pool's life: the hooks have the other end of it, and they live as long as the pool does.
struct Plain<DB: Backend> {
    pool: sqlx::Pool<DB>,
    life: Weak<()>,
}

impl<DB: Backend> Watched for Plain<DB> {
    fn held(&self) -> usize {
        (self.pool.size() as usize).saturating_sub(self.pool.num_idle())
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let pool = self.pool.clone();
        Box::pin(async move { pool.close().await })
    }

    fn life(&self) -> Weak<()> {
        self.life.clone()
    }
}

/// `Pool<DB>` of an engine, for the test that it is made for.
fn pool<DB: Backend>(context: &mut Context) -> Result<sqlx::Pool<DB>, ArgumentError> {
    another_engine::check::<DB>(context)?;
    let options = DB::options(&context.lease().url().reveal())?;
    let page = Arc::new(Page::default());
    let life = Arc::new(());
    let (at_first, again, back) = (page.clone(), page.clone(), page.clone());
    let alive = Arc::downgrade(&life);
    let pool = PoolOptions::<DB>::new()
        .max_connections(context.lease().connections())
        // Nothing gets old in a test, and no task has to look for that.
        .idle_timeout(None)
        .max_lifetime(None)
        // The hook that asks a connection for its number finds out whether it lives.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let (page, trace, _life) = (at_first.clone(), Trace::capture(), life.clone());
            Box::pin(async move {
                page.acquired(DB::identity(connection).await?, trace);
                Ok(())
            })
        })
        .before_acquire(move |connection, _| {
            let (page, trace) = (again.clone(), Trace::capture());
            Box::pin(async move {
                page.acquired(DB::identity(connection).await?, trace);
                Ok(true)
            })
        })
        .after_release(move |connection, _| {
            let page = back.clone();
            Box::pin(async move {
                let id = DB::identity(connection).await?;
                let is_in_transaction = DB::is_in_transaction(connection).await?;
                page.returned(id, is_in_transaction);
                // The next user would find itself inside of it.
                Ok(!is_in_transaction)
            })
        })
        .connect_lazy_with(options);
    let watched = Plain { pool: pool.clone(), life: alive };
    context.ledgers.push(Ledger::new(page, Arc::new(watched)));
    Ok(pool)
}

macro_rules! pools {
    ($($feature:literal $DB:ty),+) => {$(
        #[cfg(feature = $feature)]
        impl FromContext for sqlx::Pool<$DB> {
            async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
                context.shared(|context| pool::<$DB>(context))
            }
        }
    )+};
}

pools!("mysql" sqlx::MySql, "postgres" sqlx::Postgres, "sqlite" sqlx::Sqlite);
