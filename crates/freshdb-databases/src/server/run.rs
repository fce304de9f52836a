//! The run: the process with which private servers end, where that is another one than this.
//!
//! It is named by its number and known by a descriptor of it (a pidfd), so that whoever gets the number later is not taken for it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

#[cfg(target_os = "linux")]
use crate::config::RunSetting;
use crate::{Config, Error, ErrorKind};

/// The process of a run. It was alive when this was made.
#[derive(Debug)]
pub(super) struct Run {
    /// What tells it from every other run of this machine, past and to come.
    pub(super) identity: String,
    process: OwnedFd,
}

impl Run {
    /// The run that the configuration says this process belongs to; nothing if it says none, or if the process of it cannot be told
    /// with certainty.
    #[cfg(target_os = "linux")]
    pub(super) fn of(config: &Config) -> Option<Self> {
        let found = match config.run() {
            RunSetting::Own => return None,
            RunSetting::Process { process, start_time } => linux::named(*process, *start_time),
            RunSetting::Nextest { id } => linux::nextest(id),
        };
        match found {
            Ok(run) => Some(run),
            Err(reason) => {
                tracing::warn!("private servers end with this process, and not with its run: {reason}");
                None
            }
        }
    }

    /// Where the kernel has no such descriptors, every process has servers of its own.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(_: &Config) -> Option<Self> {
        None
    }

    /// Whether the process is dead, if nobody has taken note of it yet, too. What cannot be asked lives.
    pub(super) fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
    }

    /// Why nothing is started for a run that is no more.
    pub(super) fn ended() -> Error {
        Error::new(ErrorKind::NoServer, "the run that a server is to end with has ended")
    }

    /// The descriptor, for a child to inherit.
    pub(super) fn share(&self) -> std::io::Result<OwnedFd> {
        inheritable(&self.process)
    }
}

/// A descriptor that children inherit, of a number that no shell's script uses for a descriptor of its own.
pub(super) fn inheritable(of: &impl AsFd) -> std::io::Result<OwnedFd> {
    let descriptor = fcntl_dupfd_cloexec(of, 10)?;
    fcntl_setfd(&descriptor, FdFlags::empty())?;
    Ok(descriptor)
}

/// Whether a process is there that began at this time, and is more than a note of its death.
pub(super) fn lives(process: u32, start_time: u64) -> bool {
    stat(process).is_some_and(|stat| stat.start_time == start_time && !stat.is_dead)
}

/// When a process began, in the kernel's ticks since the machine did.
pub(super) fn start_time(process: u32) -> Option<u64> {
    stat(process).map(|stat| stat.start_time)
}

/// What the kernel says of a process.
struct Stat {
    is_dead: bool,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nobody asks for it"))]
    parent: u32,
    start_time: u64,
}

fn stat(process: u32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{process}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name in the second field may hold blanks and brackets.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    Some(Stat {
        is_dead: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// The script that keeps servers opens and closes descriptor 3.
#[test]
fn what_children_inherit_is_out_of_the_way_of_a_script() {
    use rustix::fd::AsRawFd;

    let file = tempfile::tempfile().expect("a file");
    assert!(inheritable(&file).expect("a descriptor").as_raw_fd() > 9);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::{Run, stat};
    use crate::config::variables;

    /// The process that the user names: by its start time, too, or one that this process descends from.
    pub(super) fn named(process: u32, start_time: Option<u64>) -> Result<Run, String> {
        open(process, |found| match start_time {
            Some(start_time) if start_time == found => Ok(()),
            Some(_) => Err(format!("the process {process} is another one than {} says", variables::RUN)),
            // Everybody descends from it, so that `FRESHDB_RUN=1` is most likely meant as a yes.
            None if process == 1 && !is_in_container() => {
                Err(format!("the process 1, which {} names, does not end before the machine does", variables::RUN))
            }
            None if process == std::process::id() || ancestors().any(|ancestor| ancestor == process) => Ok(()),
            None => Err(format!(
                "the process {process}, which {} names, is not one that this process descends from",
                variables::RUN
            )),
        })
    }

    /// Whoever runs the tests: the nearest ancestor that was not told the run's id itself. A test's own parent as a rule, or that of
    /// whatever stands between the two.
    pub(super) fn nextest(id: &str) -> Result<Run, String> {
        let told = format!("{}={id}", variables::NEXTEST_RUN_ID);
        for process in ancestors() {
            let unknown = |error| format!("nothing can be learnt of the process {process}: {error}");
            let environment = fs::read(format!("/proc/{process}/environ")).map_err(unknown)?;
            if environment.split(|byte| *byte == 0).any(|variable| variable == told.as_bytes()) {
                continue;
            }
            return open(process, |_| {
                // When whoever stood between the two has ended, it is the machine's first process that is found.
                let program = fs::read_link(format!("/proc/{process}/exe")).map_err(unknown)?;
                let name = program.file_name().unwrap_or_default().to_string_lossy();
                if name.contains("nextest") { Ok(()) } else { Err(format!("`{name}` is not cargo-nextest")) }
            });
        }
        Err("cargo-nextest is not among the processes that this one descends from".to_owned())
    }

    /// A descriptor of a process that is what the caller takes it for: asked after the descriptor is open, and true of its process,
    /// if that is alive still.
    fn open(process: u32, check: impl FnOnce(u64) -> Result<(), String>) -> Result<Run, String> {
        let unknown = |error: rustix::io::Errno| format!("the process {process} cannot be watched: {error}");
        let number = process.try_into().ok().and_then(Pid::from_raw).ok_or("there is no process 0")?;
        let descriptor = pidfd_open(number, PidfdFlags::empty()).map_err(unknown)?;
        let start_time = stat(process).ok_or_else(|| format!("the process {process} has ended"))?.start_time;
        check(start_time)?;
        // Containers may share a directory, and count their processes each for itself.
        let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let run = Run { identity: format!("{process} {start_time} {}", space.display()), process: descriptor };
        if run.has_ended() { Err(format!("the process {process} has ended")) } else { Ok(run) }
    }

    /// Where the first process is whatever the container was started for. The machine's own processes are counted in a space whose number
    /// is part of the kernel's interface (`PROC_PID_INIT_INO`): <https://github.com/torvalds/linux/blob/v6.12/include/linux/proc_ns.h>.
    fn is_in_container() -> bool {
        fs::read_link("/proc/self/ns/pid").is_ok_and(|space| space.as_os_str() != "pid:[4026531836]")
    }

    /// The process's parent, that one's parent, and so on.
    fn ancestors() -> impl Iterator<Item = u32> {
        let parent = |process: u32| stat(process).map(|stat| stat.parent).filter(|parent| *parent != 0);
        std::iter::successors(parent(std::process::id()), move |process| parent(*process))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_run_is_a_process_that_this_one_descends_from() {
            let me = std::process::id();
            let parent = stat(me).expect("it lives").parent;
            for process in [me, parent] {
                assert!(named(process, None).is_ok());
            }
            let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it runs");
            let other = child.id();
            let start_time = stat(other).expect("it lives").start_time;
            assert!(named(other, None).expect_err("a child").contains("descends from"));
            assert!(named(other, Some(start_time)).is_ok());
            assert!(named(other, Some(start_time + 1)).expect_err("another process").contains("another one"));
            child.kill().expect("killed");
            // Dead, and not collected yet.
            while !super::super::stat(other).expect("it is there").is_dead {
                std::thread::yield_now();
            }
            assert!(named(other, Some(start_time)).expect_err("dead").contains("has ended"));
            child.wait().expect("it ended");
            assert!(named(other, Some(start_time)).is_err());
        }

        #[test]
        fn whoever_is_not_nextest_is_no_run() {
            // Whatever runs this test, it has not told this id to anybody.
            let error = nextest("no such run").map(|_| ());
            if std::env::var_os("NEXTEST").is_none() {
                assert!(error.expect_err("no nextest").contains("is not cargo-nextest"));
            }
        }
    }
}
