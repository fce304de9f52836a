//! A pool, as its users see it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::builder::PoolBuilder;
use super::lease::Lease;
use super::slots::{Order, Shared};
use crate::schema::Schema;
use crate::server::Server;
use crate::{DatabaseUrl, Error};

/// Databases of one schema on one server, ready to be leased.
///
/// Cheap to clone; the pool closes when the last clone is dropped and the last lease is back. May be used from any runtime, or
/// from none: its own work is done on threads of its own.
#[derive(Clone)]
pub struct Pool {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    template: String,
    patience: Duration,
}

impl Pool {
    /// A pool of databases that are all as `schema` leaves them, on a server.
    pub fn builder(server: Server, schema: impl Schema + 'static) -> PoolBuilder {
        PoolBuilder::new(server, schema)
    }

    pub(crate) fn new(shared: Arc<Shared>, template: String, patience: Duration) -> Self {
        Self { handle: Arc::new(Handle { shared, template, patience }) }
    }

    /// A pristine database. It is there at once when one is ready; otherwise one is made or put back.
    ///
    /// The place of the call is named when there are no more databases to be had.
    ///
    /// # Errors
    ///
    /// If none became ready in time ([`PoolBuilder::patience`]): the error names the leases that are out, or what is wrong with the
    /// server.
    ///
    /// # Cancellation
    ///
    /// Safe: a database that arrives for nobody goes to the next.
    #[track_caller]
    pub fn lease(&self) -> impl Future<Output = Result<Lease, Error>> + Send + use<> {
        self.lease_at(Location::caller())
    }

    /// As [`lease`](Self::lease), for whoever asks on somebody's behalf: that one's place is named.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub fn lease_at(
        &self,
        place: &'static Location<'static>,
    ) -> impl Future<Output = Result<Lease, Error>> + Send + use<> {
        let (shared, patience) = (self.handle.shared.clone(), self.handle.patience);
        async move {
            match shared.take_or_wait(place, patience) {
                Ok(lease) => Ok(lease),
                Err(answer) => answer.await.unwrap_or_else(|_| Err(shared.closed())),
            }
        }
    }

    /// Where the server is.
    pub fn server(&self) -> &Server {
        &self.handle.shared.owner
    }

    /// Where the template is. It is not to be written to.
    pub fn template(&self) -> DatabaseUrl {
        self.handle.shared.server.with_database(&self.handle.template)
    }

    /// The most databases that this pool has at once.
    pub fn limit(&self) -> usize {
        self.handle.shared.limit
    }

    /// Has nobody get this template any more: the next pool of its schema, in whichever process, makes another one. Those that are
    /// open keep it.
    ///
    /// # Errors
    ///
    /// If the server cannot be told.
    ///
    /// # Cancellation
    ///
    /// It is retired all the same.
    pub async fn retire(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.handle.shared.order(Order::Retire { reply });
        answer.await.unwrap_or_else(|_| Err(self.handle.shared.closed()))
    }

    /// Waits until what was given back is put back, and leaves the databases to the next process that wants them.
    ///
    /// # Errors
    ///
    /// If leases are out still: the error names them. Each of them is put back when it ends.
    ///
    /// # Cancellation
    ///
    /// The pool closes all the same.
    pub async fn close(self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.handle.shared.order(Order::Close { reply: Some(reply) });
        // Without a keeper, somebody else has closed it.
        answer.await.unwrap_or(Ok(()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.order(Order::Close { reply: None });
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").field("template", &self.template()).field("limit", &self.limit()).finish()
    }
}
