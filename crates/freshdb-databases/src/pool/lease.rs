//! One database, for as long as somebody has it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::report::ResetReport;
use super::slots::{Fate, Order, Shared};
use crate::dialect::ServerSession;
use crate::{Changes, DatabaseUrl, Error, ErrorKind, Kind};

/// A pristine database, for as long as this lives.
///
/// Nobody else has it: neither another lease of this process nor one of another process or machine. It is held by a lock on the
/// server which ends with this process, however that ends.
///
/// Dropping it gives the database back, as [`give_back`](Self::give_back) does: at once, and without waiting. Sessions that
/// are still connected to it then are ended.
#[must_use = "a lease that is dropped gives its database back"]
pub struct Lease {
    shared: Arc<Shared>,
    number: u64,
    name: Arc<str>,
    url: DatabaseUrl,
    given_back: bool,
}

impl Lease {
    pub(crate) fn new(shared: Arc<Shared>, number: u64, name: Arc<str>) -> Self {
        let url = shared.server.with_database(&name);
        Self { shared, number, name, url, given_back: false }
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        self.url.kind()
    }

    /// The database's name on its server; of SQLite, its file's name without `.db`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the database is, for any driver.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// How many connections to the server this lease may open, so that all leases of the pool together stay within the
    /// server's limit.
    pub fn connections(&self) -> u32 {
        self.shared.connections
    }

    /// Who is connected to the database now, as the server says. Of SQLite, which has no server, nobody is ever named.
    ///
    /// # Errors
    ///
    /// If the server cannot be asked.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub fn sessions(&self) -> impl Future<Output = Result<Vec<ServerSession>, Error>> + Send + use<> {
        self.other_sessions(Vec::new())
    }

    /// As [`sessions`](Self::sessions), but without the sessions of these [numbers](ServerSession::id): where nobody else is connected, the server
    /// is asked less.
    ///
    /// # Errors
    ///
    /// If the server cannot be asked.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub fn other_sessions(
        &self,
        known: Vec<u64>,
    ) -> impl Future<Output = Result<Vec<ServerSession>, Error>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.shared.order(Order::Sessions { number: self.number, known, reply });
        let name = self.name.clone();
        async move { answer.await.unwrap_or_else(|_| Err(pool_is_gone(&name))) }
    }

    /// What was done to the database until now, and committed: see [`Changes::of`]. It can be asked for while tests are connected.
    ///
    /// # Errors
    ///
    /// As there; if the server is a private one that has ended.
    ///
    /// # Cancellation
    ///
    /// The work goes on.
    pub fn changes(&self) -> impl Future<Output = Result<Changes, Error>> + Send + use<> {
        let owner = self.shared.owner.clone();
        let changes = Changes::read(self.kind(), self.shared.administration.clone(), self.name.to_string());
        async move {
            // In a directory that went with its run, a comparison would open new books, which stay.
            if owner.has_ended() {
                return Err(Error::new(ErrorKind::NoServer, format!("the server `{}` has ended", owner.url())));
            }
            changes.await
        }
    }

    /// Gives the database back: what was touched is found and put back, while whoever called this goes on. What this
    /// returns need not be awaited; awaited, it tells how that went.
    pub fn give_back(self) -> GivenBack {
        self.give_back_with(Vec::new())
    }

    /// As [`give_back`](Self::give_back), but sessions with these [numbers](ServerSession::id) stay connected, for whoever has the
    /// database next in this process.
    ///
    /// Nobody can see to it that they do nothing until then: what one of them writes meanwhile is there in the next lease. They must be
    /// idle, outside of a transaction, without locks and temporary tables. On PostgreSQL, since 15,
    /// they must have called `pg_stat_force_next_flush()` last: until then the server does not tell what they wrote. They end where
    /// the database is dropped, because it cannot be put back.
    pub fn give_back_with(self, staying: Vec<u64>) -> GivenBack {
        self.end(Fate::Reset { staying })
    }

    /// Keeps the database as it is, for somebody to look at, under a note such as a test's name. It is not handed out again, and
    /// is dropped when it is old or there are too many: see [`Garbage`](crate::Garbage).
    pub fn keep(self, note: impl Into<String>) -> GivenBack {
        self.end(Fate::Keep(note.into()))
    }

    fn end(mut self, fate: Fate) -> GivenBack {
        GivenBack { name: self.name.clone(), answer: self.hand_over(fate) }
    }

    fn hand_over(&mut self, fate: Fate) -> oneshot::Receiver<Result<ResetReport, Error>> {
        let (reply, answer) = oneshot::channel();
        self.given_back = true;
        self.shared.take_back(self.number, fate, reply);
        answer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.given_back {
            drop(self.hand_over(Fate::Reset { staying: Vec::new() }));
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lease({})", self.url)
    }
}

/// A database on its way back. Dropped, it goes on.
#[derive(Debug)]
pub struct GivenBack {
    name: Arc<str>,
    answer: oneshot::Receiver<Result<ResetReport, Error>>,
}

impl Future for GivenBack {
    type Output = Result<ResetReport, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.unwrap_or_else(|_| Err(pool_is_gone(&self.name))))
    }
}

fn pool_is_gone(name: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the pool of `{name}` was closed before its lease was given back"))
        .hint("give back the leases of a pool before it is closed")
}
