//! Plain pools of sqlx's, whose hooks write down who has which connection.

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::pool::PoolOptions;

use super::another_engine;
use super::ledger::{Ledger, Page, Watched};
use crate::dialect::{Backend, ConnectOptions};
use crate::pool::open_plain;
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

/// How to connect to the test's database. When an engine is refused without TLS, it tries with it; a pool cannot, so that is tried before.
async fn options<DB: Backend>(context: &Context) -> Result<ConnectOptions<DB>, ArgumentError> {
    let url = context.lease().url();
    let options = DB::options(&url.reveal())?;
    let plain = if url.is_on_loopback() { DB::plain(&options) } else { None };
    let Some(connection) = open_plain::<DB>(plain.as_ref()).await else { return Ok(options) };
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "the connection had ended before it was closed");
    }
    Ok(plain.unwrap_or(options))
}

/// `Pool<DB>` of an engine, for the test that it is made for.
fn pool<DB: Backend>(context: &mut Context, options: ConnectOptions<DB>) -> sqlx::Pool<DB> {
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
                let id = DB::identity(connection).await?;
                page.connected(id, DB::life(connection).await?);
                page.acquired(id, trace);
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
    pool
}

macro_rules! pools {
    ($($feature:literal $DB:ty),+) => {$(
        #[cfg(feature = $feature)]
        impl FromContext for sqlx::Pool<$DB> {
            async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
                another_engine::check::<$DB>(context)?;
                if let Some(pool) = context.made() {
                    return Ok(pool);
                }
                let options = options::<$DB>(context).await?;
                context.shared(|context| Ok(pool::<$DB>(context, options)))
            }
        }
    )+};
}

pools!("mysql" sqlx::MySql, "postgres" sqlx::Postgres, "sqlite" sqlx::Sqlite);
