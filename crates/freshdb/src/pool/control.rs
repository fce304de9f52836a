//! The connection over which the server is told to end sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::closing::{CLOSE, close_connection};
use super::connections::{Pool, undisturbed};
use crate::dialect::Backend;
use crate::lease::bounded;
use crate::runtime::sleep;

/// How often a session is looked for that does not end.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl<DB: Backend> Pool<DB> {
    /// Ends a session on the server whose connection is closed, by the connection that is kept for that.
    pub(crate) async fn cancel(&self, id: u64) -> Result<(), sqlx::Error> {
        let mut pause = Duration::from_millis(1);
        let cancelled = loop {
            match self.with_control(async |connection| DB::interrupt(connection, id).await).await {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        };
        if self.idle().closed {
            self.close_control().await;
        }
        cancelled
    }

    /// Makes the connection for what may have to be ended soon.
    pub(super) fn prepare_control(self: &Arc<Self>, ready: oneshot::Sender<()>) {
        if self.sessions.list().iter().all(|session| session.id.is_none()) {
            return;
        }
        let pool = self.clone();
        self.spawn(async move {
            if let Err(error) = bounded(CLOSE, pool.with_control(async |_| Ok(()))).await {
                tracing::debug!(%error, "there is no connection over which sessions could be ended");
            }
            drop(ready);
        });
    }

    pub(super) async fn close_control(&self) {
        let control = self.control.lock().await.take();
        if let Some((connection, _)) = control {
            close_connection::<DB>(connection).await;
        }
    }

    async fn connect_control(&self) -> Result<DB::Connection, sqlx::Error> {
        #[allow(unused_mut, reason = "with the feature `test` it is asked what it is called")]
        let mut connection = self.open().await?;
        #[cfg(feature = "test")]
        self.sessions.note_own(DB::identity(&mut connection).await.ok());
        Ok(connection)
    }

    pub(super) async fn with_control<T>(
        &self,
        work: impl AsyncFnOnce(&mut DB::Connection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut control = self.control.lock().await;
        // Out of its place: work that fails or is dropped takes the connection with it.
        let mut connection = match control.take() {
            Some((connection, used)) if used.elapsed() < Duration::from_secs(1) => connection,
            _ => undisturbed::<DB, _, _>(|| self.connect_control()).await?,
        };
        let output = work(&mut connection).await?;
        *control = Some((connection, Instant::now()));
        Ok(output)
    }
}
