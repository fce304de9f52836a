//! `freshdb status`: the brokers of this user, and what they have leased.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use freshdb_databases::Config;
use futures_util::future::join_all;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{plain, print};
use crate::broker::{SOCKET, TOKEN};
use crate::cli::Status;
use crate::failure::Failure;
use crate::say::say;

/// There is none that answers.
const NONE: u8 = 1;
/// What is asked takes a broker no time: one that takes so long is stopped, or has come to a standstill.
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST: usize = 64 << 20;

/// What a broker had to say.
enum Answer {
    Status(Value),
    /// Nothing. The process that listens, where the system says which.
    Silence(Option<i32>),
}

pub(super) async fn status(arguments: Status) -> Result<ExitCode, Failure> {
    let directories = directories(&Config::from_env()?);
    // At once, so that the silent ones are waited for together.
    let answers = join_all(directories.iter().map(|directory| ask(directory))).await;
    // One that ended a moment ago, or is somebody else's, is not told of.
    let answers: Vec<_> =
        answers.into_iter().zip(&directories).filter_map(|(answer, at)| Some((answer?, at))).collect();
    if answers.is_empty() {
        say("no broker is running");
        return Ok(ExitCode::from(NONE));
    }
    let write = if arguments.json { document } else { shown };
    let written: String = answers.iter().map(|(answer, directory)| write(directory, answer)).collect();
    let code = print(written.as_bytes())?;
    let one_answers = answers.iter().any(|(answer, _)| matches!(answer, Answer::Status(_)));
    Ok(if one_answers { code } else { ExitCode::from(NONE) })
}

/// Where brokers may be.
fn directories(config: &Config) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = config
        .run_dirs()
        .iter()
        .filter_map(|base| std::fs::read_dir(base).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_ours_alone(path) && path.join(SOCKET).exists())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The places are everybody's. Whoever else has put a socket there would be sent the token, and could say anything.
fn is_ours_alone(directory: &Path) -> bool {
    std::fs::symlink_metadata(directory).is_ok_and(|metadata| {
        let is_open = metadata.mode() & 0o077 != 0;
        metadata.is_dir() && metadata.uid() == geteuid().as_raw() && !is_open
    })
}

/// Nothing of one that is not there.
async fn ask(directory: &Path) -> Option<Answer> {
    let token = std::fs::read_to_string(directory.join(TOKEN)).ok()?;
    let stream = match UnixStream::connect(directory.join(SOCKET)).await {
        Ok(stream) => stream,
        // So many wait already that it accepts.
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Answer::Silence(None)),
        Err(_) => return None,
    };
    // Of a socket that was connected to, the system says who listens.
    let process = stream.peer_cred().ok().and_then(|listener| listener.pid());
    match timeout(PATIENCE, ask_by(stream, &token)).await {
        Ok(status) => status.map(Answer::Status),
        Err(_) => Some(Answer::Silence(process)),
    }
}

async fn ask_by(stream: UnixStream, token: &str) -> Option<Value> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/v1/status").header(HOST, "broker").header(AUTHORIZATION, format!("Bearer {token}"));
    let answer = sender.send_request(request.body(Body::empty()).ok()?).await.ok()?;
    let is_fine = answer.status().is_success();
    let body = to_bytes(Body::new(answer.into_body()), LONGEST).await.ok()?;
    connection.abort();
    is_fine.then(|| serde_json::from_slice(&body).ok())?
}

/// For programs.
fn document(directory: &Path, answer: &Answer) -> String {
    let document = match answer {
        Answer::Status(status) => status.clone(),
        Answer::Silence(process) => json!({
            "error": "does not answer", "socket": directory.join(SOCKET).to_string_lossy(), "process": process,
        }),
    };
    format!("{document}\n")
}

fn shown(directory: &Path, answer: &Answer) -> String {
    let title = format!("broker at {}", directory.join(SOCKET).display());
    let status = match answer {
        Answer::Status(status) => status,
        Answer::Silence(process) => {
            let process = process.map_or_else(|| "unknown".to_owned(), |process| process.to_string());
            return format!("{title}\n  does not answer: process {process}\n");
        }
    };
    let text = |value: &Value| plain(value.as_str().unwrap_or("-"));
    let rows = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let mut lines = vec![title];
    for engine in rows("engines") {
        let url = plain(engine["url"].as_str().unwrap_or("not needed yet"));
        lines.push(format!("  {:<10} {url}", text(&engine["engine"])));
    }
    for pool in rows("pools") {
        let template = plain(pool["template"].as_str().unwrap_or("of the command line"));
        lines.push(format!(
            "  pool       {}, {} databases at the most, template {template}",
            text(&pool["engine"]),
            pool["limit"]
        ));
    }
    for lease in rows("leases") {
        let held = lease["held_ms"].as_f64().unwrap_or_default() / 1e3;
        lines.push(format!(
            "  lease      {} of {}, for {held:.1} s: {}",
            text(&lease["database"]),
            text(&lease["engine"]),
            text(&lease["note"])
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}
