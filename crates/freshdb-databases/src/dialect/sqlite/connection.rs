//! The directory that stands for a server: its registry, and its locks.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};

use super::super::REGISTRY;
use super::files;

/// How long a statement waits for another process that writes to the same file. What freshdb writes there takes
/// milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a file of the directory, and the locks that it holds.
pub(crate) struct Connection {
    pub(super) file: SqliteConnection,
    directory: PathBuf,
    /// A lock is on an open file, and ends when that is closed: with this connection, or with the process, however that ends.
    locks: HashMap<String, Lock>,
}

/// A locked file.
struct Lock(File);

impl Connection {
    pub(super) fn new(directory: PathBuf, file: SqliteConnection) -> Self {
        Self { file, directory, locks: HashMap::new() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.db"))
    }

    /// A lock that this connection holds already is held by somebody, too.
    pub(super) fn try_lock(&mut self, name: &str) -> io::Result<bool> {
        let path = self.lock_path(name);
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever held it may have removed it after it was opened here. A lock on a file that has no name locks
            // nobody out.
            if is_at(&file, &path)? {
                self.locks.insert(name.to_owned(), Lock(file));
                return Ok(true);
            }
        }
    }

    /// The file is removed while it is still locked, so that nobody's but this lock's goes.
    pub(super) fn unlock(&mut self, name: &str) -> io::Result<()> {
        if let Some(lock) = self.locks.remove(name) {
            fs::remove_file(self.lock_path(name))?;
            drop(lock);
        }
        Ok(())
    }

    /// What becomes of them when it is dropped.
    #[cfg(test)]
    pub(super) fn forget_locks(&mut self) {
        self.locks.clear();
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        locks_of(&self.directory).join(format!("{name}.lock"))
    }
}

/// To close the file is not enough: a child that this process is starting at this moment has it open as well, until it executes its
/// program.
impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "a lock could not be given back, and ends with the process");
        }
    }
}

fn locks_of(directory: &Path) -> PathBuf {
    directory.join("locks")
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let file = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a file that is there.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    options(path).connect().await
}

/// Readers and the writer of the registry do not wait for each other, and a commit not for the disk: what it says is worth no more than the
/// databases that stand next to it.
fn options(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
    options.synchronous(SqliteSynchronous::Normal)
}

/// The directory is for its owner alone. One that was there already stays as open as it is.
pub(super) async fn create_registry(directory: &Path) -> Result<(), sqlx::Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(locks_of(directory))?;
    let registry = directory.join(format!("{REGISTRY}.db"));
    if registry.try_exists()? {
        return Ok(());
    }
    // A file changes its journal's mode only while nobody else has it open, so it is made under a name of its own. The name
    // that everybody looks for is given to it when it is ready, once: a link does not replace another process's.
    let draft = directory.join(format!("{REGISTRY}.{}.{:08x}", std::process::id(), fastrand::u32(..)));
    files::create(&draft)?;
    let made = make_registry(&draft, &registry).await;
    let removed = files::remove(&draft);
    made?;
    Ok(removed?)
}

async fn make_registry(draft: &Path, registry: &Path) -> Result<(), sqlx::Error> {
    options(draft).journal_mode(SqliteJournalMode::Wal).connect().await?.close().await?;
    match fs::hard_link(draft, registry) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
