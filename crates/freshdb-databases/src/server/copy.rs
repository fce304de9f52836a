//! Copying and removing directories with all that is in them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use super::user::User;

/// Copies a directory, modes and all, and gives the copy to a user. Nobody else can enter it while it is made.
pub(super) fn tree(from: &Path, to: &Path, owner: &User) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    // At once: whatever is in it by then, its owner can remove it, should this process be killed.
    owner.own(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tree(&source, &target, owner)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
            owner.own(&target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
            owner.own(&target)?;
        }
        // A socket or a pipe is of no use in a copy.
    }
    fs::set_permissions(to, fs::Permissions::from_mode(fs::metadata(from)?.permissions().mode()))
}

/// Removes a directory that somebody may still be writing to who is about to end. It may be gone already.
pub(super) fn remove(directory: &Path, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match fs::remove_dir_all(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.exists() => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_all_and_its_modes() {
        let place = tempfile::tempdir().expect("a directory");
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("inner/most")).expect("a directory");
        fs::write(from.join("inner/file"), "text").expect("a file");
        fs::set_permissions(from.join("inner/file"), fs::Permissions::from_mode(0o640)).expect("a mode");
        fs::set_permissions(from.join("inner"), fs::Permissions::from_mode(0o750)).expect("a mode");
        symlink("inner/file", from.join("link")).expect("a link");

        tree(&from, &to, &User::Ourselves).expect("a copy");
        let mode = |path: &str| fs::metadata(to.join(path)).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode("inner"), mode("inner/file")), (0o750, 0o640));
        assert_eq!(fs::read_to_string(to.join("link")).expect("a link"), "text");
        assert!(to.join("inner/most").is_dir());

        remove(&to, Duration::ZERO).expect("it goes");
        assert!(!to.exists());
        remove(&to, Duration::ZERO).expect("it is gone already");
    }
}
