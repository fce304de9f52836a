//! A crate as a user has it, outside of this workspace.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::readme::Section;

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

pub(crate) struct Checkout {
    directory: TempDir,
}

impl Checkout {
    pub(crate) fn of(section: &Section) -> Self {
        let checkout = Self::new(&section.manifest);
        checkout.write("tests/tags.rs", &format!("{}\n{}", section.passing, section.failing));
        checkout
    }

    /// With these dependencies, and no test yet.
    pub(crate) fn new(manifest: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let checkout = Self { directory };
        let workspace = workspace();

        // Where README's reader has freshdb is where this is.
        let (theirs, ours) = ("\"../freshdb/", format!("\"{}/", workspace.display()));
        assert!(manifest.contains(theirs), "README no longer says where freshdb is:\n{manifest}");
        let package = "[package]\nname = \"tags\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n";
        // Not README's, and only for speed: what was compiled with these settings for this workspace need not be compiled again.
        let root = fs::read_to_string(workspace.join("Cargo.toml")).expect("the workspace's Cargo.toml");
        let profiles = root.find("[profile.dev]").map_or("", |start| &root[start..]);
        checkout.write("Cargo.toml", &format!("{package}{}\n{profiles}", manifest.replace(theirs, &ours)));
        // These versions are on this machine: nothing is fetched.
        fs::copy(workspace.join("Cargo.lock"), checkout.path().join("Cargo.lock")).expect("the workspace's Cargo.lock");
        checkout.write("src/lib.rs", "");
        checkout
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub(crate) fn build(&self) {
        let built = self.cargo(&["test", "--no-run"]);
        assert!(built.passed, "{built}");
    }

    /// Runs a command of cargo's in the crate.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Run {
        let mut command = cargo();
        command.args(arguments).current_dir(self.path()).env("CARGO_TARGET_DIR", target()).stdin(Stdio::null());
        command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TERM_COLOR", "never");
        let output = command.output().expect("cargo");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Run {
            command: format!("cargo {}", arguments.join(" ")),
            passed: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// Where freshdb is.
pub(crate) fn workspace() -> PathBuf {
    fs::canonicalize(WORKSPACE).expect("the workspace")
}

/// With nothing set up: what this process's own run has set is taken away.
fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let name_is = |start| name.to_str().is_some_and(|name| name.starts_with(start));
        if name_is("FRESHDB_") || name_is("NEXTEST") || name_is("CARGO_PKG_") || name_is("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// The workspace's own, where most of what such a crate depends on is compiled already.
fn target() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().expect("the target directory").to_owned()
}

pub(crate) fn has_nextest() -> bool {
    cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}

/// What a command printed, and whether it was successful.
pub(crate) struct Run {
    command: String,
    pub(crate) passed: bool,
    pub(crate) stdout: String,
    stderr: String,
}

impl Run {
    /// Says the harness, or cargo-nextest, that a test has passed.
    pub(crate) fn has_passed(&self, test: &str) -> bool {
        let by_harness = format!("test {test} ... ok");
        let by_nextest = |line: &str| line.trim_start().starts_with("PASS ") && line.ends_with(&format!(" {test}"));
        self.stdout.lines().any(|line| line == by_harness) || self.stderr.lines().any(by_nextest)
    }

    /// What the compiler says.
    pub(crate) fn first_error(&self) -> &str {
        let start = self.stderr.find("\nerror").unwrap_or_else(|| panic!("no error in:\n{self}"));
        let error = &self.stderr[start + 1..];
        error.split("\n\n").next().unwrap_or(error)
    }

    /// What is shown of the test that failed.
    pub(crate) fn report(&self) -> String {
        let start = self.stdout.find("\nerror: ").unwrap_or_else(|| panic!("no report in:\n{self}"));
        let report = &self.stdout[start + 1..];
        report.split("\n\n").next().unwrap_or(report).to_owned()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, passed, stdout, stderr } = self;
        write!(formatter, "`{command}`, passed: {passed}\n{stdout}\n{stderr}")
    }
}
