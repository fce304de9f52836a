//! The example's tests, and one run of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use url::Url;

use super::contender::Contender;
use crate::engine::{Engine, Place};
use crate::failure::{Failure, OrFail};
use crate::process;

/// How many tests the example has.
pub(super) const TESTS: usize = 200;

/// What is run, and where.
pub(super) struct Suite {
    /// The programs `pytest` and `freshdb`.
    pub(super) pytest: PathBuf,
    pub(super) freshdb: PathBuf,
    pub(super) workers: usize,
    /// The run's directory, which freshdb takes for the checkout, for it has a `Cargo.lock`.
    pub(super) directory: PathBuf,
}

/// What one run of all tests took.
pub(super) struct Run {
    /// From the start of the process to its end.
    pub(super) time: Duration,
    /// What each test spent on having a database.
    pub(super) databases: Vec<Duration>,
}

/// On what it is run.
pub(super) struct Ground<'a> {
    pub(super) engine: Engine,
    pub(super) place: &'a Place,
    pub(super) tables: usize,
    /// The database of `create-all`'s first worker.
    pub(super) database: &'a Url,
}

impl Suite {
    /// Runs all tests.
    pub(super) async fn run(&self, contender: Contender, ground: &Ground<'_>) -> Result<Run, Failure> {
        let times = tempfile::tempdir_in(&self.directory).or_fail(|| "cannot create a directory for times".into())?;
        let mut command = self.command(contender, ground)?;
        command.env("FRESHDB_BENCH_TIMES", times.path());
        let began = Instant::now();
        let output = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Ok(child) => child.wait_with_output().await,
            Err(error) => Err(error),
        };
        let elapsed = began.elapsed();
        let output = output.or_fail(|| format!("cannot run `{}`", self.pytest.display()))?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() && passed_in(&text) == Some(TESTS) {
            return Ok(Run { time: elapsed, databases: times_in(times.path())? });
        }
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].iter().map(|line| (*line).to_owned());
        Err(Failure::new(format!(
            "the tests of `{}` did not pass on {}: {}",
            contender.name(),
            ground.engine,
            output.status
        ))
        .notes(last)
        .hint(HINT))
    }

    fn command(&self, contender: Contender, ground: &Ground<'_>) -> Result<Command, Failure> {
        let (example, plugins) = directories()?;
        let tests = example.join(contender.tests());
        let mut command = match contender {
            Contender::Freshdb => {
                let mut command = process::tied(&self.freshdb);
                command.args(["run", "--quiet", &format!("--{}", ground.engine), "--"]).arg(&self.pytest);
                command
            }
            Contender::CreateAll => {
                let mut command = process::tied(&self.pytest);
                command.env("DATABASE_URL", sqlalchemy_url(ground.engine, ground.database));
                command
            }
        };
        command.args(["-q", "-p", "no:cacheprovider", "-p", "many_tables", "-p", "database_times"]);
        command.args(["-n", &self.workers.to_string()]);
        command.arg("-c").arg(example.join("pytest.ini")).arg("--rootdir").arg(&example).arg(tests);
        command.current_dir(&self.directory);
        command.env("FRESHDB_BENCH_TABLES", ground.tables.to_string());
        command.env("PYTHONPATH", python_path(&plugins, &example)).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env_remove("PYTEST_ADDOPTS");
        if let Some((variable, url)) = ground.engine.variable().zip(ground.place.server()) {
            command.env(variable, url.as_str());
        }
        Ok(command)
    }
}

pub(super) const HINT: &str =
    "`scripts/test-clients` makes the environment that it needs, in target/clients; choose its program with `--pytest`";

/// The example's directory, and that of the plugin.
fn directories() -> Result<(PathBuf, PathBuf), Failure> {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = bench.with_file_name("clients").join("pytest-freshdb/example");
    let plugins = bench.join("pytest");
    for directory in [&example, &plugins] {
        if !directory.is_dir() {
            return Err(Failure::new(format!("there is no `{}`", directory.display()))
                .hint("build this program in the checkout from which it runs"));
        }
    }
    Ok((example, plugins))
}

/// What the tests' plugin wrote: seconds, a line a test.
fn times_in(directory: &Path) -> Result<Vec<Duration>, Failure> {
    let unreadable = || format!("cannot read the times in `{}`", directory.display());
    let mut times = Vec::new();
    for entry in std::fs::read_dir(directory).or_fail(unreadable)? {
        let text = entry.and_then(|entry| std::fs::read_to_string(entry.path())).or_fail(unreadable)?;
        for line in text.lines() {
            times.push(Duration::from_secs_f64(line.parse().or_fail(unreadable)?));
        }
    }
    if times.len() == TESTS {
        Ok(times)
    } else {
        Err(Failure::new(format!("there are times of {} tests, and there were {TESTS}", times.len())))
    }
}

fn python_path(plugins: &Path, example: &Path) -> OsString {
    let mut path = plugins.as_os_str().to_owned();
    path.push(":");
    path.push(example);
    path
}

/// The same database in SQLAlchemy's form, for the drivers of the example.
fn sqlalchemy_url(engine: Engine, url: &Url) -> String {
    let driver = match engine {
        // An absolute path has a fourth slash there.
        Engine::Sqlite => return format!("sqlite+aiosqlite:///{}", url.path()),
        Engine::Mysql | Engine::Mariadb => "mysql+aiomysql",
        Engine::Postgres => "postgresql+asyncpg",
    };
    let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    format!("{driver}://{rest}")
}

/// How many passed, if no other thing happened: by pytest's last line.
fn passed_in(output: &str) -> Option<usize> {
    let line = output.lines().rev().find(|line| line.contains(" passed"))?;
    let (passed, rest) = line.split_once(" passed")?;
    if !rest.trim_start().starts_with("in ") {
        return None;
    }
    passed.trim_matches(|character: char| !character.is_ascii_digit()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_read_from_the_last_line() {
        assert_eq!(passed_in("....\n200 passed in 4.05s\n"), Some(200));
        assert_eq!(passed_in("======= 200 passed in 4.05s =======\n"), Some(200));
        assert_eq!(passed_in("1 failed, 199 passed in 4.05s\n"), None);
        assert_eq!(passed_in("199 passed, 1 skipped in 4.05s\n"), None);
        assert_eq!(passed_in("no tests ran in 0.01s\n"), None);
    }

    #[test]
    fn the_times_are_those_of_all_processes_and_all_tests() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("1"), "0.001500000\n".repeat(TESTS - 1)).expect("a file");
        let failure = times_in(directory.path()).expect_err("one is missing");
        assert_eq!(failure.to_string(), "error: there are times of 199 tests, and there were 200\n");
        std::fs::write(directory.path().join("2"), "0.002000000\n").expect("a file");
        let mut times = times_in(directory.path()).expect("all are there");
        times.sort();
        assert_eq!(times[TESTS - 2..], [Duration::from_micros(1500), Duration::from_millis(2)]);
    }

    #[test]
    fn a_url_has_the_form_of_sqlalchemy() {
        let shown = |engine, url: &str| sqlalchemy_url(engine, &Url::parse(url).expect("a URL"));
        assert_eq!(shown(Engine::Sqlite, "sqlite:///dev/shm/a.db"), "sqlite+aiosqlite:////dev/shm/a.db");
        assert_eq!(shown(Engine::Mariadb, "mariadb://a:b@h:1/c"), "mysql+aiomysql://a:b@h:1/c");
        assert_eq!(shown(Engine::Postgres, "postgres://a:b@h:1/c"), "postgresql+asyncpg://a:b@h:1/c");
    }
}
