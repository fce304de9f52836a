//! What a database holds, as the engine's own tool tells it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use freshdb_databases::DatabaseUrl;
use test_support::{Engine, dump_tool};
use tokio::process::Command;
use url::Url;

/// The tool of an engine, and how it reaches the server.
pub(crate) struct Tool {
    engine: Engine,
    program: PathBuf,
    /// Holds what nobody else may read: the password.
    directory: tempfile::TempDir,
}

/// A dump.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) text: String,
    /// Of SQLite, the file.
    pub(crate) bytes: Vec<u8>,
}

impl Tool {
    pub(crate) fn of(engine: Engine) -> Self {
        // A file is its own dump: two that are equal byte for byte hold the same.
        let program = if engine == Engine::Sqlite { PathBuf::new() } else { dump_tool(engine) };
        Self { engine, program, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Dumps a database: its data, its schema, its routines, triggers, events and counters.
    pub(crate) async fn dump(&self, url: &DatabaseUrl, name: &str) -> Result<Dump, String> {
        let mut command = Command::from(match self.engine {
            Engine::Sqlite => return Ok(file(url.path().expect("a path"))),
            Engine::Mysql | Engine::Mariadb => self.mysqldump(&parts(url), name),
            Engine::Postgres => self.pg_dump(&parts(url), name),
        });
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let complaints = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{} failed: {complaints}", self.program.display()));
        }
        let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
        Ok(Dump { text: neutral(&text, name), bytes: Vec::new() })
    }

    fn mysqldump(&self, url: &Url, name: &str) -> std::process::Command {
        let options = self.directory.path().join("options.cnf");
        if !options.exists() {
            let text = format!(
                "[client]\nhost=\"{}\"\nport={}\nuser=\"{}\"\npassword=\"{}\"\nprotocol=tcp\n",
                url.host_str().unwrap_or("127.0.0.1"),
                url.port().unwrap_or(3306),
                decoded(url.username()),
                decoded(url.password().unwrap_or_default()),
            );
            // TLS is a fifth of what a dump takes, and without it MySQL wants another way to be told the password.
            let without_tls =
                if self.engine == Engine::Mysql { "ssl-mode=DISABLED\nget-server-public-key\n" } else { "" };
            write_for_owner(&options, &(text + without_tls));
        }
        let mut command = std::process::Command::new(&self.program);
        let mut file = std::ffi::OsString::from("--defaults-file=");
        file.push(&options);
        command.arg(file).args([
            "--routines",
            "--triggers",
            "--events",
            "--hex-blob",
            "--default-character-set=utf8mb4",
            "--single-transaction",
            "--skip-extended-insert",
            "--skip-dump-date",
            "--no-tablespaces",
        ]);
        if self.engine == Engine::Mysql {
            command.arg("--set-gtid-purged=OFF");
        }
        command.args(["--databases", name]);
        command
    }

    fn pg_dump(&self, url: &Url, name: &str) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.env("PGPASSWORD", decoded(url.password().unwrap_or_default()));
        command.args(["--no-password", "--create", "--blobs"]);
        command.arg("--host").arg(url.host_str().unwrap_or("127.0.0.1"));
        command.arg("--port").arg(url.port().unwrap_or(5432).to_string());
        command.arg("--username").arg(decoded(url.username())).arg(name);
        command
    }
}

fn file(path: &Path) -> Dump {
    // They belong to the file that the path leads to.
    let file = path.canonicalize().expect("a file");
    for companion in ["-wal", "-journal", "-shm"] {
        let companion = PathBuf::from(format!("{}{companion}", file.display()));
        assert!(!companion.exists(), "{} was left", companion.display());
    }
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Dump { text: String::new(), bytes }
}

fn parts(url: &DatabaseUrl) -> Url {
    Url::parse(&url.reveal()).expect("a URL")
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn write_for_owner(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a new file");
    file.write_all(text.as_bytes()).expect("written");
}

/// Without what differs between databases that hold the same: their names, and the key that is new for every run of `pg_dump`, with
/// which it keeps a server from smuggling commands into what it writes.
fn neutral(text: &str, name: &str) -> String {
    let text = text.replace(name, "DATABASE");
    let of_one_run = |line: &&str| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ");
    text.split_inclusive('\n').filter(of_one_run).collect()
}

/// The first lines in which two dumps differ.
pub(crate) fn difference(expected: &Dump, found: &Dump) -> String {
    if expected.text == found.text {
        let place = expected.bytes.iter().zip(&found.bytes).position(|(a, b)| a != b);
        let place = place.map_or("its length".to_owned(), |place| format!("byte {place}"));
        return format!("  the dump is the same, the file differs in {place}\n");
    }
    let expected: Vec<&str> = expected.text.lines().collect();
    let found: Vec<&str> = found.text.lines().collect();
    let common = |a: &mut dyn Iterator<Item = (&str, &str)>| a.take_while(|(one, other)| one == other).count();
    let before = common(&mut expected.iter().copied().zip(found.iter().copied()));
    let rest = (&expected[before..], &found[before..]);
    let after = common(&mut rest.0.iter().rev().copied().zip(rest.1.iter().rev().copied()));
    let lines = |sign: char, lines: &[&str]| -> String {
        let mut text = String::new();
        for line in lines[..lines.len() - after].iter().take(12) {
            text.extend(["  ", sign.encode_utf8(&mut [0; 4]), " "]);
            text.extend(line.chars().take(300));
            text.push('\n');
        }
        text
    };
    format!("  at line {}\n{}{}", before + 1, lines('-', rest.0), lines('+', rest.1))
}
