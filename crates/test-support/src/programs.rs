//! Programs that a test makes.
//!
//! Another process writes them: whatever another test starts in that moment would inherit a file that is open for writing, until it has become
//! its own program, and nobody can run a program meanwhile (`Text file busy`).

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A copy of a program, with its permissions.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").args(["-p", "--"]).arg(from.as_ref()).arg(to.as_ref()).status().expect("`cp` runs");
    assert!(status.success(), "{}: {status}", to.as_ref().display());
}

/// A script that everybody may run.
pub fn write_script(to: impl AsRef<Path>, script: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat >"$1" && chmod 755 "$1""#, "sh"])
        .arg(to.as_ref())
        .stdin(Stdio::piped())
        .spawn()
        .expect("`sh` runs");
    writer.stdin.take().expect("it is piped").write_all(script.as_bytes()).expect("it is read");
    let status = writer.wait().expect("it ends");
    assert!(status.success(), "{}: {status}", to.as_ref().display());
}
