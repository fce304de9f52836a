//! Child processes that do not outlive this one, and what the system says of them.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::failure::{Failure, OrFail};

/// A command whose process ends when its handle is dropped, and also when this process ends in whatever way, SIGKILL
/// included: `setpriv` has the kernel do that, and then becomes the program.
///
/// The kernel takes the end of the *thread* that started the process for the end of this process. So the command must be
/// started by a thread that stays, such as the main thread.
pub(crate) fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The processor time that a process has used so far, its own and the kernel's for it.
pub(crate) fn processor_time(process: u32) -> Result<Duration, Failure> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).or_fail(|| format!("cannot read `{path}`"))?;
    processor_time_in(&stat).ok_or_else(|| Failure::new(format!("`{path}` has an unknown form: {}", stat.trim_end())))
}

fn processor_time_in(stat: &str) -> Option<Duration> {
    /// Linux counts for programs in hundredths of a second, whatever it does inside: `USER_HZ` in proc(5).
    const TICK: Duration = Duration::from_millis(10);

    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

/// The most memory that a process has had resident at once, in MB (10⁶ bytes).
pub(crate) fn peak_memory(process: u32) -> Result<f64, Failure> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).or_fail(|| format!("cannot read `{path}`"))?;
    peak_memory_in(&status).ok_or_else(|| Failure::new(format!("`{path}` has no line `VmHWM`")))
}

fn peak_memory_in(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    // The kernel writes kB and means 1 024 bytes.
    let kibibytes: u32 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(f64::from(kibibytes) * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_past_an_odd_name() {
        let stat = "4711 (a) b) S 1 4711 4711 0 -1 4194560 2600 0 0 0 120 35 0 0 20 0 4 0 26517 154202112 3072";
        assert_eq!(processor_time_in(stat), Some(Duration::from_millis(1550)));
        assert_eq!(processor_time_in("4711 (a"), None);
    }

    #[test]
    fn peak_memory_is_in_millions_of_bytes() {
        let status = "Name:\ttags-api\nVmPeak:\t  154202 kB\nVmHWM:\t   12500 kB\nVmRSS:\t   12000 kB\n";
        assert_eq!(peak_memory_in(status), Some(12.8));
        assert_eq!(peak_memory_in("Name:\ttags-api\n"), None);
    }
}
