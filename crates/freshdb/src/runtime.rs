//! Where an engine's own work runs: connecting, proving, closing, and telling the time.
//!
//! A socket belongs to the runtime in which it was opened, and is dead when that ends. An engine must not depend on the
//! runtime of whoever uses it first, which may be a test's.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtimes of this process, which never end.
pub(crate) struct Process {
    /// Does the work, and tells the time.
    workers: Runtime,
    /// Has the sockets. Its thread does nothing but wait for them: whoever reads is woken by the shortest way.
    sockets: Handle,
}

/// The runtimes of this process.
///
/// # Errors
///
/// If the system has no thread to give.
pub(crate) fn of_process() -> io::Result<&'static Process> {
    static PROCESS: LazyLock<io::Result<Process>> = LazyLock::new(Process::start);

    PROCESS.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

impl Process {
    fn start() -> io::Result<Self> {
        let workers =
            Builder::new_multi_thread().worker_threads(2).thread_name("freshdb-engine").enable_all().build()?;
        let waiting = Builder::new_current_thread().enable_all().build()?;
        let sockets = waiting.handle().clone();
        std::thread::Builder::new().name("freshdb-sockets".into()).spawn(move || waiting.block_on(pending::<()>()))?;
        Ok(Self { workers, sockets })
    }
}

/// Where the sockets of one engine live.
#[derive(Clone)]
pub(crate) enum Home {
    OfProcess(&'static Process),
    /// A runtime of the user's.
    Bound(Handle),
}

impl Home {
    /// Does work with connections in a task of its own. Where a runtime of the user's is gone, so is what was to be done:
    /// the work is dropped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Boxed, for tokio has some forty functions to compile for each type of task.
        let mut work: BoxFuture<'static, ()> = Box::pin(work);
        match self {
            Self::Bound(runtime) => drop(runtime.spawn(work)),
            &Self::OfProcess(process) => {
                drop(process.workers.spawn(poll_fn(move |context| {
                    let _entered = process.sockets.enter();
                    work.as_mut().poll(context)
                })));
            }
        }
    }
}

/// Does work in a task of the process's.
#[cfg(any(feature = "sea-orm", feature = "test"))]
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    drop(of_process()?.workers.spawn(work));
    Ok(())
}

/// What `work` gives, or nothing if that takes longer than `limit`, by the clock of the process: the caller's may be
/// paused, or there may be no runtime at all.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let started = Instant::now();
    let mut work = pin!(work);
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        // It may have been at work for longer before it began to wait.
        let rest = limit.saturating_sub(started.elapsed());
        if rest.is_zero() {
            return Poll::Ready(None);
        }
        // Most work is ready at once, and needs no timer.
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(rest)));
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Waits, by the clock of the process.
pub(crate) fn sleep(duration: Duration) -> tokio::time::Sleep {
    let _entered = of_process().expect("the engine's runtime runs").workers.enter();
    tokio::time::sleep(duration)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_was_at_work_for_too_long_is_not_waited_for_as_well() {
        let limit = Duration::from_millis(10);
        let work = async {
            std::thread::sleep(limit);
            pending::<()>().await;
        };
        assert_eq!(within(limit, work).now_or_never(), Some(None));
    }
}
