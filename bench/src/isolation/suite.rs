//! The suite's programs: a workspace of its own, in `bench/suite`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use super::case::Contender;
use crate::engine::Engine;
use crate::failure::{Failure, OrFail};
use crate::process;

/// The workspace of the suite, as cargo is told of it.
const PACKAGE: [&str; 5] =
    ["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/suite/Cargo.toml"), "--locked", "--features", "peers"];
/// Shared with the project's own workspace, and with it what both depend on.
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");

/// What was built.
pub(super) struct Suite {
    /// By the name of their target.
    programs: BTreeMap<String, PathBuf>,
    /// The command `freshdb`, where a contender needs it.
    freshdb: Option<PathBuf>,
    pub(super) nextest: Nextest,
}

/// What cargo-nextest needs to run what was built without asking cargo again, or why there is none.
pub(super) enum Nextest {
    Ready { cargo: PathBuf, workspace: PathBuf, binaries: BTreeMap<&'static str, PathBuf> },
    Missing(String),
}

impl Suite {
    pub(super) fn program(&self, contender: Contender) -> Result<&Path, Failure> {
        let program = self.programs.get(contender.target()).map(PathBuf::as_path);
        program.ok_or_else(|| Failure::new(format!("cargo does not tell where it put `{}`", contender.target())))
    }

    /// The command that runs a program with a contender's tests.
    pub(super) fn command(&self, contender: Contender, engine: Engine, program: &Path) -> Command {
        match &self.freshdb {
            Some(freshdb) if contender == Contender::FreshdbRun => {
                let mut command = process::tied(freshdb);
                command.args(["run", "--quiet", &format!("--{engine}"), "--"]).arg(program);
                command
            }
            _ => process::tied(program),
        }
    }

    /// Builds it. What nextest needs is left in `directory`.
    pub(super) async fn build(
        cargo: &Path,
        freshdb: Option<PathBuf>,
        directory: &Path,
        nextest: bool,
    ) -> Result<Self, Failure> {
        eprintln!("building the suite");
        let build = ["test", "--release", "--no-run", "--message-format", "json-render-diagnostics"];
        let messages = output_of(cargo, &[&build[..], &PACKAGE].concat()).await?;
        let nextest = if nextest {
            Nextest::prepare(cargo, directory).await?
        } else {
            Nextest::Missing("it was not asked for".into())
        };
        Ok(Self { programs: programs_in(&messages), freshdb, nextest })
    }
}

impl Nextest {
    async fn prepare(cargo: &Path, directory: &Path) -> Result<Self, Failure> {
        if let Err(failure) = output_of(cargo, &["nextest", "--version"]).await {
            eprint!("{failure}");
            return Ok(Self::Missing("cargo-nextest is not installed".into()));
        }
        let list = ["nextest", "list", "--cargo-profile", "release", "--list-type", "binaries-only"];
        let list = [&list[..], &["--message-format", "json"], &PACKAGE].concat();
        let list: Value =
            serde_json::from_str(&output_of(cargo, &list).await?).or_fail(|| "nextest's list is no JSON".into())?;
        // Without a platform, cargo would fetch what others need.
        let platform = list.pointer("/rust-build-meta/platforms/host/platform/triple").and_then(Value::as_str);
        let platform = platform.ok_or_else(|| Failure::new("nextest's list names no platform"))?;
        let metadata = ["metadata", "--format-version", "1", "--filter-platform", platform];
        let metadata = output_of(cargo, &[&metadata[..], &PACKAGE].concat()).await?;
        let workspace = directory.join("cargo-metadata.json");
        write(&workspace, metadata.as_bytes())?;

        let mut binaries = BTreeMap::new();
        for contender in Contender::ALL {
            // Only this one, so that nextest need not ask the others for their tests.
            let path = directory.join(format!("{}-binaries.json", contender.target()));
            write(&path, only(&list, contender).to_string().as_bytes())?;
            binaries.insert(contender.target(), path);
        }
        Ok(Self::Ready { cargo: cargo.to_owned(), workspace, binaries })
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, content).or_fail(|| format!("cannot write `{}`", path.display()))
}

/// What cargo prints for the suite.
async fn output_of(cargo: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let mut command = process::tied(cargo);
    command.args(arguments).env("CARGO_TARGET_DIR", TARGET);
    // Cargo describes this package to what it runs. Build scripts that watch those variables would take them for a change.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let output = match child {
        Ok(child) => child.wait_with_output().await,
        Err(error) => Err(error),
    };
    let output = output.or_fail(|| format!("cannot run `{}`", cargo.display()))?;
    if !output.status.success() {
        return Err(Failure::new(format!("`cargo {}` ended with {}", arguments.join(" "), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn programs_in(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let program = |message: Message| {
        let target = message.target.filter(|target| target.kind.iter().any(|kind| kind == "test"))?;
        Some((target.name, message.executable?))
    };
    messages.filter_map(program).collect()
}

/// nextest's list of programs, without all but one.
fn only(list: &Value, contender: Contender) -> Value {
    let mut list = list.clone();
    if let Some(binaries) = list.get_mut("rust-binaries").and_then(Value::as_object_mut) {
        binaries.retain(|_, binary| binary.get("binary-name").is_some_and(|name| name == contender.target()));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"freshdb"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"freshdb"},"executable":"/target/release/deps/freshdb-1"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"db_pool"},"executable":"/target/release/deps/db_pool-1"}
{"reason":"build-finished","success":true}
"#;
        let programs = programs_in(messages);
        assert_eq!(programs.len(), 2);
        assert_eq!(programs["freshdb"], PathBuf::from("/target/release/deps/freshdb-1"));
        assert_eq!(programs["db_pool"], PathBuf::from("/target/release/deps/db_pool-1"));
    }

    #[test]
    fn nextest_is_told_of_one_program() {
        let list = serde_json::json!({
            "rust-build-meta": {},
            "rust-binaries": {
                "suite::rollback": { "binary-name": "rollback" },
                "suite::freshdb": { "binary-name": "freshdb" },
            },
        });
        let only = only(&list, Contender::Rollback);
        assert_eq!(
            only,
            serde_json::json!({
                "rust-build-meta": {},
                "rust-binaries": { "suite::rollback": { "binary-name": "rollback" } },
            })
        );
    }
}
