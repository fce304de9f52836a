//! The files of a database.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What SQLite adds to a file's name for those that it keeps next to it.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// What freshdb adds to it for the file that is to take its place.
const DRAFT: &str = "-new";

/// Makes an empty file that only its owner may open, unless there is one.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Where the file that is to take a database's place is written. There may be one that a killed process left.
pub(super) fn draft_of(path: &Path) -> PathBuf {
    with_suffix(path, DRAFT)
}

/// Removes a database, whatever of it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    remove_if_there(path)?;
    remove_companions(path)?;
    remove_if_there(&draft_of(path))
}

/// Removes the files next to a database's. A journal or a log that outlived its database would be played back into the
/// next one of that name.
pub(super) fn remove_companions(path: &Path) -> io::Result<()> {
    COMPANIONS.iter().try_for_each(|suffix| remove_if_there(&with_suffix(path, suffix)))
}

/// Whether there are files next to a database's.
pub(super) fn has_companions(path: &Path) -> io::Result<bool> {
    for suffix in COMPANIONS {
        if with_suffix(path, suffix).try_exists()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a database has a log: then somebody has it open, or did not get to close it.
pub(super) fn has_log(path: &Path) -> io::Result<bool> {
    with_suffix(path, "-wal").try_exists()
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
