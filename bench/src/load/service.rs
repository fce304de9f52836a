//! tags-api's release build.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::failure::{Failure, OrFail};
use crate::process;

/// The workspace that this program was built in.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");

/// Builds tags-api as it is shipped, and returns its program.
pub(super) async fn build(cargo: &Path) -> Result<PathBuf, Failure> {
    let mut command = process::tied(cargo);
    command.args(["build", "--release", "--package", "tags-api", "--bin", "tags-api"]);
    command.args(["--message-format", "json-render-diagnostics", "--manifest-path", WORKSPACE]);
    // Cargo describes this package to what it runs. Build scripts that watch those variables, such as ring's, would
    // take them for a change, and half of the dependencies would be built anew each time.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    let build = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let output = match build {
        Ok(child) => child.wait_with_output().await,
        Err(error) => Err(error),
    };
    let output = output.or_fail(|| format!("cannot run `{}`", cargo.display()))?;
    if !output.status.success() {
        return Err(Failure::new(format!("building tags-api ended with {}", output.status)));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    program_in(&messages).ok_or_else(|| Failure::new("cargo does not tell where it put tags-api"))
}

#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn program_in(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let mut programs =
        messages.filter(|message| message.target.as_ref().is_some_and(|target| target.name == "tags-api"));
    programs.find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"tags_api"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"tags-api"},"executable":"/target/release/tags-api"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(program_in(messages), Some(PathBuf::from("/target/release/tags-api")));
        assert_eq!(program_in("Compiling tags-api\n"), None);
    }
}
