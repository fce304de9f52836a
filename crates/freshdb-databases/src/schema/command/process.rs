//! The program runs, and leaves nothing behind.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Child;

use super::Command;
use super::output::Output;
use crate::schema::Target;
use crate::{Error, ErrorKind};

/// How long what the program has written may take to arrive when it has ended. Only a process that has left the group and still
/// holds the pipe makes this pass.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Command {
    /// Runs the program to its end.
    pub(super) async fn run(&self, target: &Target) -> Result<(), Error> {
        let group = Group::begin().map_err(|error| {
            Error::new(ErrorKind::Schema, "failed to start `/bin/sh`, which ends the program with this process")
                .because(error)
        })?;
        let mut child = self.prepared(target, &group).spawn().map_err(|error| {
            let fact = format!("the program `{}` cannot be started", self.program.display());
            let missing = error.kind() == io::ErrorKind::NotFound;
            let failure = Error::new(ErrorKind::Schema, fact).because(error);
            match &self.directory {
                Some(directory) if missing && !directory.is_dir() => {
                    failure.hint(format!("its directory `{}` is not there", directory.display()))
                }
                _ => failure,
            }
        })?;
        let output = Output::default();
        let mut reading = std::pin::pin!(output.read(child.stdout.take(), child.stderr.take()));
        let (status, all_read) = tokio::select! {
            status = child.wait() => (status, false),
            // A program may close its output and go on.
            () = &mut reading => (child.wait().await, true),
        };
        // What it has left running, which may still be connected to the database.
        drop(group);
        if !all_read && tokio::time::timeout(LAST_WORDS, reading).await.is_err() {
            tracing::warn!(program = self.name(), "a process that has left its group still holds the program's output");
        }
        let status = status.map_err(|error| {
            Error::new(ErrorKind::Schema, format!("it is unknown how `{}` ended", self.name())).because(error)
        })?;
        if status.success() {
            return Ok(());
        }
        let written = match output.last_lines(target.url()) {
            lines if lines.is_empty() => "it wrote nothing".to_owned(),
            lines => format!("its last lines are:\n{lines}"),
        };
        Err(Error::new(ErrorKind::Schema, format!("`{}` {}; {written}", self.name(), ending(status))))
    }

    fn prepared(&self, target: &Target, group: &Group) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        group.take_in(&mut command);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let url = target.url().reveal();
        if self.urls.is_empty() {
            command.env("DATABASE_URL", &url);
        }
        command.envs(self.urls.iter().map(|name| (name, &url)));
        command
    }
}

fn ending(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with code {code}"),
        None => format!("was ended: {status}"),
    }
}

/// The program and what it has started, killed when this is dropped, and when this process ends, however it does: its leader is a shell
/// that waits for the end of a pipe which nobody else holds.
struct Group {
    #[cfg(unix)]
    keeper: Child,
}

/// Reads what never comes. The signal ends the shell as well.
#[cfg(unix)]
const KEEPER: &str = "read -r never; kill -KILL 0";

impl Group {
    #[cfg(unix)]
    fn begin() -> io::Result<Self> {
        let mut keeper = tokio::process::Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "freshdb-schema"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        keeper.current_dir("/").env_clear();
        // Out of reach of a Ctrl-C, which goes to the terminal's group: the program ends with this process, and not before.
        keeper.process_group(0).kill_on_drop(true);
        Ok(Self { keeper: keeper.spawn()? })
    }

    #[cfg(not(unix))]
    fn begin() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The keeper is not waited for before this is dropped, so that nobody else can have its number.
    #[cfg(unix)]
    fn leader(&self) -> Option<rustix::process::Pid> {
        self.keeper.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    }

    #[cfg(unix)]
    fn take_in(&self, command: &mut tokio::process::Command) {
        if let Some(leader) = self.leader() {
            command.process_group(leader.as_raw_nonzero().get());
        }
    }

    #[cfg(not(unix))]
    fn take_in(&self, _: &mut tokio::process::Command) {}
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader() {
            match rustix::process::kill_process_group(leader, rustix::process::Signal::KILL) {
                // There is nobody left, as it should be.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => tracing::warn!(%error, "what the program has left running cannot be killed"),
            }
        }
    }
}
