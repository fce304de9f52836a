//! Programs of the servers' own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Engine;

/// The server's own tool that writes a database out as text: what lies beside a server on PATH, what the distribution puts in a directory of its own, what
/// scripts/install-servers unpacked, and then what else is on PATH. One that is missing fails the test that asked for it.
pub fn dump_tool(engine: Engine) -> PathBuf {
    let (names, hint): (&[&str], &str) = match engine {
        Engine::Sqlite => panic!("a file is its own dump"),
        Engine::Mysql => (&["mysqldump"], "run `scripts/install-servers --engine mysql`, or install MySQL's client"),
        Engine::Mariadb => (
            &["mariadb-dump", "mysqldump"],
            "run `scripts/install-servers --engine mariadb`, or install the package `mariadb-client`",
        ),
        Engine::Postgres => (
            &["pg_dump"],
            "run `scripts/install-servers --engine postgres`, or install the package `postgresql-client`",
        ),
    };
    let found =
        directories(engine).into_iter().flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    found.into_iter().find(|program| program.is_file() && belongs_to(engine, program)).unwrap_or_else(|| {
        panic!("there is no `{}` to dump a database of {} with: {hint}", names.join("` or `"), engine.name())
    })
}

fn directories(engine: Engine) -> Vec<PathBuf> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let cache = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(cache) if cache.is_absolute() => cache,
        // Where the servers, which are not root's, get in.
        _ if is_root => "/var/cache".into(),
        _ => std::env::home_dir().unwrap_or_default().join(".cache"),
    };
    let mut directories = match engine {
        Engine::Sqlite => Vec::new(),
        Engine::Postgres => {
            // Of an older version it does not read the server that scripts/with-servers has started.
            let mut found = on_path();
            found.retain(|directory| directory.join("postgres").is_file());
            found.extend(below(Path::new("/usr/lib/postgresql"), "", "bin"));
            found.extend(below(Path::new("/usr"), "pgsql-", "bin"));
            for unpacked in below(&cache.join("freshdb"), "postgres-", "usr/lib/postgresql") {
                found.extend(below(&unpacked, "", "bin"));
            }
            found
        }
        Engine::Mysql | Engine::Mariadb => below(&cache.join("freshdb"), &format!("{}-", engine.name()), "usr/bin"),
    };
    directories.extend(on_path());
    directories
}

fn on_path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
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
