//! `freshdb status`: the brokers of this user, and what they have leased.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use freshdb_databases::Config;
use serde_json::Value;

use crate::broker::{SOCKET, TOKEN};
use crate::cli::Status;
use crate::failure::Failure;

/// There is none.
const NONE: u8 = 1;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn status(arguments: &Status) -> Result<ExitCode, Failure> {
    let mut found = 0;
    for directory in directories(&Config::from_env()?) {
        // One that ended a moment ago, or is somebody else's, is not told of.
        let Some(status) = ask(&directory) else { continue };
        found += 1;
        if arguments.json {
            println!("{status}");
        } else {
            print!("{}", shown(&directory, &status));
        }
    }
    if found == 0 {
        eprintln!("freshdb: no broker is running");
        return Ok(ExitCode::from(NONE));
    }
    Ok(ExitCode::SUCCESS)
}

/// Where brokers may be.
fn directories(config: &Config) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = config
        .run_dirs()
        .iter()
        .filter_map(|base| std::fs::read_dir(base).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(SOCKET).exists())
        .collect();
    found.sort();
    found.dedup();
    found
}

fn ask(directory: &Path) -> Option<Value> {
    let token = std::fs::read_to_string(directory.join(TOKEN)).ok()?;
    let mut stream = UnixStream::connect(directory.join(SOCKET)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!(
        "GET /v1/status HTTP/1.1\r\nhost: broker\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())?
}

fn shown(directory: &Path, status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("broker at {}", directory.join(SOCKET).display())];
    for engine in rows("engines") {
        let url = engine["url"].as_str().unwrap_or("not needed yet");
        lines.push(format!("  {:<10} {url}", text(&engine["engine"])));
    }
    for pool in rows("pools") {
        let template = pool["template"].as_str().unwrap_or("of the command line");
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
