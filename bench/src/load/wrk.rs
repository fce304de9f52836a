//! wrk, the load generator: <https://github.com/wg/wrk>.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::request::Request;
use crate::failure::{Failure, OrFail};
use crate::process;

/// The script that posts the bodies of a file, as part of this program so that it runs from any directory.
const POST_SCRIPT: &str = include_str!("../../post.lua");

/// wrk counts a request that takes longer as an error. It is never the generator that gives up first.
const TIMEOUT: &str = "60s";

/// wrk, ready to run.
pub(super) struct Wrk {
    connections: u32,
    script: PathBuf,
    bodies: PathBuf,
}

/// What one run of wrk has measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    /// Requests that were answered.
    pub(super) requests: u32,
    pub(super) requests_per_second: f64,
    /// In milliseconds, as is `p99`.
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Wrk {
    /// Makes sure that wrk is installed, and writes its script and the bodies to post into `directory`.
    pub(super) async fn prepare(connections: u32, directory: &Path) -> Result<Self, Failure> {
        require_installed().await?;
        let (script, bodies) = (directory.join("post.lua"), directory.join("bodies"));
        let lines: Vec<String> = Request::Post2
            .bodies()
            .map(|body| serde_json::to_string(&body))
            .collect::<Result<_, _>>()
            .or_fail(|| "cannot write the bodies to post".into())?;
        for (path, text) in [(&script, POST_SCRIPT), (&bodies, &lines.join("\n"))] {
            std::fs::write(path, text).or_fail(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(Self { connections, script, bodies })
    }

    /// Sends `request` on all connections for `duration`, in whole seconds. Requests without a right answer are a
    /// failure.
    pub(super) async fn run(&self, request: Request, origin: &str, duration: Duration) -> Result<Load, Failure> {
        let mut command = process::tied("wrk");
        command.args(["--threads", "1", "--latency", "--timeout", TIMEOUT]);
        command.arg("--connections").arg(self.connections.to_string());
        command.arg("--duration").arg(format!("{}s", duration.as_secs()));
        let url = format!("{origin}{}", request.path());
        if request == Request::Post2 {
            command.arg("--script").arg(&self.script).arg(url).arg("--").arg(&self.bodies);
        } else {
            command.arg(url);
        }
        let output = command.output().await.or_fail(|| "cannot run `wrk`".into())?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let lines = text.lines().chain(std::str::from_utf8(&output.stderr).unwrap_or_default().lines());
            let fact = format!("`wrk` ended with {}", output.status);
            return Err(Failure::new(fact).notes(lines.map(str::to_owned)));
        }
        let report = Report::parse(&text)
            .map_err(|cause| Failure::new("cannot read the output of `wrk`").because(cause).notes(lines_of(&text)))?;
        report.without_faults()
    }
}

async fn require_installed() -> Result<(), Failure> {
    let asked = tokio::process::Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match asked.await {
        // It ends with 1 after telling its version.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::new("the load generator `wrk` is not installed").hint("run `apt-get install wrk`"))
        }
        Err(error) => Err(Failure::new("cannot run `wrk`").because(error)),
    }
}

/// All that counts of wrk's output.
#[derive(Debug, PartialEq)]
struct Report {
    load: Load,
    /// wrk's lines on errors, which are missing when there were none.
    faults: Vec<String>,
}

impl Report {
    fn parse(output: &str) -> Result<Self, String> {
        let p50 = value_after(output, "50%").and_then(milliseconds)?;
        let p99 = value_after(output, "99%").and_then(milliseconds)?;
        let requests_per_second = value_after(output, "Requests/sec:").and_then(number)?;
        let requests = output.lines().find_map(|line| line.split_once(" requests in "));
        let (requests, _) = requests.ok_or("it has no line `… requests in …`")?;
        let requests = requests.trim().parse().map_err(|error| format!("`{}`: {error}", requests.trim()))?;
        let faults = output.lines().map(str::trim);
        let faults = faults.filter(|line| line.starts_with("Socket errors:") || line.starts_with("Non-2xx"));
        Ok(Self { load: Load { requests, requests_per_second, p50, p99 }, faults: faults.map(str::to_owned).collect() })
    }

    fn without_faults(self) -> Result<Load, Failure> {
        if !self.faults.is_empty() {
            let fact = format!("not all of {} requests got a right answer", self.load.requests);
            return Err(Failure::new(fact).notes(self.faults));
        }
        if self.load.requests == 0 {
            return Err(Failure::new("not a single request was answered"));
        }
        Ok(self.load)
    }
}

fn value_after<'a>(output: &'a str, label: &str) -> Result<&'a str, String> {
    let value = output.lines().find_map(|line| line.trim_start().strip_prefix(label));
    value.map(str::trim).ok_or_else(|| format!("it has no line `{label} …`"))
}

/// A time as wrk writes it: `12.00us`, `1.23ms`, `2.00s`, `1.50m` or `0.10h`.
fn milliseconds(time: &str) -> Result<f64, String> {
    // `us` and `ms` before `s`, which they end with.
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3600e3)];
    let unit = units.iter().find_map(|(unit, factor)| Some((time.strip_suffix(unit)?, factor)));
    let (value, factor) = unit.ok_or_else(|| format!("`{time}` has none of the units us, ms, s, m and h"))?;
    Ok(number(value)? * factor)
}

/// A number that is one: wrk writes `-nan` where it has nothing to divide by.
fn number(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim().parse().map_err(|error| format!("`{text}`: {error}"))?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err(format!("`{text}` is no measure")) }
}

fn lines_of(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "\
Running 10s test @ http://127.0.0.1:42793/api/tag
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.51ms    1.34ms  31.88ms   84.42%
    Req/Sec    14.28k     1.19k   16.41k    72.00%
  Latency Distribution
     50%    4.32ms
     75%    5.03ms
     90%    5.94ms
     99%    9.16ms
  142137 requests in 10.01s, 30.50MB read
Requests/sec:  14202.36
Transfer/sec:      3.05MB
";

    const FAULTY: &str = "\
Running 2s test @ http://127.0.0.1:42793/api/tags
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   901.20us  120.00us   2.10s    99.10%
    Req/Sec   612.00    101.11     0.90k    60.00%
  Latency Distribution
     50%  874.00us
     75%    1.03ms
     90%    1.24ms
     99%    1.87s 
  1224 requests in 2.00s, 244.10KB read
  Socket errors: connect 0, read 3, write 0, timeout 12
  Non-2xx or 3xx responses: 7
Requests/sec:    611.71
Transfer/sec:    121.99KB
";

    #[test]
    fn a_clean_run_gives_its_figures() {
        let load = Report::parse(CLEAN).map(Report::without_faults);
        let expected = Load { requests: 142_137, requests_per_second: 14202.36, p50: 4.32, p99: 9.16 };
        assert_eq!(load.expect("it is readable").expect("it is clean"), expected);
    }

    #[test]
    fn times_are_in_milliseconds_whatever_their_unit() {
        let Load { p50, p99, .. } = Report::parse(FAULTY).expect("it is readable").load;
        assert!((p50 - 0.874).abs() < 1e-9, "{p50}");
        assert!((p99 - 1870.0).abs() < 1e-9, "{p99}");
        assert_eq!(milliseconds("1.50m"), Ok(90_000.0));
        assert_eq!(milliseconds("0.50h"), Ok(1_800_000.0));
        assert_eq!(milliseconds("12.00"), Err("`12.00` has none of the units us, ms, s, m and h".into()));
    }

    #[test]
    fn errors_make_the_run_fail_and_are_told() {
        let report = Report::parse(FAULTY).expect("it is readable");
        let failure = report.without_faults().expect_err("it is faulty").to_string();
        assert_eq!(
            failure,
            "error: not all of 1224 requests got a right answer\n  \
             Socket errors: connect 0, read 3, write 0, timeout 12\n  Non-2xx or 3xx responses: 7\n"
        );
    }

    #[test]
    fn a_run_without_an_answer_fails() {
        let silent =
            "     50%    0.00us\n     99%    0.00us\n  0 requests in 2.00s, 0.00B read\nRequests/sec:      0.00\n";
        let report = Report::parse(silent).expect("it is readable");
        assert!(report.without_faults().is_err());
    }

    #[test]
    fn an_output_that_is_not_complete_is_refused() {
        assert_eq!(Report::parse(""), Err("it has no line `50% …`".into()));
        let cut = CLEAN.split("Requests/sec").next().expect("a part");
        assert_eq!(Report::parse(cut), Err("it has no line `Requests/sec: …`".into()));
        let undefined = CLEAN.replace("14202.36", "-nan");
        assert_eq!(Report::parse(&undefined), Err("`-nan` is no measure".into()));
    }
}
