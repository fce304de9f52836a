//! Where the files of a run lie.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::failure::{Failure, OrFail, both};

/// A directory that is removed when it is dropped; in memory, if the system has that, so that no disk is measured. The servers'
/// data are there too.
pub(crate) fn of_a_run() -> Result<TempDir, Failure> {
    let memory = Path::new("/dev/shm");
    let place: PathBuf = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new()
        .prefix("freshdb-bench-")
        .tempdir_in(&place)
        .or_fail(|| format!("cannot create a directory in `{}`", place.display()))
}

/// Works in such a directory, and says so when it cannot be removed afterwards.
pub(crate) async fn within(work: impl AsyncFnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let directory = of_a_run()?;
    let outcome = work(directory.path()).await;
    both(outcome, close(directory))
}

/// Removes one.
pub(crate) fn close(directory: TempDir) -> Result<(), Failure> {
    let path = directory.path().display().to_string();
    directory.close().or_fail(|| format!("cannot remove `{path}`"))
}
