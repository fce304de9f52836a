//! What this process itself has altered, emptied and closed on a server. The servers count statements for all databases together, so that
//! without this every reset would make all other slots suspect.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::RwLock;

use crate::DatabaseUrl;

/// What this process has done on one server. Two URLs of one server are two servers here: each takes the other's statements for
/// somebody else's, and compares more than it would have to.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) alters: Issued,
    pub(super) truncates: Issued,
    pub(super) flushes: Issued,
    /// Held together by those who alter, and alone by who counts: an ALTER at the same moment would cost a look at the whole
    /// catalog.
    pub(super) quiet: RwLock<()>,
}

/// Statements of one kind.
#[derive(Debug, Default)]
pub(super) struct Issued {
    started: AtomicI64,
    done: AtomicI64,
}

/// How many statements of a kind others have executed: at least, and at most.
///
/// Neither ever falls, and the truth lies between them. So if the most of now is the least of then, nobody has executed
/// any in between. Below zero after a restart of the server, which forgets what it has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Others {
    pub(super) least: i64,
    pub(super) most: i64,
}

/// Statements that are being executed. Those whose end is not seen count as somebody else's.
#[must_use]
pub(super) struct Ticket<'a> {
    issued: &'a Issued,
    statements: i64,
    is_done: bool,
}

impl Own {
    pub(super) fn on(server: &DatabaseUrl) -> Arc<Self> {
        static SERVERS: Mutex<Vec<(DatabaseUrl, Arc<Own>)>> = Mutex::new(Vec::new());
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let server = server.with_database("");
        if let Some((_, own)) = servers.iter().find(|(known, _)| *known == server) {
            return own.clone();
        }
        let own = Arc::<Self>::default();
        servers.push((server, own.clone()));
        own
    }
}

impl Issued {
    /// Before they are sent.
    pub(super) fn begin(&self, statements: usize) -> Ticket<'_> {
        let statements = i64::try_from(statements).unwrap_or(i64::MAX);
        self.started.fetch_add(statements, Ordering::SeqCst);
        Ticket { issued: self, statements, is_done: false }
    }

    /// How many had been executed for sure, to be asked before the server is.
    pub(super) fn done(&self) -> i64 {
        self.done.load(Ordering::SeqCst)
    }

    /// What is others' of so many that the server counted, after this process had `done` so many.
    pub(super) fn others(&self, counted: i64, done: i64) -> Others {
        Others { least: counted - self.started.load(Ordering::SeqCst), most: counted - done }
    }
}

impl Ticket<'_> {
    /// All of them have been executed.
    pub(super) fn done(mut self) {
        self.is_done = true;
        self.issued.done.fetch_add(self.statements, Ordering::SeqCst);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.issued.started.fetch_sub(self.statements, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_statements_are_not_taken_for_others_nor_others_for_own() {
        let issued = Issued::default();
        let then = issued.others(7, issued.done());
        assert_eq!(then, Others { least: 7, most: 7 });
        issued.begin(2).done();
        assert_eq!(issued.others(9, issued.done()).most, then.least);
        assert_ne!(issued.others(10, issued.done()).most, then.least);

        let at_work = issued.begin(1);
        // Whether it has been executed yet is not known.
        let now = issued.others(10, issued.done());
        assert_eq!(now, Others { least: 7, most: 8 });
        at_work.done();
        assert_eq!(issued.others(10, issued.done()).most, now.least);

        // One that failed, or was given up, may have been counted or not.
        drop(issued.begin(1));
        assert_ne!(issued.others(11, issued.done()).most, now.least);
    }
}
