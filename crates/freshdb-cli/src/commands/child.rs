//! A command that ends with this process, however this process ends.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, getppid, kill_process};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;
use tokio::process::Child;
use tokio::sync::mpsc;
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
pub(super) struct Ends(mpsc::UnboundedReceiver<End>);

/// What this process is told to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) signal: Signal,
    /// By the kernel, which hands on what is typed at a terminal to all that is in its foreground. A process has sent it otherwise.
    is_typed: bool,
}

impl Ends {
    pub(super) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::new("cannot listen for signals").because(error);
        let ignored = ignored();
        let ends = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].map(Signal::as_raw);
        let listened = ends.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(listened).map_err(failed)?;
        let (told, ends) = mpsc::unbounded_channel();
        // It lasts as long as this process, which nobody can end meanwhile as if it did not listen.
        let listen = move || {
            for end in signals.forever().filter_map(|origin| End::of(&origin)) {
                // After the last of them, nobody asks any more.
                told.send(end).ok();
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
        Ok(Self(ends))
    }

    pub(super) async fn next(&mut self) -> End {
        match self.0.recv().await {
            Some(end) => end,
            // Who tells of them never ends.
            None => std::future::pending().await,
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

/// Has the system say how the processes that this one starts have ended. Whoever started this one may ignore SIGCHLD, with which it says
/// that to nobody.
pub(super) fn hear_of_ends() -> Result<(), Failure> {
    hear_of(Signal::CHILD)
}

/// Has a write fail that would make a file larger than files may be here (`ulimit -f`), so that it can be told; it would end this process.
pub(super) fn hear_of_large_files() -> Result<(), Failure> {
    hear_of(Signal::XFSZ)
}

/// Takes the signal for no more than its sound. What this process starts takes it as the system does.
fn hear_of(signal: Signal) -> Result<(), Failure> {
    signal_hook::flag::register(signal.as_raw(), Arc::default())
        .map(drop)
        .map_err(|error| Failure::new("cannot listen for signals").because(error))
}

/// A bit for each signal that this process ignores, the lowest for the first. Only Linux says it.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

impl End {
    fn of(origin: &Origin) -> Option<Self> {
        Some(Self { signal: Signal::from_named_raw(origin.signal)?, is_typed: origin.process.is_none() })
    }
}

/// Starts it by way of this program, which ties it to its parent before it becomes the command.
pub(super) fn start(command: &[OsString], environment: &[(&str, OsString)]) -> Result<Child, Failure> {
    let own =
        std::env::current_exe().map_err(|error| Failure::new("cannot find the program `freshdb`").because(error))?;
    // Linux leads to the file that is running even where another has taken its place since.
    let running = if cfg!(target_os = "linux") { Path::new("/proc/self/exe") } else { &own };
    let mut starter = tokio::process::Command::new(running);
    starter.arg0("freshdb").arg("__start").arg(getpid().as_raw_nonzero().to_string()).args(command);
    starter.envs(environment.iter().map(|(name, value)| (name, value)));
    starter
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start freshdb's own program `{}`", own.display())).because(error))
}

/// Waits for the command's end, and hands on what this process is told to end with.
pub(super) async fn wait(mut child: Child, ends: &mut Ends) -> Result<u8, Failure> {
    let process = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut kill_at = None;
    let mut typed = Typed::default();
    loop {
        let signal = tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|error| Failure::new("cannot wait for the command").because(error))?;
                return Ok(exit_code(status));
            }
            end = ends.next() => {
                if typed.has_reached_the_command(end, has_the_terminal(), Instant::now()) {
                    continue;
                }
                end.signal
            }
            () = until(kill_at) => Signal::KILL,
        };
        if let Some(process) = process {
            // One that has ended just now is seen above.
            kill_process(process, signal).ok();
        }
        kill_at = (signal != Signal::KILL).then(|| kill_at.unwrap_or_else(|| Instant::now() + GRACE));
    }
}

/// What was typed at the terminal of this process, and when.
#[derive(Default)]
struct Typed(Option<(Signal, Instant)>);

impl Typed {
    /// Whether the command has got it as well: what is typed goes to all that is in the foreground. Whoever started this process may hand it
    /// on once more, as `npm` does.
    fn has_reached_the_command(&mut self, end: End, has_the_terminal: bool, now: Instant) -> bool {
        if !matches!(end.signal, Signal::INT | Signal::QUIT) || !has_the_terminal {
            return false;
        }
        if end.is_typed {
            self.0 = Some((end.signal, now));
            return true;
        }
        self.0.is_some_and(|(signal, at)| signal == end.signal && now.duration_since(at) <= ECHO)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_not_handed_on() {
        let [typed, sent] = [true, false].map(|is_typed| End { signal: Signal::INT, is_typed });
        let (mut seen, now) = (Typed::default(), Instant::now());
        assert!(!seen.has_reached_the_command(sent, true, now), "by `kill`, at a terminal");
        assert!(!seen.has_reached_the_command(typed, false, now), "at a terminal that others have");
        assert!(seen.has_reached_the_command(typed, true, now));
        assert!(seen.has_reached_the_command(sent, true, now + ECHO), "by whoever got it, too");
        for signal in [Signal::QUIT, Signal::TERM] {
            assert!(!seen.has_reached_the_command(End { signal, is_typed: false }, true, now), "another one");
        }
        assert!(!seen.has_reached_the_command(sent, true, now + 2 * ECHO), "later");
    }
}
