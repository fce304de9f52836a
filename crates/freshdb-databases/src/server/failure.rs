//! What is said when a server does not start: which program, with which arguments, the end of its log, what to do.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;

use super::engine::{Engine, Invocation};
use super::keeper::Keeper;
use super::programs::Program;
use crate::config::{url_variable, variables};
use crate::{Error, ErrorKind};

/// So much of a log is shown.
const LINES: usize = 20;

/// The log of the server so far.
pub(super) fn log(keeper: &Keeper) -> String {
    let bytes = fs::read(keeper.directory().join("log")).unwrap_or_default();
    let mut log = String::from_utf8_lossy(&bytes).into_owned();
    let complaint = keeper.complaint();
    if !complaint.is_empty() {
        log.push_str(&complaint);
    }
    log
}

/// `PostgreSQL 15.2 did not start: it ended with exit code 1`, and all that is known of it.
pub(super) fn error(engine: &dyn Engine, program: &Program, what: &str, invocation: &Invocation, log: &str) -> Error {
    let kind = engine.kind();
    let account = lacks_account(log);
    let why = account.map_or_else(String::new, |user| format!("; the user {user}, as whom it runs, has no account"));
    let mut fact = format!("{kind} {} {what}{why}\n  command: {}", program.version, command_line(invocation));
    let lines: Vec<_> = log.lines().collect();
    if lines.is_empty() {
        fact.push_str("\n  it wrote no log");
    } else {
        fact.push_str("\n  the last lines of its log:");
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            write!(fact, "\n    {}", line.trim_end()).expect("a string takes all");
        }
    }
    Error::new(ErrorKind::NoServer, fact).hint(advice(engine, log))
}

fn advice(engine: &dyn Engine, log: &str) -> String {
    let (kind, url) = (engine.kind(), url_variable(engine.kind()).unwrap_or_default());
    if log.contains("No space left on device") {
        return format!("set {} to a directory with more room", variables::RUN_DIR);
    }
    if let Some(user) = lacks_account(log) {
        return format!(
            "as root, run `useradd --uid {user} freshdb`, or set {url} to the URL of a server that runs already"
        );
    }
    if log.contains("error while loading shared libraries") {
        return format!("install {kind} with all it depends on ({})", engine.source());
    }
    format!("mend what its log names, or set {url} to the URL of a server that runs already")
}

/// The user for whom there is no line in `/etc/passwd`, as in a container that is run as some number. PostgreSQL asks for the name.
fn lacks_account(log: &str) -> Option<&str> {
    let (_, rest) = log.split_once("could not look up effective user ID ")?;
    rest.split(|sign: char| !sign.is_ascii_digit()).next().filter(|user| !user.is_empty())
}

/// `it ended with exit code 1`
pub(super) fn ending(code: Option<i32>) -> String {
    match code {
        None => "it was killed".to_owned(),
        Some(code) if code > 128 => format!("it was ended by signal {}", code - 128),
        Some(code) => format!("it ended with exit code {code}"),
    }
}

fn command_line(invocation: &Invocation) -> String {
    let arguments = invocation.arguments.iter().map(|argument| quoted(argument));
    let mut line = quoted(invocation.program.as_os_str());
    for argument in arguments {
        line.push(' ');
        line.push_str(&argument);
    }
    line
}

/// As a shell takes it.
fn quoted(argument: &OsStr) -> String {
    let argument = argument.to_string_lossy();
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-./=:,+@%~".contains(character);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.into_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}
