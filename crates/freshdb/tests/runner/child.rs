//! A test of this binary, run in a process of its own.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the harness printed of one ignored test, without what differs from run to run.
pub(crate) struct Printed {
    pub(crate) passed: bool,
    pub(crate) text: String,
    /// What came by standard error: past the harness.
    pub(crate) errors: String,
    /// How long the whole process took.
    pub(crate) took: Duration,
}

/// Runs one test of this binary, however it is marked.
pub(crate) fn run(test: &str, variables: &[(&str, &str)]) -> Printed {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args([test, "--exact", "--include-ignored", "--color=never"]);
    command.env_remove("RUST_BACKTRACE").env_remove("NEXTEST_EXECUTION_MODE").envs(variables.iter().copied());
    let started = Instant::now();
    let output = command.output().expect("it runs");
    let took = started.elapsed();
    let shown = |bytes: &[u8]| masked(&String::from_utf8_lossy(bytes));
    Printed {
        passed: output.status.success(),
        text: report_in(&shown(&output.stdout)),
        errors: shown(&output.stderr),
        took,
    }
}

/// What stands between the head of a failed test's output and the list of failures.
fn report_in(output: &str) -> String {
    let Some((_, from)) = output.split_once(" stdout ----\n") else { return output.to_owned() };
    let (report, _) = from.split_once("\n\nfailures:").unwrap_or((from, ""));
    report.trim_end().to_owned()
}

/// Numbers, times and names that are drawn anew each time.
fn masked(text: &str) -> String {
    let patterns = [
        (r"freshdb_s_[0-9a-z_]+", "freshdb_s_NAME"),
        (r"\b\d+\.\d s\b", "N s"),
        (r"(session|transaction|connection) \d+\b", "$1 ID"),
        (r"' \(\d+\) panicked", "' panicked"),
        (r"//root(:\*\*\*)?@[^/]+/", "//USER@SERVER/"),
        (r"//postgres(:\*\*\*)?@[^/]+/", "//USER@SERVER/"),
        (r" from [0-9a-z.:/]+: ", " from CLIENT: "),
        (r"sqlite:///\S*/freshdb_s_NAME", "sqlite:///DIRECTORY/freshdb_s_NAME"),
    ];
    patterns.into_iter().fold(text.to_owned(), |text, (pattern, by)| {
        regex::Regex::new(pattern).expect("a pattern").replace_all(&text, by).into_owned()
    })
}
