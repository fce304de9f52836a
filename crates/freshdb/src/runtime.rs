//! Where an engine's own work runs: connecting, proving, closing, and telling the time.
//!
//! A socket belongs to the runtime in which it was opened, and is dead when that ends. An engine must not depend on the
//! runtime of whoever uses it first, which may be a test's.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};

/// The runtime of this process, which never ends.
///
/// # Errors
///
/// If the system has no thread to give.
pub(crate) fn of_process() -> io::Result<&'static Handle> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();

    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("freshdb-engine")
        .enable_all()
        .build()?;
    // Of two threads that come here at once, the second's is stopped again, from a thread that may not wait for it.
    if let Err(superfluous) = RUNTIME.set(runtime) {
        superfluous.shutdown_background();
    }
    Ok(RUNTIME.get().expect("it was set above").handle())
}

/// What `work` gives, or nothing if that takes longer than `limit`, by the clock of the process: the caller's may be
/// paused, or there may be no runtime at all.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        // Most work is ready at once, and needs no timer.
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Waits, by the clock of the process.
pub(crate) fn sleep(duration: Duration) -> tokio::time::Sleep {
    let _entered = of_process().expect("the engine's runtime runs").enter();
    tokio::time::sleep(duration)
}
