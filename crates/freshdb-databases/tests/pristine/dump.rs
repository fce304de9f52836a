//! What a database holds, as the engine's own tool tells it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use freshdb_databases::DatabaseUrl;
use test_support::Engine;
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
        let program = find(engine);
        Self { engine, program, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Dumps a database: its data, its schema, its routines, triggers, events and counters.
    pub(crate) async fn dump(&self, url: &DatabaseUrl, name: &str) -> Result<Dump, String> {
        let (command, bytes) = match self.engine {
            Engine::Sqlite => self.sqlite(url.path().expect("a path"), name),
            Engine::Mysql | Engine::Mariadb => (self.mysqldump(&parts(url), name), Vec::new()),
            Engine::Postgres => (self.pg_dump(&parts(url), name), Vec::new()),
        };
        let mut command = Command::from(command);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let complaints = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{} failed: {complaints}", self.program.display()));
        }
        let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
        Ok(Dump { text: neutral(&text, name), bytes })
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
            write_for_owner(&options, &text);
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

    /// Of a copy, for to open a file may leave others next to it.
    fn sqlite(&self, path: &Path, name: &str) -> (std::process::Command, Vec<u8>) {
        let copy = self.directory.path().join(name);
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // They belong to the file that the path leads to.
        let file = path.canonicalize().expect("a file");
        for companion in ["-wal", "-journal", "-shm"] {
            let companion = PathBuf::from(format!("{}{companion}", file.display()));
            assert!(!companion.exists(), "{} was left", companion.display());
        }
        fs::write(&copy, &bytes).expect("a copy");
        let mut command = std::process::Command::new(&self.program);
        command.arg("-batch").arg(copy).arg(".dump");
        (command, bytes)
    }
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

/// Where the tool is: what scripts/install-servers unpacked, what the distribution puts in a directory of its own, and then what is
/// on PATH. One that is missing fails the test that asked for it.
fn find(engine: Engine) -> PathBuf {
    let (names, hint): (&[&str], &str) = match engine {
        Engine::Sqlite => (&["sqlite3"], "install the package `sqlite3`"),
        Engine::Mysql => (&["mysqldump"], "run `scripts/install-servers --engine mysql`, or install MySQL's client"),
        Engine::Mariadb => (&["mariadb-dump", "mysqldump"], "install the package `mariadb-client`"),
        Engine::Postgres => (&["pg_dump"], "install the server's client, such as the package `postgresql-client`"),
    };
    let found =
        directories(engine).into_iter().flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    found.into_iter().find(|program| program.is_file() && belongs_to(engine, program)).unwrap_or_else(|| {
        panic!("there is no `{}` to dump a database of {} with: {hint}", names.join("` or `"), engine.name())
    })
}

fn directories(engine: Engine) -> Vec<PathBuf> {
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if Path::new(&cache).is_absolute() => PathBuf::from(cache),
        // Root's is where the servers, which are not root's, get in.
        (_, Some(home)) if home != "/root" => PathBuf::from(home).join(".cache"),
        _ => "/var/cache".into(),
    };
    let mut directories = match engine {
        Engine::Sqlite => Vec::new(),
        Engine::Postgres => {
            let mut found = below(Path::new("/usr/lib/postgresql"), "", "bin");
            found.extend(below(Path::new("/usr"), "pgsql-", "bin"));
            for unpacked in below(&cache.join("freshdb"), "postgres-", "usr/lib/postgresql") {
                found.extend(below(&unpacked, "", "bin"));
            }
            found
        }
        Engine::Mysql | Engine::Mariadb => below(&cache.join("freshdb"), &format!("{}-", engine.name()), "usr/bin"),
    };
    directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    directories
}

/// The directories in another whose names begin so, the newest version first, and in each of them the one of that path.
fn below(directory: &Path, prefix: &str, path: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    let version = |name: &String| -> Vec<u32> {
        name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    names.sort_by_key(|name| std::cmp::Reverse(version(name)));
    names.into_iter().map(|name| directory.join(name).join(path)).collect()
}

/// MariaDB goes by MySQL's names as well.
fn belongs_to(engine: Engine, program: &Path) -> bool {
    if !matches!(engine, Engine::Mysql | Engine::Mariadb) {
        return true;
    }
    let output = std::process::Command::new(program).arg("--version").output();
    output.is_ok_and(|output| {
        let mariadb = String::from_utf8_lossy(&output.stdout).contains("MariaDB");
        output.status.success() && mariadb == (engine == Engine::Mariadb)
    })
}
