//! Where a server's programs are: on `PATH`, in the usual directories, and in freshdb's cache.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;

use super::engine::Engine;
use super::user::User;
use crate::config::{Config, url_variable};
use crate::{Error, ErrorKind};

/// An installed server.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The server itself, by its real path.
    pub(super) server: PathBuf,
    /// What makes a data directory: the server itself, unless it has a program for that.
    pub(super) initialiser: PathBuf,
    /// As the program says it, down to the packager's revision.
    pub(super) version: String,
}

impl Program {
    /// A program stands in bin, sbin or libexec of the directory that its server calls the base.
    pub(super) fn base(&self) -> &Path {
        self.server.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }
}

/// Finds a server that the user can run. What the machine has comes first, then what was unpacked in the cache.
///
/// # Errors
///
/// If there is none, or none can be tried.
pub(super) fn find(engine: &dyn Engine, config: &Config, user: &User) -> Result<Program, Error> {
    let directories = directories(engine, config);
    let mut refused: Vec<String> = Vec::new();
    let mut seen = Vec::new();
    for directory in &directories {
        for name in engine.programs() {
            let Some(server) = executable(&directory.join(name)) else { continue };
            if seen.contains(&server) {
                continue;
            }
            match accept(engine, config, user, &server) {
                Ok(program) => return Ok(program),
                Err(Refusal::NotTried(error)) => {
                    let fact = format!("cannot run `{}`", server.display());
                    return Err(Error::new(ErrorKind::NoServer, fact).because(error));
                }
                Err(Refusal::Unfit(reason)) => refused.push(format!("`{}` {reason}", server.display())),
            }
            seen.push(server);
        }
    }
    Err(not_found(engine, &directories, &refused))
}

fn directories(engine: &dyn Engine, config: &Config) -> Vec<PathBuf> {
    if let Some(directories) = config.program_dirs() {
        return directories.to_vec();
    }
    let mut directories = config.path();
    directories.extend(engine.directories().iter().flat_map(|pattern| expand(Path::new(pattern))));
    for cache in config.caches() {
        directories.extend(engine.directories_in_cache().iter().flat_map(|pattern| expand(&cache.join(pattern))));
    }
    let mut seen = Vec::new();
    directories.retain(|directory| {
        !seen.contains(directory) && {
            seen.push(directory.clone());
            true
        }
    });
    directories
}

fn executable(path: &Path) -> Option<PathBuf> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then(|| fs::canonicalize(path).ok())?
}

/// Why a program cannot be used.
enum Refusal {
    Unfit(String),
    /// The system runs nothing more for this process, whatever the program is.
    NotTried(io::Error),
}

impl Refusal {
    fn to_run(error: io::Error, user: &User) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM) => Self::NotTried(error),
            _ => Self::Unfit(format!("cannot be run by {}: {error}", user.title())),
        }
    }
}

fn accept(engine: &dyn Engine, config: &Config, user: &User, server: &Path) -> Result<Program, Refusal> {
    let mut command = Command::new(server);
    command.arg("--version").stdin(Stdio::null()).current_dir("/");
    command.env_clear().envs(config.environment().iter().map(|(name, value)| (name, value)));
    user.run(&mut command);
    let output = command.output().map_err(|error| Refusal::to_run(error, user))?;
    let banner = String::from_utf8_lossy(&output.stdout);
    let Some(version) = engine.version(&banner).map(str::to_owned) else {
        if output.status.success() {
            return Err(Refusal::Unfit(format!("is another server: {}", banner.trim())));
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.trim().lines().next_back().unwrap_or("it says nothing");
        return Err(Refusal::Unfit(format!("does not say its version ({}): {complaint}", output.status)));
    };
    let initialiser = match engine.initialisers() {
        [] => server.to_owned(),
        names => {
            let missing = || Refusal::Unfit(format!("has no `{}` with it", names[0]));
            tool(config, server, names).ok_or_else(missing)?
        }
    };
    Ok(Program { server: server.to_owned(), initialiser, version })
}

/// The first of these programs that belongs to the server's installation, else one on `PATH`.
fn tool(config: &Config, server: &Path, names: &[&str]) -> Option<PathBuf> {
    let beside = server.parent()?;
    let base = beside.parent()?;
    let mut places = vec![beside.to_owned(), base.join("bin"), base.join("scripts")];
    if config.program_dirs().is_none() {
        places.extend(config.path());
    }
    names.iter().find_map(|name| places.iter().find_map(|place| executable(&place.join(name))))
}

fn not_found(engine: &dyn Engine, directories: &[PathBuf], refused: &[String]) -> Error {
    use std::fmt::Write;

    let kind = engine.kind();
    let variable = url_variable(kind).unwrap_or_default();
    let names = engine.programs().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
    let mut fact = format!("there is no {kind} server: none that can be run is installed, and {variable} is not set");
    for reason in refused {
        write!(fact, "\n  {reason}").expect("a string takes all");
    }
    write!(fact, "\n  looked for {names} in").expect("a string takes all");
    for directory in directories {
        write!(fact, "\n    {}", directory.display()).expect("a string takes all");
    }
    Error::new(ErrorKind::NoServer, fact)
        .hint(format!("install {kind} ({}), or set {variable} to the URL of a server", engine.source()))
}

/// The directories that a pattern stands for: one part may hold a `*`, and of several the one with the highest version comes
/// first. A directory without one stands for itself, there or not.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        match (part, name.split_once('*')) {
            (Component::Normal(_), Some((start, end))) => {
                found = found.iter().flat_map(|directory| matching(directory, start, end)).collect();
            }
            _ => found.iter_mut().for_each(|directory| directory.push(part)),
        }
    }
    found
}

fn matching(directory: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let fits = |name: &String| name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
    let mut names: Vec<_> = names.filter(fits).collect();
    names.sort_by_cached_key(|name| Reverse(version_key(name)));
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// The numbers in a name: 9 is less than 15.
fn version_key(name: &str) -> Vec<u64> {
    let numbers = name.split(|character: char| !character.is_ascii_digit());
    numbers.filter(|digits| !digits.is_empty()).map(|digits| digits.parse().unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_comes_first() {
        let place = tempfile::tempdir().expect("a directory");
        for name in ["postgresql/9.6/bin", "postgresql/15/bin", "postgresql/15.2/bin", "other/17/bin"] {
            fs::create_dir_all(place.path().join(name)).expect("a directory");
        }
        let found = expand(&place.path().join("postgresql/*/bin"));
        let expected = ["15.2", "15", "9.6"].map(|version| place.path().join("postgresql").join(version).join("bin"));
        assert_eq!(found, expected);
        assert_eq!(expand(Path::new("/nowhere/at/all")), [Path::new("/nowhere/at/all")]);
        assert!(expand(Path::new("/nowhere/*/all")).is_empty());
    }
}
