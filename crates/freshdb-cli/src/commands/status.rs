//! `freshdb status`: the brokers of this user, and what they have leased.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use freshdb_databases::Config;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{plain, print};
use crate::broker::{SOCKET, TOKEN};
use crate::cli::Status;
use crate::failure::Failure;
use crate::say::say;

/// There is none.
const NONE: u8 = 1;
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: usize = 64 << 20;

pub(super) async fn status(arguments: Status) -> Result<ExitCode, Failure> {
    let mut found = Vec::new();
    for directory in directories(&Config::from_env()?) {
        // One that ended a moment ago, or is somebody else's, is not told of.
        let Ok(Some(status)) = timeout(PATIENCE, ask(&directory)).await else { continue };
        found.push(if arguments.json { format!("{status}\n") } else { shown(&directory, &status) });
    }
    if found.is_empty() {
        say("no broker is running");
        return Ok(ExitCode::from(NONE));
    }
    print(found.concat().as_bytes())
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

async fn ask(directory: &Path) -> Option<Value> {
    let token = std::fs::read_to_string(directory.join(TOKEN)).ok()?;
    let stream = UnixStream::connect(directory.join(SOCKET)).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/v1/status").header(HOST, "broker").header(AUTHORIZATION, format!("Bearer {token}"));
    let answer = sender.send_request(request.body(Body::empty()).ok()?).await.ok()?;
    let is_fine = answer.status().is_success();
    let body = to_bytes(Body::new(answer.into_body()), LONGEST).await.ok()?;
    connection.abort();
    is_fine.then(|| serde_json::from_slice(&body).ok())?
}

fn shown(directory: &Path, status: &Value) -> String {
    let text = |value: &Value| plain(value.as_str().unwrap_or("-"));
    let rows = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("broker at {}", directory.join(SOCKET).display())];
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
