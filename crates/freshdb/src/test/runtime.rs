//! The runtime of one test: started, and stopped with whatever still runs on it.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use super::case::{self, Case};
use super::trace::Source;

/// How long the threads that a runtime has of itself may take to end. Given no time at all, tokio does not wait for them.
const OWN_THREADS: Duration = Duration::from_secs(1);

/// Tokio adds the limit to the present, which has no room for all of time.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The runtime of one test.
pub(super) enum Runtime {
    Own { runtime: tokio::runtime::Runtime, threads: Arc<AtomicUsize>, tasks: Tasks },
    Shared(&'static tokio::runtime::Runtime),
}

/// Where the tasks that have not ended were spawned. Only a tokio that was built with `--cfg tokio_unstable` tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks(Arc<Mutex<Vec<(u64, Source)>>>);

/// What was still running when the runtime was to be stopped.
#[derive(Debug, Default)]
pub(super) struct StillRunning {
    pub(super) tasks: usize,
    /// Of as many of them as are known.
    pub(super) spawned_at: Vec<Source>,
}

impl Runtime {
    pub(super) fn start(case: &Case) -> io::Result<Self> {
        let mut builder = match case.runtime {
            case::Runtime::Shared => return shared().map(Self::Shared),
            case::Runtime::CurrentThread => Builder::new_current_thread(),
            case::Runtime::MultiThread(threads) => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(threads.max(1));
                builder
            }
        };
        let (threads, tasks) = (Arc::new(AtomicUsize::new(0)), Tasks::default());
        let (started, stopped) = (threads.clone(), threads.clone());
        builder
            .enable_all()
            .thread_name(case.name.clone())
            .start_paused(case.start_paused)
            .on_thread_start(move || {
                started.fetch_add(1, Ordering::Relaxed);
            })
            .on_thread_stop(move || {
                stopped.fetch_sub(1, Ordering::Relaxed);
            });
        tasks.follow(&mut builder);
        Ok(Self::Own { runtime: builder.build()?, threads, tasks })
    }

    fn runtime(&self) -> &tokio::runtime::Runtime {
        match self {
            Self::Own { runtime, .. } => runtime,
            Self::Shared(runtime) => runtime,
        }
    }

    pub(super) fn handle(&self) -> &Handle {
        self.runtime().handle()
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime().block_on(work)
    }

    /// How many tasks have not ended. Of a shared one, nobody knows whose they are.
    pub(super) fn tasks(&self) -> usize {
        match self {
            Self::Own { runtime, .. } => runtime.metrics().num_alive_tasks(),
            Self::Shared(_) => 0,
        }
    }

    pub(super) fn still_running(&self) -> StillRunning {
        match self {
            Self::Own { tasks, .. } => StillRunning { tasks: self.tasks(), spawned_at: tasks.list() },
            Self::Shared(_) => StillRunning::default(),
        }
    }

    /// Drops what still runs, and says how many threads of `spawn_blocking` had not ended by then.
    pub(super) fn stop(self, limit: Duration) -> usize {
        match self {
            Self::Own { runtime, threads, .. } => {
                runtime.shutdown_timeout(limit.clamp(OWN_THREADS, LONGEST));
                threads.load(Ordering::Relaxed)
            }
            Self::Shared(_) => 0,
        }
    }
}

#[cfg(tokio_unstable)]
impl Tasks {
    fn follow(&self, builder: &mut Builder) {
        let (spawned, ended) = (self.clone(), self.clone());
        let number = |meta: &tokio::runtime::TaskMeta<'_>| meta.id().to_string().parse().unwrap_or_default();
        builder
            .on_task_spawn(move |meta| spawned.lock().push((number(meta), Source::of_location(meta.spawned_at()))))
            .on_task_terminate(move |meta| {
                let number = number(meta);
                ended.lock().retain(|(other, _)| *other != number);
            });
    }
}

#[cfg(not(tokio_unstable))]
impl Tasks {
    #[expect(clippy::unused_self, reason = "it is used where tokio tells")]
    fn follow(&self, _: &mut Builder) {}
}

impl Tasks {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Source)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Vec<Source> {
        self.lock().iter().map(|(_, source)| source.clone()).collect()
    }
}

/// The runtime that never ends.
fn shared() -> io::Result<&'static tokio::runtime::Runtime> {
    static SHARED: LazyLock<io::Result<tokio::runtime::Runtime>> =
        LazyLock::new(|| Builder::new_multi_thread().enable_all().thread_name("freshdb-shared").build());

    SHARED.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}
