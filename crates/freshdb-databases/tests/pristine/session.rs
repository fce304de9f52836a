//! A session that executes what it is told, and may be left in the middle of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use test_support::{Client, Engine};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::dirt;
use crate::script::Step;

/// For how long a step is awaited before the next one is taken. One that waits for another session's lock goes on
/// waiting meanwhile.
const PATIENCE: Duration = Duration::from_millis(60);

/// For how long a goodbye is awaited: longer than a statement waits for a lock.
const GOODBYE: Duration = Duration::from_secs(3);

/// How often each text of each kind of dirt succeeded, and why the last one failed that did not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    succeeded: HashMap<(usize, usize), u32>,
    failures: HashMap<(usize, usize), String>,
    attempts: u32,
}

impl Tally {
    fn add(&self, origin: Option<(usize, usize)>, result: Result<(), sqlx::Error>) {
        let Some(origin) = origin else { return };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.attempts += 1;
        match result {
            Ok(()) => *counts.succeeded.entry(origin).or_default() += 1,
            Err(error) => drop(counts.failures.insert(origin, error.to_string())),
        }
    }

    pub(crate) fn has(&self, origin: (usize, usize)) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).succeeded.contains_key(&origin)
    }

    pub(crate) fn failure(&self, origin: (usize, usize)) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failures.get(&origin).cloned()
    }

    /// How many steps were tried, and how many of them succeeded.
    pub(crate) fn sums(&self) -> (u32, u32) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.attempts, counts.succeeded.values().sum())
    }
}

pub(crate) struct Session {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

enum Order {
    Execute(Step, oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

impl Session {
    pub(crate) async fn open(engine: Engine, url: &str, tag: &str, tally: &Tally) -> Self {
        let mut client = Client::connect(url).await;
        client.execute(dirt::greeting(engine)).await;
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let (tag, tally) = (tag.to_owned(), tally.clone());
        let task = tokio::spawn(async move {
            while let Some(order) = inbox.recv().await {
                match order {
                    Order::Execute(step, done) => {
                        tally.add(step.origin, client.try_execute(&step.sql.replace("{tag}", &tag)).await);
                        // Whoever ordered it may have lost its patience.
                        done.send(()).unwrap_or_default();
                    }
                    Order::Close(done) => {
                        // A session that the server has ended cannot say goodbye.
                        client.close().await;
                        return done.send(()).unwrap_or_default();
                    }
                }
            }
        });
        Self { orders, task }
    }

    /// Executes a step; waits for it, but not for long.
    pub(crate) async fn execute(&self, step: Step) {
        let (done, awaited) = oneshot::channel();
        if self.orders.send(Order::Execute(step, done)).is_ok() {
            // Neither is a failure: a step that takes long, or a session that has come to its end.
            drop(timeout(PATIENCE, awaited).await);
        }
    }

    /// Says goodbye, unless it is in the middle of a statement.
    pub(crate) async fn close(self) {
        let (done, awaited) = oneshot::channel();
        if self.orders.send(Order::Close(done)).is_ok() {
            drop(timeout(GOODBYE, awaited).await);
        }
        self.drop_it().await;
    }

    /// Ends without a goodbye, perhaps in the middle of a statement.
    pub(crate) async fn drop_it(self) {
        self.task.abort();
        match self.task.await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Ok(()) | Err(_) => {}
        }
    }
}
