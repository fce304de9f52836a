//! Data directories. Making one takes seconds and gives the same each time, so each version of a server does it once, and what
//! it made is copied.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::RunDirectory;
use super::engine::{DATA, Engine};
use super::keeper::Keeper;
use super::programs::Program;
use super::user::User;
use super::{copy, failure};
use crate::config::variables;
use crate::{Config, Error, ErrorKind, Fingerprint, runtime};

/// Counts up whenever a data directory is made in another way.
const REVISION: u32 = 3;
/// Of the name of each data directory in the cache.
const PREFIX: &str = "server-";
/// At the end of the name of one that is not complete yet, and of one in whose place another is put.
const PART: &str = ".part";
const OLD: &str = ".old";
/// The machine's time zone: a link to its rules, or a copy of them.
const MACHINES_ZONE: &str = "/etc/localtime";
const REMOVAL_LIMIT: Duration = Duration::from_secs(5);

/// Puts a data directory into the directory of a run.
///
/// # Errors
///
/// If it cannot be made or copied.
pub(super) async fn provide(
    engine: &'static dyn Engine,
    program: &Program,
    config: &Config,
    user: &User,
    run: &Path,
) -> Result<(), Error> {
    let cache = Cached::of(engine, program, config, user)?;
    let target = run.join(DATA);
    if !config.rebuild() {
        let (cached, target, user) = (cache.clone(), target.clone(), user.clone());
        let copied = runtime::blocking(move || cached.copy_if_there(&target, &user)).await?;
        if copied {
            return Ok(());
        }
    }
    let locked = cache.clone();
    let lock = runtime::blocking(move || locked.lock(File::lock)).await?;
    // Somebody else may have made it in the meantime.
    if config.rebuild() || !cache.path.is_dir() {
        make(engine, program, config, user, &cache).await?;
    }
    let user = user.clone();
    runtime::blocking(move || {
        let result = cache.copy(&target, &user);
        // Until then nobody puts another one in its place.
        drop(lock);
        result
    })
    .await
}

/// The data directory of one version of a server in the cache.
#[derive(Clone, Debug)]
struct Cached {
    path: PathBuf,
}

impl Cached {
    fn of(engine: &dyn Engine, program: &Program, config: &Config, user: &User) -> Result<Self, Error> {
        let directory = config.cache_dir();
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(|error| {
            Error::new(ErrorKind::Files, format!("failed to make the cache `{}`", directory.display()))
                .because(error)
                .hint(format!("set {} to a directory that can be written", variables::CACHE_DIR))
        })?;
        let name = name(engine, &program.version, config, user);
        Ok(Self { path: directory.join(name) })
    }

    fn lock(&self, how: fn(&File) -> io::Result<()>) -> Result<File, Error> {
        let path = self.path.with_file_name(format!("{}.lock", self.name()));
        let locked = || {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            how(&file).map(|()| file)
        };
        locked().map_err(|error| {
            Error::new(ErrorKind::Files, format!("failed to lock `{}`", path.display()))
                .because(error)
                .hint(format!("set {} to a directory that can be written", variables::CACHE_DIR))
        })
    }

    fn copy_if_there(&self, target: &Path, user: &User) -> Result<bool, Error> {
        if !self.path.is_dir() {
            return Ok(false);
        }
        let _lock = self.lock(File::lock_shared)?;
        if !self.path.is_dir() {
            return Ok(false);
        }
        self.copy(target, user).map(|()| true)
    }

    fn copy(&self, target: &Path, user: &User) -> Result<(), Error> {
        copy::tree(&self.path, target, user).map_err(|error| {
            let fact = format!("failed to copy `{}` to `{}`", self.path.display(), target.display());
            let no_room = error.kind() == io::ErrorKind::StorageFull;
            let error = Error::new(ErrorKind::Files, fact).because(error);
            if no_room {
                error.hint(format!("set {} to a directory with more room", variables::RUN_DIR))
            } else {
                error
            }
        })
    }

    /// Takes a data directory into the cache. It gets its name when it is complete, and what was written of it is gone where that
    /// fails.
    fn store(&self, data: &Path) -> Result<(), Error> {
        self.sweep_others();
        let [part, old] = [PART, OLD].map(|end| self.path.with_file_name(format!("{}{end}", self.name())));
        let stored = || {
            // Of processes that were interrupted. We have the lock.
            copy::remove(&part, REMOVAL_LIMIT)?;
            copy::remove(&old, REMOVAL_LIMIT)?;
            copy::tree(data, &part, &User::Ourselves)?;
            if self.path.exists() {
                fs::rename(&self.path, &old)?;
            }
            fs::rename(&part, &self.path)?;
            copy::remove(&old, REMOVAL_LIMIT)
        };
        stored().map_err(|error| {
            if let Err(error) = copy::remove(&part, REMOVAL_LIMIT) {
                tracing::warn!("`{}` is not complete, and is still there: {error}", part.display());
            }
            Error::new(ErrorKind::Files, format!("failed to write `{}`", self.path.display()))
                .because(error)
                .hint(format!("set {} to a directory with room", variables::CACHE_DIR))
        })
    }

    /// Removes what processes that are gone have left of other versions, and of other servers, which may never be made again.
    fn sweep_others(&self) {
        let entries = self.path.parent().and_then(|cache| fs::read_dir(cache).ok()).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let of = name.strip_suffix(PART).or_else(|| name.strip_suffix(OLD));
            let Some(of) = of.filter(|of| of.starts_with(PREFIX) && *of != self.name()) else { continue };
            let other = Self { path: path.with_file_name(of) };
            // Whoever is at work on it has the lock.
            let Ok(_lock) = other.lock(|file| file.try_lock().map_err(io::Error::from)) else { continue };
            if let Err(error) = copy::remove(&path, Duration::ZERO) {
                tracing::warn!("`{}` was left by a process that is gone, and is still there: {error}", path.display());
            }
        }
    }

    fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// All that decides what is in it, as a file's name.
fn name(engine: &dyn Engine, version: &str, config: &Config, user: &User) -> String {
    let zone = engine.keeps_time_zone().then(|| time_zone(config, Path::new(MACHINES_ZONE))).flatten();
    let zone = zone.map(|zone| format!("-zone{}", in_name(&zone))).unwrap_or_default();
    format!("{PREFIX}{}-{}-user{}{zone}-{REVISION}", engine.kind().name(), in_name(version), user.uid())
}

/// What tells a time zone from another: its name, or else that of the machine's, or the machine's rules where they have no name.
fn time_zone(config: &Config, machines: &Path) -> Option<String> {
    if let Some((_, zone)) = config.environment().iter().find(|(name, _)| *name == "TZ") {
        return Some(zone.to_string_lossy().into_owned());
    }
    match fs::read_link(machines) {
        Ok(zone) => Some(zone.to_string_lossy().into_owned()),
        Err(_) => fs::read(machines).ok().map(|rules| Fingerprint::new().add("rules", rules).digest()),
    }
}

fn in_name(text: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || ".+~-".contains(letter) { letter } else { '_' };
    text.chars().map(letter).collect()
}

/// Makes a data directory in a directory of its own, which ends with this process, and stores it in the cache.
async fn make(
    engine: &'static dyn Engine,
    program: &Program,
    config: &Config,
    user: &User,
    cache: &Cached,
) -> Result<(), Error> {
    let (settings, owner) = (config.clone(), user.clone());
    let run = runtime::blocking(move || RunDirectory::create(&settings, &owner)).await?;
    let data = run.path().join(DATA);
    let invocation = engine.initialise(program, &data);
    let keeper = Keeper::hold(run, user, config, None, Some(&invocation))?;
    let made = DirBuilder::new().mode(0o700).create(&data).and_then(|()| user.own(&data));
    made.map_err(|error| Error::new(ErrorKind::Files, format!("failed to make `{}`", data.display())).because(error))?;

    keeper.begin()?;
    let code = keeper.program_end().await;
    let result = if code == Some(0) {
        let cache = cache.clone();
        runtime::blocking(move || {
            engine.complete(&data).map_err(|error| {
                Error::new(ErrorKind::Files, format!("failed to complete `{}`", data.display())).because(error)
            })?;
            cache.store(&data)
        })
        .await
    } else {
        let what = format!("failed to create a data directory: {}", failure::ending(code));
        Err(failure::error(engine, program, &what, &invocation, &failure::log(&keeper)))
    };
    // A failure of its own says more than one to clean up after it.
    result.and(keeper.stop().await)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_machine_that_has_another_time_zone_has_another_directory() {
        let place = tempfile::tempdir().expect("a directory");
        let machines = place.path().join("localtime");
        let zone = || time_zone(&Config::new("/cache"), &machines);
        assert_eq!(zone(), None);
        let mut zones = Vec::new();
        for target in ["/usr/share/zoneinfo/Asia/Tokyo", "../usr/share/zoneinfo/Europe/Zurich"] {
            symlink(target, &machines).expect("a link");
            zones.push(zone().expect("a zone"));
            fs::remove_file(&machines).expect("it goes");
        }
        for rules in ["TZif 1", "TZif 2"] {
            fs::write(&machines, rules).expect("a file");
            zones.push(zone().expect("a zone"));
        }
        for (index, one) in zones.iter().enumerate() {
            assert!(!one.is_empty() && !zones[index + 1..].contains(one), "{zones:?}");
        }
    }
}
