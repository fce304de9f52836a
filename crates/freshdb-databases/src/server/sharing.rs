//! Servers that the processes of a run share: the first one that needs a server starts it, and leaves it to the run.
//!
//! They meet in a directory that only their user can enter, which ends with the run as the servers do. In it is, for each
//! engine, a lock, which whoever starts a server has, and a file that says where the server is, which is written last: a process that
//! is killed on the way has left a free lock and no file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use super::directory::{self, RunDirectory};
use super::keeper::Keeper;
use super::launch::{self, Running};
use super::run::{self, Run};
use super::user::User;
use crate::config::variables;
use crate::runtime::blocking;
use crate::{Config, DatabaseUrl, Error, ErrorKind, Fingerprint, Kind, names};

/// A server that was started for the run, by whichever of its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfRun {
    pub(super) url: DatabaseUrl,
    pub(super) socket: Option<PathBuf>,
    /// Its number, and when it began. SQLite's server is none.
    pub(super) process: Option<(u32, u64)>,
}

impl OfRun {
    pub(super) fn has_ended(&self) -> bool {
        match (self.process, self.url.path()) {
            (Some((process, start_time)), _) => !run::lives(process, start_time),
            (None, Some(directory)) => !directory.is_dir(),
            (None, None) => true,
        }
    }

    /// A line for each of its facts.
    fn to_text(&self) -> Option<String> {
        let lines = [
            match self.url.path() {
                Some(path) => path.to_str()?.to_owned(),
                // As a driver takes it MariaDB's would say `mysql`.
                None => self.url.reveal().replacen("mysql:", &format!("{}:", self.url.kind().name()), 1),
            },
            self.socket.as_ref().map_or(Some(""), |socket| socket.to_str())?.to_owned(),
            self.process.map(|(process, start_time)| format!("{process} {start_time}")).unwrap_or_default(),
            // Somebody may look while it is there in part.
            END.to_owned(),
        ];
        lines.iter().all(|line| !line.contains('\n')).then(|| lines.join("\n"))
    }

    fn from_text(kind: Kind, text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (url, socket, process) = (lines.next()?, lines.next()?, lines.next()?);
        if lines.next()? != END {
            return None;
        }
        let url = if kind == Kind::Sqlite { DatabaseUrl::file(url) } else { DatabaseUrl::parse(url).ok()? };
        let process = match process.split_once(' ') {
            Some((process, start_time)) => Some((process.parse().ok()?, start_time.parse().ok()?)),
            None => None,
        };
        let socket = (!socket.is_empty()).then(|| socket.into());
        (url.kind() == kind).then_some(Self { url, socket, process })
    }
}

const END: &str = "ready";

/// The run's server of this kind, found or started.
///
/// # Errors
///
/// If there is none, or it does not start; if the run has ended.
pub(super) async fn server(kind: Kind, config: &Config, run: &Run) -> Result<OfRun, Error> {
    let name = name(config, run);
    loop {
        let (settings, wanted) = (config.clone(), name.clone());
        let found = blocking(move || Ok(find(&settings, &wanted))).await?;
        let meeting = match found {
            Some(meeting) => meeting,
            None => make(config, &name, run).await?,
        };
        if let Some(server) = meeting.server(kind) {
            return Ok(server);
        }
        let locked = meeting.clone();
        let Some(lock) = blocking(move || locked.lock(kind)).await? else { continue };
        // As many may have waited as the run had tests, and each would start a server for nobody.
        if run.has_ended() {
            return Err(Run::ended());
        }
        // Somebody else may have started it in the meantime.
        let server = match meeting.server(kind) {
            Some(server) => Some(server),
            None => start(kind, config, run, &meeting).await?,
        };
        drop(lock);
        if let Some(server) = server {
            return Ok(server);
        }
    }
}

/// The same for those who share, and for nobody else: neither another run or checkout, nor one that starts servers otherwise.
fn name(config: &Config, run: &Run) -> String {
    let mut name = Fingerprint::new();
    name.add("user", geteuid().as_raw().to_string());
    name.add("run", &run.identity);
    name.add("checkout", names::this_checkout());
    name.add("settings", config.of_servers());
    name.digest()
}

/// Starts a server, leaves it to the run, and writes down where it is, in this order: what is written down stays. Nothing if the
/// directory was lost.
async fn start(kind: Kind, config: &Config, run: &Run, meeting: &Meeting) -> Result<Option<OfRun>, Error> {
    let shared = if kind == Kind::Sqlite {
        OfRun { url: DatabaseUrl::file(meeting.directory.join(kind.name())), socket: None, process: None }
    } else {
        let Running { url, socket, keeper } = launch::start(kind, config.clone(), Some(run)).await?;
        let process = keeper.process().and_then(|process| Some((process, run::start_time(process)?)));
        keeper.leave_to_run().await?;
        OfRun { url, socket, process }
    };
    let meeting = meeting.clone();
    blocking(move || Ok(meeting.write_down(kind, &shared)?.then_some(shared))).await
}

/// Where the processes of a run meet.
#[derive(Clone, Debug)]
struct Meeting {
    directory: PathBuf,
}

/// In it, from the moment on from which it ends with the run.
const KEPT: &str = "kept";

fn find(config: &Config, name: &str) -> Option<Meeting> {
    directory::named(config, name)
        .find(|path| directory::is_held(path).unwrap_or(false) && path.join(KEPT).exists())
        .map(|directory| Meeting { directory })
}

/// How long another process's directory may take to become the run's, or to go.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Makes it, one process after another: the lock for that is in the cache, which stays.
async fn make(config: &Config, name: &str, run: &Run) -> Result<Meeting, Error> {
    let (settings, wanted) = (config.clone(), name.to_owned());
    let (lock, made) = blocking(move || {
        let lock = lock(&settings)?;
        directory::sweep(&settings);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(meeting) = find(&settings, &wanted) {
                return Ok((lock, Err(meeting)));
            }
            // Of one who was killed half-way. Its keeper makes it the run's, or removes it.
            let undecided = directory::named(&settings, &wanted).find(|path| directory::is_held(path).unwrap_or(false));
            match undecided {
                None => break,
                Some(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Some(path) => return Err(failed(&path, io::ErrorKind::TimedOut.into())),
            }
        }
        Ok((lock, Ok(RunDirectory::create_named(&settings, &User::Ourselves, &wanted)?)))
    })
    .await?;
    let directory = match made {
        Ok(directory) => directory,
        Err(meeting) => return Ok(meeting),
    };
    let path = directory.path().to_owned();
    Keeper::hold(directory, &User::Ourselves, config, Some(run), None)?.leave_to_run().await?;
    drop(lock);
    Ok(Meeting { directory: path })
}

fn lock(config: &Config) -> Result<File, Error> {
    let directory = config.cache_dir();
    let path = directory.join(format!("runs-of-user{}.lock", geteuid().as_raw()));
    let locked = || {
        fs::create_dir_all(directory)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.lock().map(|()| file)
    };
    locked().map_err(|error| {
        failed(&path, error).hint(format!("set {} to a directory that can be written", variables::CACHE_DIR))
    })
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Files, format!("failed to share servers by `{}`", path.display())).because(error)
}

impl Meeting {
    /// The server that somebody has written down, unless it has ended.
    fn server(&self, kind: Kind) -> Option<OfRun> {
        let text = fs::read_to_string(self.directory.join(format!("{}.server", kind.name()))).ok()?;
        OfRun::from_text(kind, &text).filter(|shared| !shared.has_ended())
    }

    /// The right to start a server, for which others wait; nothing if the run has ended, or its directory was lost.
    fn lock(&self, kind: Kind) -> Result<Option<File>, Error> {
        let path = self.directory.join(format!("{}.lock", kind.name()));
        let locked = || {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock().map(|()| file)
        };
        match locked() {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// All at once, for others look without a lock. `false` if the directory was lost.
    fn write_down(&self, kind: Kind, shared: &OfRun) -> Result<bool, Error> {
        let path = self.directory.join(format!("{}.server", kind.name()));
        let written = || {
            let text = shared.to_text().ok_or(io::ErrorKind::InvalidFilename)?;
            if let (Kind::Sqlite, Some(directory)) = (kind, shared.url.path()) {
                match fs::DirBuilder::new().mode(0o700).create(directory) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
            let part = path.with_extension(format!("{:016x}", fastrand::u64(..)));
            directory::write_private(&part, &text)?;
            fs::rename(&part, &path)
        };
        match written() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(&path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_as_it_was() {
        let servers = [
            ("mysql://root:secret@127.0.0.1:3306", Some("/dev/shm/x/mysqld.sock"), Some((7, 8))),
            ("mariadb://root:secret@127.0.0.1:3306", Some("/dev/shm/x/mysqld.sock"), Some((7, 8))),
            ("postgres://postgres:secret@127.0.0.1:5432/postgres", Some("/dev/shm/x"), Some((7, 8))),
            ("sqlite:///dev/shm/x", None, None),
        ];
        for (url, socket, process) in servers {
            let url = DatabaseUrl::parse(url).expect("a URL");
            let shared = OfRun { url, socket: socket.map(PathBuf::from), process };
            let text = shared.to_text().expect("a text");
            assert_eq!(OfRun::from_text(shared.url.kind(), &text), Some(shared.clone()), "{text}");
            for end in 0..text.len() {
                assert_eq!(OfRun::from_text(shared.url.kind(), &text[..end]), None, "a part of it: {}", &text[..end]);
            }
        }
    }
}
