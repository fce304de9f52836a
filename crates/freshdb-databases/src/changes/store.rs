//! Changes that were written down, for somebody to look at when the database and its server are gone.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::geteuid;

use super::Changes;
use crate::config::variables;
use crate::server::write_private;
use crate::{Config, Error, ErrorKind};

/// How many are kept, and for how long, as kept databases are.
const MOST: usize = 100;
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// After that, nobody is still writing a file: whoever began it was killed.
const LONGEST_WRITE: Duration = Duration::from_hours(1);

impl Changes {
    /// Writes it down in the [cache](Config::cache_dir), in a file that only this user can read, where
    /// [`stored`](Self::stored) finds it. The newest hundred are kept for a week.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn store(&self, config: &Config) -> Result<PathBuf, Error> {
        let directory = directory(config);
        // The clock may have been set back since the others were written: what is written last is the newest.
        let number =
            files(&directory).last().and_then(|newest| number(newest)).map_or(0, |newest| newest.saturating_add(1));
        let path = directory.join(format!("{:013}-{}.json", self.at_ms.max(number), self.database));
        // Whoever looks meanwhile sees all of it or nothing.
        let part = path.with_extension(format!("{:016x}", fastrand::u64(..)));
        // The cache is for others, too: as root, servers that are unpacked there are run as another user.
        let written = fs::create_dir_all(config.cache_dir())
            .and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(&directory))
            .and_then(|()| write_private(&part, &serde_json::to_string(self)?))
            .and_then(|()| fs::rename(&part, &path));
        written.map_err(|error| {
            // It may not have been begun.
            drop(fs::remove_file(&part));
            Error::new(ErrorKind::Files, format!("failed to write `{}`", path.display()))
                .because(error)
                .hint(format!("set {} to a directory that can be written", variables::CACHE_DIR))
        })?;
        forget_the_oldest(&directory);
        Ok(path)
    }

    /// All that was written down by this user, the newest first.
    pub fn stored(config: &Config) -> Vec<Self> {
        let files = files(&directory(config)).into_iter().rev();
        // What another version wrote, or is being removed, is passed over.
        files.filter_map(|path| serde_json::from_str(&fs::read_to_string(path).ok()?).ok()).collect()
    }
}

fn directory(config: &Config) -> PathBuf {
    config.cache_dir().join(format!("changes-of-user{}", geteuid().as_raw()))
}

/// The oldest first.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = entries(directory).filter(|path| is_complete(path)).collect();
    files.sort_by_cached_key(|path| (number(path), path.clone()));
    files
}

/// What orders the files.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_complete(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "json")
}

fn forget_the_oldest(directory: &Path) {
    let files = files(directory);
    let too_many = files.len().saturating_sub(MOST);
    let old = files.iter().enumerate().filter(|(index, path)| *index < too_many || is_older(path, LONGEST));
    let left = entries(directory).filter(|path| !is_complete(path) && is_older(path, LONGEST_WRITE));
    for path in old.map(|(_, path)| path.clone()).chain(left) {
        // Another process may have removed it.
        drop(fs::remove_file(path));
    }
}

fn is_older(path: &Path, limit: Duration) -> bool {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > limit))
}
