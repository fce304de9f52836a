//! One run of a contender's tests.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::case::{Contender, Threads};
use super::house::House;
use super::suite::{Nextest, Suite};
use crate::engine::Engine;
use crate::failure::{Failure, OrFail};

/// How many tests the suite has for a driver.
pub(super) const TESTS: usize = 200;

/// Which tests are run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tests {
    All(Threads),
    /// The first ones, by libtest, on one thread.
    First(usize),
}

/// How long a run took, from the start of the process to its end; or, in a line, why a test failed.
pub(super) type Outcome = Result<Duration, String>;

impl House<'_> {
    pub(super) async fn run(&self, suite: &Suite, contender: Contender, tests: Tests) -> Result<Outcome, Failure> {
        let driver = driver(self.engine);
        let (mut command, expected) = match tests {
            Tests::All(Threads::Libtest(threads)) => {
                let mut command = suite.command(contender, self.engine, suite.program(contender)?);
                command.arg(format!("{driver}::")).args(["--quiet", "--test-threads", &threads.to_string()]);
                (command, TESTS)
            }
            Tests::First(number) => {
                let mut command = suite.command(contender, self.engine, suite.program(contender)?);
                command.args((0..number).map(|test| format!("{driver}::g0::t{test:02}")));
                command.args(["--exact", "--quiet", "--test-threads", "1"]);
                (command, number)
            }
            Tests::All(Threads::Nextest) => match &suite.nextest {
                Nextest::Missing(why) => return Ok(Err(why.clone())),
                Nextest::Ready { cargo, workspace, binaries } => {
                    let mut command = suite.command(contender, self.engine, cargo);
                    command.args(["nextest", "run", "--no-fail-fast", "--show-progress", "none"]);
                    command.args([
                        "--status-level",
                        "fail",
                        "--final-status-level",
                        "none",
                        "--user-config-file",
                        "none",
                    ]);
                    command.arg("--cargo-metadata").arg(workspace);
                    command.arg("--binaries-metadata").arg(&binaries[contender.target()]);
                    // The tests' directory. It has no configuration of nextest's.
                    command.arg("--workspace-remap").arg(&self.directory);
                    command.args(["-E", &format!("test(/^{driver}::/)")]);
                    (command, TESTS)
                }
            },
        };
        self.set(&mut command, contender);
        let began = Instant::now();
        let output = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Ok(child) => child.wait_with_output().await,
            Err(error) => Err(error),
        };
        let elapsed = began.elapsed();
        let output = output.or_fail(|| format!("cannot run `{}`", contender.target()))?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() && passed_in(&text) == Some(expected) {
            return Ok(Ok(elapsed));
        }
        let reason = reason_in(&text).map_or_else(|| format!("it ended with {}", output.status), str::to_owned);
        Ok(Err(reason))
    }

    fn set(&self, command: &mut Command, contender: Contender) {
        command.current_dir(&self.directory);
        command.env("FRESHDB_BENCH_ENGINE", self.engine.name());
        command.env("FRESHDB_BENCH_TABLES", self.tables.to_string());
        command.env("FRESHDB_BENCH_SCHEMA", &self.schema);
        command.env("FRESHDB_BENCH_DIRECTORY", &self.directory);
        command.env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
        for variable in ["RUST_LOG", "RUST_TEST_THREADS", "RUST_TEST_NOCAPTURE", "NEXTEST_TEST_THREADS"] {
            command.env_remove(variable);
        }
        match self.url(contender) {
            Some(url) => command.env("DATABASE_URL", url.as_str()),
            None => command.env_remove("DATABASE_URL"),
        };
        if let Some((variable, url)) = self.engine.variable().zip(self.place.server()) {
            command.env(variable, url.as_str());
        }
    }
}

/// The module of the suite's tests. MariaDB shares MySQL's driver.
fn driver(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "sqlite",
        Engine::Mysql | Engine::Mariadb => "mysql",
        Engine::Postgres => "postgres",
    }
}

/// How many tests passed, if none failed: by libtest's last line, or nextest's.
fn passed_in(output: &str) -> Option<usize> {
    let passed = |line: &str| {
        let line = line.trim();
        if let Some(counts) = line.strip_prefix("test result: ok. ") {
            return counts.split_once(" passed; 0 failed;")?.0.parse().ok();
        }
        let (_, counts) = line.strip_prefix("Summary [")?.split_once(" run: ")?;
        let (passed, rest) = counts.split_once(" passed")?;
        (!rest.contains("failed")).then(|| passed.trim().parse().ok())?
    };
    output.lines().find_map(passed)
}

/// The first panic's message, or what an error says; no more than fits a line.
fn reason_in(output: &str) -> Option<&str> {
    const LENGTH: usize = 300;
    let mut lines = output.lines().map(str::trim);
    let panic = lines.by_ref().find(|line| line.contains("panicked at ")).and(lines.next());
    let reason = panic.or_else(|| output.lines().find(|line| line.starts_with("error:")))?;
    let end = reason.char_indices().nth(LENGTH).map_or(reason.len(), |(end, _)| end);
    Some(&reason[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_read_from_the_last_line() {
        let libtest =
            "test result: ok. 200 passed; 0 failed; 0 ignored; 0 measured; 400 filtered out; finished in 0.21s\n";
        assert_eq!(passed_in(libtest), Some(200));
        let nextest = "────\n     Summary [   0.712s] 200 tests run: 200 passed, 400 skipped\n";
        assert_eq!(passed_in(nextest), Some(200));
        assert_eq!(passed_in("     Summary [   0.712s] 1 test run: 1 passed, 0 skipped"), Some(1));
        assert_eq!(passed_in("     Summary [   0.712s] 2 tests run: 1 passed, 1 failed, 0 skipped"), None);
        assert_eq!(passed_in("test result: FAILED. 1 passed; 1 failed; 0 ignored"), None);
        assert_eq!(passed_in(""), None);
    }

    #[test]
    fn the_reason_is_the_first_panics_message() {
        let output = "\nthread 'mysql::g0::t01' (7) panicked at src/async/db_pool.rs:190:30:\n\
                      connection pool cleaning must succeed: Query(…)\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(reason_in(output), Some("connection pool cleaning must succeed: Query(…)"));
        assert_eq!(reason_in("error: no such file\n"), Some("error: no such file"));
        assert_eq!(reason_in("killed"), None);
    }
}
