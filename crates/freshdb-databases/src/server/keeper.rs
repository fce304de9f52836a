//! Who ends a server when this process, or that of the run, has ended, however it did: a shell that waits for a pipe to close, or
//! watches the run's process.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fd::AsRawFd;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::watch;

use super::copy;
use super::directory::RunDirectory;
use super::engine::{Ending, Invocation};
use super::run::Run;
use super::user::User;
use crate::{Config, Error, ErrorKind, runtime};

const SCRIPT: &str = include_str!("keeper.sh");

/// How long a program may take to end itself when it is told to.
const ENDING_LIMIT: Duration = Duration::from_secs(2);

/// How long a directory may resist. What still writes to it has been killed.
const REMOVAL_LIMIT: Duration = Duration::from_secs(5);

/// A program that runs for as long as this lives, and the directory that goes with it. Dropped, it hands over to the shell,
/// and so does the end of this process.
#[derive(Debug)]
pub(super) struct Keeper {
    /// The pipe that it waits for. Nobody inherits it: std's pipes close on exec.
    line: Mutex<Option<File>>,
    directory: PathBuf,
    life: watch::Receiver<Life>,
}

/// How far it has come.
#[derive(Clone, Debug, Default)]
struct Life {
    process: Option<u32>,
    /// Nobody has the program's end of its pipe any more.
    program_ended: bool,
    code: Option<i32>,
    /// The run's process counts from now on.
    kept: bool,
    /// What the shell complained of.
    complaint: String,
    /// The keeper is gone, and the directory too, unless that failed.
    gone: Option<Result<(), String>>,
}

impl Keeper {
    /// Keeps a directory for a program that is yet to [begin](Self::begin), or for nobody. As the user, who must be able to remove
    /// the directory. With a run, it can be [left to that](Self::leave_to_run).
    ///
    /// # Errors
    ///
    /// If there is no shell.
    pub(super) fn hold(
        mut directory: RunDirectory,
        user: &User,
        config: &Config,
        run: Option<&Run>,
        invocation: Option<&Invocation>,
    ) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::NoServer, "failed to start `/bin/sh`, which keeps servers").because(error)
        };
        // The shell inherits these: the run's process, and the lock on the directory, which ends with the last who has it. Another
        // child that is started at this moment may get them too, and does nothing with them.
        let inherited = match run {
            Some(run) => Some((run.share().map_err(failed)?, directory.share_lock().map_err(failed)?)),
            None => None,
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "freshdb-keeper"]).arg(directory.path());
        let ending = invocation.map(|invocation| invocation.ending).unwrap_or_default();
        command.arg(ending.name());
        command.arg(inherited.as_ref().map(|(run, _)| run.as_raw_fd().to_string()).unwrap_or_default());
        if let Some(invocation) = invocation {
            command.arg(&invocation.program).args(&invocation.arguments);
        }
        let working_directory = invocation.and_then(|invocation| invocation.working_directory.as_deref());
        command.current_dir(working_directory.unwrap_or(directory.path()));
        // What our environment would change in a server is left behind.
        command.env_clear().envs(config.environment().iter().map(|(name, value)| (name, value)));
        command.env("LC_ALL", "C.UTF-8").env("HOME", directory.path()).env("TMPDIR", directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Out of reach of a Ctrl-C, which goes to the terminal's group.
        command.process_group(0);
        user.run(&mut command);

        let mut child = tokio::process::Command::from(command).spawn().map_err(failed)?;
        directory.is_kept();
        drop(inherited);
        let pipe = child.stdin.take().expect("it is piped").into_owned_fd().map_err(failed)?;
        let (stdout, stderr) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));

        let (told, life) = watch::channel(Life::default());
        let keeper = Self { line: Mutex::new(Some(pipe.into())), directory: directory.path().to_owned(), life };
        let program_follower = told.clone();
        drop(runtime::spawn(follow_program(stderr, program_follower))?);
        drop(runtime::spawn(follow_keeper(child, stdout, directory, ending, told))?);
        Ok(keeper)
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// If the keeper is gone.
    pub(super) fn begin(&self) -> Result<(), Error> {
        self.order("start").map_err(|error| {
            Error::new(ErrorKind::NoServer, "the shell that keeps a server has ended before it was started")
                .because(error)
        })
    }

    /// Has all of this end with the run's process from now on, and no longer with this one.
    ///
    /// # Errors
    ///
    /// If the run's process, or the keeper, has ended.
    pub(super) async fn leave_to_run(self) -> Result<(), Error> {
        self.order("keep").map_err(|error| Run::ended().because(error))?;
        let mut life = self.life.clone();
        self.until(&mut life, |life| life.kept || life.gone.is_some()).await;
        if life.borrow().kept { Ok(()) } else { Err(Run::ended()) }
    }

    pub(super) fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// The program's process, once it has one.
    pub(super) fn process(&self) -> Option<u32> {
        self.life.borrow().process
    }

    /// Whether the program has ended by itself, or everything has been stopped.
    pub(super) fn has_ended(&self) -> bool {
        let life = self.life.borrow();
        life.program_ended || life.gone.is_some() || self.line().is_none()
    }

    /// Waits until the program has ended by itself, and gives its exit code, which is more than 128 for a signal; nothing if it is
    /// not known. The directory is still there.
    pub(super) async fn program_end(&self) -> Option<i32> {
        let mut life = self.life.clone();
        self.until(&mut life, |life| life.program_ended || life.gone.is_some()).await;
        // A write that fails says that the keeper is gone, which is seen below.
        if self.order("wait").is_ok() {
            self.until(&mut life, |life| life.code.is_some() || life.gone.is_some()).await;
        }
        life.borrow().code
    }

    /// What the keeper itself complained of.
    pub(super) fn complaint(&self) -> String {
        self.life.borrow().complaint.trim().to_owned()
    }

    /// Ends the program and removes the directory.
    ///
    /// # Errors
    ///
    /// If the directory cannot be removed.
    pub(super) async fn stop(&self) -> Result<(), Error> {
        drop(self.line().take());
        let mut life = self.life.clone();
        self.until(&mut life, |life| life.gone.is_some()).await;
        let gone = life.borrow().gone.clone();
        match gone {
            Some(Ok(())) | None => Ok(()),
            Some(Err(cause)) => {
                let fact = format!("failed to remove `{}`, a stopped server's directory", self.directory.display());
                Err(Error::new(ErrorKind::Files, fact).because(cause))
            }
        }
    }

    fn order(&self, order: &str) -> io::Result<()> {
        match self.line().as_mut() {
            Some(line) => line.write_all(format!("{order}\n").as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    async fn until(&self, life: &mut watch::Receiver<Life>, reached: impl FnMut(&Life) -> bool) {
        // An error says that the two that follow are gone, which end last of all.
        drop(life.wait_for(reached).await);
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.line.lock().expect("nobody panics with it")
    }
}

/// Sees the program end, for it is the last one to hold this pipe. All that comes through it are the shell's complaints.
async fn follow_program(mut pipe: ChildStderr, life: watch::Sender<Life>) {
    let mut complaint = Vec::new();
    let result = pipe.read_to_end(&mut complaint).await;
    life.send_modify(|life| {
        life.complaint = String::from_utf8_lossy(&complaint).into_owned();
        if let Err(error) = result {
            life.complaint.push_str(&error.to_string());
        }
        life.program_ended = true;
    });
}

async fn follow_keeper(
    mut child: Child,
    pipe: ChildStdout,
    directory: RunDirectory,
    ending: Ending,
    life: watch::Sender<Life>,
) {
    let mut reports = BufReader::new(pipe).lines();
    // Reading fails no other way than at the end.
    while let Ok(Some(report)) = reports.next_line().await {
        life.send_modify(|life| match report.split_once(' ') {
            Some(("started", process)) => life.process = process.parse().ok(),
            Some(("ended", code)) => life.code = code.parse().ok(),
            None if report == "kept" => life.kept = true,
            _ => {}
        });
    }
    let waited = child.wait().await;
    let gone = if directory.path().exists() { clean_up(&directory, ending, &life).await } else { Ok(()) };
    // The lock ends after the directory.
    drop(directory);
    let gone = gone.and(waited.map(drop)).map_err(|error| error.to_string());
    if let Err(cause) = &gone {
        tracing::warn!("a throwaway server was not cleaned up: {cause}");
    }
    life.send_modify(|life| life.gone = Some(gone));
}

/// Does what a keeper would have done that was killed, or that failed to.
async fn clean_up(directory: &RunDirectory, ending: Ending, life: &watch::Sender<Life>) -> io::Result<()> {
    let process = life.borrow().process;
    if let Some(process) = process.and_then(|process| Pid::from_raw(process.cast_signed())) {
        // The kernel has most likely sent it that already, and the program is about to end.
        for signal in [ending.signal(), Signal::KILL] {
            end(process, signal, life).await?;
        }
    }
    let path = directory.path().to_owned();
    let removal = tokio::task::spawn_blocking(move || copy::remove(&path, REMOVAL_LIMIT));
    removal.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Sends a signal to the program, unless it has ended, and waits until it has, but not for ever.
async fn end(process: Pid, signal: Signal, life: &watch::Sender<Life>) -> io::Result<()> {
    // As long as it has not ended, the number is its own.
    if life.borrow().program_ended {
        return Ok(());
    }
    match kill_process(process, signal) {
        Err(error) if error != rustix::io::Errno::SRCH => return Err(error.into()),
        _ => {}
    }
    let mut life = life.subscribe();
    let ended = life.wait_for(|life| life.program_ended);
    // If it has not ended by then, there is a signal left to send, or the directory resists and that is reported.
    drop(tokio::time::timeout(ENDING_LIMIT, ended).await);
    Ok(())
}
