//! A disk so small that a test can fill it.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of its own, in memory.
pub(crate) struct Disk {
    mounted_at: TempDir,
}

impl Disk {
    /// Mounts one, which only root may; says why not where that is impossible.
    pub(crate) fn mount(mebibytes: u32) -> Result<Self, String> {
        let mounted_at = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=0777"), "freshdb-test"])
            .arg(mounted_at.path())
            .output()
            .map_err(|error| format!("`mount` cannot be run: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        fs::set_permissions(mounted_at.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Ok(Self { mounted_at })
    }

    pub(crate) fn path(&self) -> &Path {
        self.mounted_at.path()
    }

    /// Leaves no room at all, also where some was made meanwhile.
    pub(crate) fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for piece in [1 << 20, 1 << 12, 1] {
            let bytes = vec![1; piece];
            loop {
                match file.write(&bytes) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At once from the tree, and in fact when nobody uses it any more.
        let done = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.path().display());
        }
    }
}
