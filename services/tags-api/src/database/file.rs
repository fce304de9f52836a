//! The file of an embedded database, which somebody may delete or replace while the service has it open.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// A file that is open, and where it was then.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from every other while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// What is stored goes to a file that nobody finds any more, and is lost when the service ends.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{}` is not the file any more that the service has open: put that back, or restart the service", path.display())]
pub struct FileGone {
    path: PathBuf,
}

impl OpenFile {
    /// That of this path, which has just been opened, if the system tells files apart.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let identity = identity(&std::fs::metadata(path).ok()?)?;
        Some(Self { path: path.to_owned(), identity })
    }

    /// Whether it is there still. SQLite looks after that by itself, in the same way, just where there is no write-ahead log:
    /// <https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use>.
    ///
    /// # Errors
    ///
    /// If there is none, or another.
    pub(super) async fn check(&self) -> Result<(), FileGone> {
        let file = self.clone();
        // A file system may make one wait.
        tokio::task::spawn_blocking(move || file.check_at_once()).await.unwrap_or(Ok(()))
    }

    fn check_at_once(self) -> Result<(), FileGone> {
        let is_gone = match std::fs::metadata(&self.path) {
            Ok(found) => identity(&found).is_some_and(|found| found != self.identity),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if is_gone { Err(FileGone { path: self.path }) } else { Ok(()) }
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems do not tell")]
fn identity(file: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;

    Some(Identity { device: file.dev(), inode: file.ino() })
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<Identity> {
    None
}
