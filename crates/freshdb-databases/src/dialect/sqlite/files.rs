//! The files of a database.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What SQLite adds to a file's name for those that it keeps next to it.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// What freshdb adds to it for the link that is to take its place.
const LINK: &str = "-new";

/// The directory that has a directory for each slot.
const FILES: &str = "files";

/// Makes an empty file that only its owner may open, unless there is one.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Where the files are, one after the other, that the path of a database leads to.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    path.with_file_name(FILES).join(path.file_stem().unwrap_or_default())
}

/// Makes that directory, unless it is there. Not the server's, though: one that has gone with its run would stay for ever.
pub(super) fn make_directory_of(path: &Path) -> io::Result<()> {
    let directory = directory_of(path);
    [directory.parent(), Some(&directory)].into_iter().flatten().try_for_each(|directory| {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    })
}

/// What is in that directory. There need be none.
pub(super) fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes the path of a database lead to a file next to or below it, whatever the path was before.
pub(super) fn lead(path: &Path, file: &Path) -> io::Result<()> {
    let link = with_suffix(path, LINK);
    // A killed process may have left one.
    remove_if_there(&link)?;
    let target = path.parent().and_then(|directory| file.strip_prefix(directory).ok()).unwrap_or(file);
    std::os::unix::fs::symlink(target, &link)?;
    fs::rename(&link, path)?;
    remove_companions(path)
}

/// Removes a database, whatever of it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    remove_if_there(path)?;
    remove_companions(path)?;
    remove_if_there(&with_suffix(path, LINK))?;
    match fs::remove_dir_all(directory_of(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the files next to a database's. A journal or a log that outlived its database would be played back into the
/// next one of that name.
pub(super) fn remove_companions(path: &Path) -> io::Result<()> {
    COMPANIONS.iter().try_for_each(|suffix| remove_if_there(&with_suffix(path, suffix)))
}

/// Whether there is a database, or what was one: the link may lead nowhere.
pub(super) fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a database has a log: then somebody has it open, or did not get to close it.
pub(super) fn has_log(path: &Path) -> io::Result<bool> {
    with_suffix(path, "-wal").try_exists()
}

/// Whether anything is next to a database, as it is while somebody writes to it.
pub(super) fn has_companions(path: &Path) -> io::Result<bool> {
    COMPANIONS.iter().try_fold(false, |found, suffix| Ok(found || with_suffix(path, suffix).try_exists()?))
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
