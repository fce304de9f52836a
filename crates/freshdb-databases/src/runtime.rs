//! Where freshdb's own work runs: starting servers, copying, putting back.
//!
//! A socket belongs to the runtime in which it was opened, and is dead when that ends; a test's runtime ends with the test. So
//! there is one of the process's own, which never ends.
//!
//! The body of an `async fn` is compiled in each crate that awaits it. So that a test program does not compile this crate anew, a
//! public function that has work done, and does not only wait for an answer, is a plain one, and returns a future that is boxed here.

use std::future::Future;
use std::num::NonZero;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::{io, panic};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::{BoxFuture, Error, ErrorKind};

/// A second one, on a machine of two processors, takes the process a twentieth more of their time: the two wake each other for nothing.
fn threads() -> usize {
    if available_parallelism().map_or(1, NonZero::get) < 4 { 1 } else { 2 }
}

fn of_process() -> Result<&'static Runtime, Error> {
    static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
        Builder::new_multi_thread().worker_threads(threads()).thread_name("freshdb-databases").enable_all().build()
    });

    RUNTIME.as_ref().map_err(|error| {
        Error::new(ErrorKind::Files, "the system has no thread to give")
            .because(io::Error::new(error.kind(), error.to_string()))
    })
}

/// Starts work in a task of the process's.
///
/// # Errors
///
/// If the system has no thread to give.
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<JoinHandle<T>, Error> {
    // Boxed, for tokio has some forty functions to compile for each type of task.
    let work: BoxFuture<'static, T> = Box::pin(work);
    Ok(of_process()?.spawn(work))
}

/// Does work in a task of the process's, whichever runtime polls this, or none. A panic goes on in the caller.
///
/// # Cancellation
///
/// The work goes on when this is dropped.
pub(crate) fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> BoxFuture<'static, Result<T, Error>> {
    let work: BoxFuture<'static, _> = Box::pin(work);
    Box::pin(async {
        match spawn(work)?.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => panic::resume_unwind(payload),
                // The runtime never ends, and nobody aborts this task.
                Err(error) => Err(Error::new(ErrorKind::Files, "freshdb's own work was cut off").because(error)),
            },
        }
    })
}

/// Does what waits for files, in a thread of its own. A panic goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The runtime never ends, and nobody aborts this task.
        Err(error) => panic::resume_unwind(error.into_panic()),
    }
}

/// Does somebody else's work, which may block: it holds nobody up. It finds this runtime's clock and sockets there.
///
/// # Cancellation
///
/// The work goes on when this is dropped.
pub(crate) async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let runtime = Handle::current();
    blocking(move || runtime.block_on(work)).await
}
