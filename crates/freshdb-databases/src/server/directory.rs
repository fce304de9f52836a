//! The directory of one throwaway server: its data, its socket, its log. Who made it holds a lock on it, which ends with that
//! process, so whoever finds it later can tell whether it is still needed.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::geteuid;

use super::copy;
use super::guard::Guard;
use super::run::inheritable;
use super::user::User;
use crate::config::variables;
use crate::{Config, Error, ErrorKind};

/// Of the name of every such directory.
const PREFIX: &str = "freshdb-run.";
/// Of its name until it is locked.
const UNLOCKED: &str = ".freshdb-run.";
/// For how long it may take to lock a directory that was just made.
const UNLOCKED_LIMIT: Duration = Duration::from_mins(1);
/// The longest path of a socket, and the longest name that a server gives it.
const LONGEST_SOCKET: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const SOCKET_NAME: &str = "/.s.PGSQL.65535";
/// Below that, memory is not used: the servers need some hundred megabytes each.
const LEAST_MEMORY: u64 = 1 << 30;

/// A directory that only one user can enter. It is removed with this, or with this process, until it has a keeper.
#[derive(Debug)]
pub(super) struct RunDirectory {
    path: PathBuf,
    lock: File,
    guard: Option<Guard>,
}

impl RunDirectory {
    /// Makes one for a server of this user, in memory where there is room.
    ///
    /// # Errors
    ///
    /// If there is no place for it.
    pub(super) fn create(config: &Config, user: &User) -> Result<Self, Error> {
        Self::create_named(config, user, "")
    }

    /// Makes one that others [find](named) by this name.
    ///
    /// # Errors
    ///
    /// If there is no place for it.
    pub(super) fn create_named(config: &Config, user: &User, name: &str) -> Result<Self, Error> {
        let bases = bases(config)?;
        for base in &bases {
            if user.can_write(base) {
                return create_in(base, user, name).map_err(|error| {
                    let is_of_umask =
                        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TakenByUmask>);
                    let fact = format!("failed to make a directory in `{}`", base.display());
                    let error = Error::new(ErrorKind::Files, fact).because(error);
                    if is_of_umask { error.hint("run `umask 022` first") } else { error }
                });
            }
        }
        let tried = bases.iter().map(|base| format!("`{}`", base.display())).collect::<Vec<_>>().join(", ");
        let fact =
            format!("there is no directory for a database server's data: {} cannot write to {tried}", user.title());
        Err(Error::new(ErrorKind::Files, fact).hint(format!(
            "set {} to a directory that {} can write to",
            variables::RUN_DIR,
            user.title()
        )))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock, for a child to inherit.
    pub(super) fn share_lock(&self) -> io::Result<OwnedFd> {
        inheritable(&self.lock)
    }

    /// It has a keeper, who removes it.
    pub(super) fn is_kept(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
    }
}

/// Nobody could use what is made, not even whose it is.
#[derive(Debug)]
struct TakenByUmask;

impl fmt::Display for TakenByUmask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the umask takes from whoever makes a directory what they need to use it")
    }
}

impl std::error::Error for TakenByUmask {}

fn create_in(base: &Path, user: &User, name: &str) -> io::Result<RunDirectory> {
    loop {
        // Never the same twice: whoever removes one that its maker left cannot remove the next.
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
        let path = base.join(format!("{PREFIX}{name}{random}"));
        let unlocked = base.join(format!("{UNLOCKED}{name}{random}"));
        let guard = Guard::of([&unlocked, &path])?;
        match DirBuilder::new().mode(0o700).create(&unlocked) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                guard.release();
                continue;
            }
            result => result?,
        }
        if fs::symlink_metadata(&unlocked)?.mode() & 0o700 != 0o700 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, TakenByUmask));
        }
        let lock = File::open(&unlocked)?;
        lock.lock()?;
        user.own(&unlocked)?;
        fs::rename(&unlocked, &path)?;
        return Ok(RunDirectory { path, lock, guard: Some(guard) });
    }
}

/// The directories that were made by this name.
pub(super) fn named(config: &Config, name: &str) -> impl Iterator<Item = PathBuf> {
    let prefix = format!("{PREFIX}{name}");
    // Whichever has room now: it may have been another one then.
    let entries = config.run_dirs().into_iter().filter_map(|base| fs::read_dir(base).ok()).flatten().flatten();
    entries.filter(move |entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes())).map(|entry| entry.path())
}

/// Whether a directory is of this user, closed to all others, and held by somebody.
pub(super) fn is_held(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is somebody else's, or open to others"));
    }
    // Shared, so that those who ask at once do not take each other for who holds it.
    match File::open(path)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Where it may be, best first.
fn bases(config: &Config) -> Result<Vec<PathBuf>, Error> {
    let bases = if let Some(base) = config.run_dir() {
        fs::create_dir_all(base).map_err(|error| {
            let fact = format!("failed to make `{}`, which {} names", base.display(), variables::RUN_DIR);
            Error::new(ErrorKind::Files, fact).because(error)
        })?;
        vec![base.to_owned()]
    } else {
        let (last, others) = config.usual_run_dirs().split_last().expect("there are some");
        let mut bases: Vec<_> = others.iter().filter(|base| is_memory_with_room(base)).cloned().collect();
        bases.push(last.clone());
        bases
    };
    let (mut usable, mut reason) = (Vec::new(), None);
    for base in bases {
        match check(&base) {
            Ok(()) => usable.push(base),
            Err(error) => reason = reason.or(Some(error)),
        }
    }
    match reason {
        Some(error) if usable.is_empty() => Err(error),
        _ => Ok(usable),
    }
}

/// Why what is in a directory could not be reached, if it could not.
fn check(base: &Path) -> Result<(), Error> {
    let longest = LONGEST_SOCKET - SOCKET_NAME.len() - PREFIX.len() - 9;
    let (shown, length) = (base.display(), base.as_os_str().as_bytes().len());
    if length > longest {
        let fact = format!("the path `{shown}` has {length} bytes, too many for a socket in it");
        return Err(Error::new(ErrorKind::Config, fact)
            .hint(format!("set {} to a directory whose path has at most {longest} bytes", variables::RUN_DIR)));
    }
    if base.to_str().is_none() {
        let fact = format!("the path `{shown}` is not valid UTF-8, as a driver wants it");
        return Err(
            Error::new(ErrorKind::Config, fact).hint(format!("set {} to another directory", variables::RUN_DIR))
        );
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn is_memory_with_room(directory: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;

    let Ok(system) = rustix::fs::statfs(directory) else { return false };
    let (kind, block) = (u64::try_from(system.f_type), u64::try_from(system.f_bsize));
    kind == Ok(TMPFS) && block.is_ok_and(|block| system.f_bavail.saturating_mul(block) > LEAST_MEMORY)
}

#[cfg(not(target_os = "linux"))]
fn is_memory_with_room(_directory: &Path) -> bool {
    false
}

/// Removes what dead processes have left: those whose keeper was killed as well.
pub(super) fn sweep(config: &Config) {
    // Those of our servers, and those that are ours.
    let ours = [geteuid().as_raw(), User::for_server().map_or(geteuid().as_raw(), |user| user.uid())];
    for entry in config.run_dirs().iter().filter_map(|base| fs::read_dir(base).ok()).flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) && !name.starts_with(UNLOCKED) {
            continue;
        }
        let path = entry.path();
        let removed = match is_left_behind(&path, name.starts_with(UNLOCKED), ours) {
            // It holds the lock until the directory is gone.
            Ok(Some(_lock)) => copy::remove(&path, Duration::ZERO),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("`{}` was left by a process that is dead, and is still there: {error}", path.display());
            }
            _ => {}
        }
    }
}

/// The lock on it, if nobody else has that.
fn is_left_behind(path: &Path, unlocked: bool, ours: [u32; 2]) -> io::Result<Option<File>> {
    let metadata = fs::symlink_metadata(path)?;
    let fresh = unlocked && metadata.modified()?.elapsed().is_ok_and(|age| age < UNLOCKED_LIMIT);
    if !ours.contains(&metadata.uid()) || !metadata.is_dir() || fresh {
        return Ok(None);
    }
    let lock = File::open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Writes a file that nobody else can read.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
