//! The terminal, which a command may leave in another state than it found it in.

use std::fs::File;

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The settings of the terminal that this process has, put back when this is dropped.
pub(super) struct Terminal {
    file: File,
    settings: Termios,
}

impl Terminal {
    /// Nothing where there is none, or another process group has it.
    pub(super) fn remember() -> Option<Self> {
        let file = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let settings = tcgetattr(&file).ok()?;
        is_ours(&file).then_some(Self { file, settings })
    }
}

/// Whether this process's group is in the foreground of the terminal. Whoever is not would be stopped for changing it.
pub(super) fn is_ours(terminal: &File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if is_ours(&self.file) {
            // One that has hung up has no settings.
            tcsetattr(&self.file, OptionalActions::Now, &self.settings).ok();
        }
    }
}
