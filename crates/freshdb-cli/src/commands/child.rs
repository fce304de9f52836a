//! A command that ends with this process, however this process ends.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::pin::pin;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, getppid, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::Instant;

use super::terminal::is_ours;
use crate::failure::{CANNOT_BE_RUN, Failure, NOT_FOUND};

/// How long a command may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// For how long a signal may be the one with which an end began: what is typed comes to the command and to this process,
/// and `timeout` sends its signal twice.
const ECHO: Duration = Duration::from_secs(1);

/// The signals that this process is told to end with, listened for from when this is made. One that it was started to
/// ignore, as by `nohup` or beside a script, is nothing to it, nor to the command, which would not ignore it if this process
/// had listened.
pub(super) struct Ends {
    interrupt: Option<Signals>,
    terminate: Option<Signals>,
    hang_up: Option<Signals>,
    quit: Option<Signals>,
}

impl Ends {
    pub(super) fn listen() -> Result<Self, Failure> {
        let ignored = ignored();
        let listen = |kind: SignalKind| {
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            let listened = (!is_ignored).then(|| signal(kind)).transpose();
            listened.map_err(|error| Failure::new("cannot listen for signals").because(error))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            () = received(&mut self.interrupt) => Signal::INT,
            () = received(&mut self.terminate) => Signal::TERM,
            () = received(&mut self.hang_up) => Signal::HUP,
            () = received(&mut self.quit) => Signal::QUIT,
        }
    }

    /// Does the work of an end that has begun. Nothing if a signal came that did not begin it: the work is broken off.
    pub(super) async fn unless_told_again<Done>(&mut self, work: impl Future<Output = Done>) -> Option<Done> {
        let began = Instant::now();
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                _ = self.next() => if began.elapsed() > ECHO { return None },
            }
        }
    }
}

/// A bit for each signal that this process ignores, the lowest for the first. Only Linux says it.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

async fn received(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// Starts it by way of this program, which ties it to its parent before it becomes the command.
pub(super) fn start(command: &[OsString], environment: &[(&str, OsString)]) -> Result<Child, Failure> {
    let own =
        std::env::current_exe().map_err(|error| Failure::new("cannot find the program `freshdb`").because(error))?;
    let mut starter = tokio::process::Command::new(own);
    starter.arg("__start").arg(getpid().as_raw_nonzero().to_string()).args(command);
    starter.envs(environment.iter().map(|(name, value)| (name, value)));
    starter.spawn().map_err(|error| cannot_be_run(&command[0], &error))
}

/// Waits for the command's end, and hands on what this process is told to end with.
pub(super) async fn wait(mut child: Child, ends: &mut Ends) -> Result<u8, Failure> {
    let process = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut kill_at = None;
    loop {
        let signal = tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|error| Failure::new("cannot wait for the command").because(error))?;
                return Ok(exit_code(status));
            }
            signal = ends.next() => signal,
            () = until(kill_at) => Signal::KILL,
        };
        // What is typed at a terminal goes to all that it started.
        if matches!(signal, Signal::INT | Signal::QUIT) && has_the_terminal() {
            continue;
        }
        if let Some(process) = process {
            // One that has ended just now is seen above.
            kill_process(process, signal).ok();
        }
        kill_at = (signal != Signal::KILL).then(|| kill_at.unwrap_or_else(|| Instant::now() + GRACE));
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Whether this process's group is in the foreground of the terminal that it belongs to.
fn has_the_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok_and(|terminal| is_ours(&terminal))
}

fn exit_code(status: ExitStatus) -> u8 {
    let signalled = || status.signal().map(|signal| 128 + signal);
    status.code().or_else(signalled).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Becomes the command, which on Linux gets SIGTERM when `parent` has ended. Comes back only if that fails.
pub(super) fn become_command(parent: i32, command: &[OsString]) -> Failure {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        return Failure::new("cannot tie the command to freshdb").because(error);
    }
    // It may have ended before that.
    if getppid() != Pid::from_raw(parent) {
        return Failure::new("freshdb has ended before its command began");
    }
    let error = Command::new(&command[0]).args(&command[1..]).exec();
    cannot_be_run(&command[0], &error)
}

fn cannot_be_run(program: &OsString, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot run `{}`", program.display())).because(error);
    match error.kind() {
        io::ErrorKind::NotFound => failure.code(NOT_FOUND),
        _ => failure.code(CANNOT_BE_RUN),
    }
}
