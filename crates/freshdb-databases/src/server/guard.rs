//! Who removes a directory that is being made, should this process be killed before the directory has a keeper.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A line says that the directory is somebody else's to remove; the pipe's end, that it is nobody's.
const SCRIPT: &str = r#"trap '' HUP INT TERM; read -r line || rm -rf -- "$@""#;

/// A shell that removes what is at some paths when this is dropped, or this process ends, unless it was [released](Self::release).
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
    line: Option<ChildStdin>,
}

impl Guard {
    /// Of whatever is made at these paths from now on.
    ///
    /// # Errors
    ///
    /// If there is no shell.
    pub(super) fn of(paths: [&PathBuf; 2]) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "freshdb-guard"]).args(paths).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Out of reach of a Ctrl-C, which goes to the terminal's group.
        command.process_group(0);
        let mut shell = command.spawn()?;
        let line = shell.stdin.take();
        Ok(Self { shell, line })
    }

    /// Leaves the directory to its keeper.
    pub(super) fn release(mut self) {
        if let Some(line) = &mut self.line {
            // A shell that is dead removes nothing either.
            drop(line.write_all(b"\n"));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.line.take());
        // There is nobody else to take note of its end, which has come, or is a removal away.
        match self.shell.wait() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                tracing::warn!("a directory that was begun may still be there: its guard ended with {status}");
            }
            Err(error) => tracing::warn!(%error, "a directory that was begun may still be there"),
        }
    }
}
