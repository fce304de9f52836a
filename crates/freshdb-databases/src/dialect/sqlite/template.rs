//! A template's file, and its copies.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sqlx::Connection as _;

use super::super::{Outcome, Reset, Steps};
use super::{connection, files};
use crate::{DatabaseUrl, Error, ErrorKind};

/// Up to this size a template is kept in memory.
const IN_MEMORY: u64 = 32 << 20;

/// After so many copies: one that is made of the file is as soon made, but for what it takes to read all of it, which a process that tests once
/// never gets back.
const IN_MEMORY_FROM: usize = 1;

/// Where the first page's number of rows is, those of the schema, or of pages that have them: <https://www.sqlite.org/fileformat2.html#b_tree_pages>.
const ROWS: u64 = 103;

/// From this size on a copy takes long enough for others to notice: it is written by a thread that may wait.
const LONG: u64 = 1 << 20;

/// For how long another process may have a template open to read it.
const LONGEST_READ: Duration = Duration::from_secs(2);
/// At the most, and drawn at random.
const PAUSE: Duration = Duration::from_millis(10);

/// A template: one file, which nobody has open.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    url: DatabaseUrl,
    stamp: Stamp,
    pub(super) has_tables: bool,
    content: Arc<Content>,
}

/// What a template holds, as soon as that is worth it.
#[derive(Debug, Default)]
struct Content {
    copies: AtomicUsize,
    held: OnceLock<Vec<u8>>,
}

/// A copy of a template.
#[derive(Debug)]
pub(crate) struct Slot {
    url: DatabaseUrl,
    /// Where its path led to when it was last pristine.
    copy: Option<Copy>,
}

/// A file that a slot's path leads to.
#[derive(Clone, Debug)]
struct Copy {
    file: PathBuf,
    stamp: Stamp,
}

/// What tells a file that was written to from one that was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Stamp {
    number: u64,
    length: u64,
    modified: SystemTime,
}

impl Template {
    pub(super) async fn read(url: DatabaseUrl) -> Result<Self, Error> {
        let path = path_of(&url)?;
        let failed = |error: sqlx::Error| {
            Error::new(ErrorKind::Database, format!("failed to read the template `{url}`")).because(error)
        };
        // Other processes read it at the same moment, and of those who close it together none may remove its log.
        let deadline = Instant::now() + LONGEST_READ;
        loop {
            settle(path).await.map_err(failed)?;
            if !files::has_log(path).map_err(|error| failed(error.into()))? {
                break;
            }
            if Instant::now() > deadline {
                let fact = format!("a connection to the template `{url}` is still open");
                return Err(Error::new(ErrorKind::Schema, fact)
                    .hint("close every connection to the database before the schema counts as applied"));
            }
            tokio::time::sleep(PAUSE.mul_f64(fastrand::f64())).await;
        }

        Self::read_settled(url).await
    }

    /// The file, for other processes to know again.
    pub(super) fn store(&self) -> Option<String> {
        serde_json::to_string(&self.stamp).ok()
    }

    /// Nothing if the file is another than was stored, or somebody writes to it: then it has to be settled first.
    pub(super) async fn restore(url: DatabaseUrl, stored: &str) -> Option<Self> {
        let stamp = serde_json::from_str::<Stamp>(stored).ok()?;
        let template = Self::read_settled(url).await.ok()?;
        let path = template.url.path()?;
        let is_alone = !files::has_companions(path).ok()? && Stamp::at(path).ok()? == Some(stamp);
        (is_alone && template.stamp == stamp).then_some(template)
    }

    async fn read_settled(url: DatabaseUrl) -> Result<Self, Error> {
        let read = tokio::task::spawn_blocking(move || Self::read_file(url));
        read.await.map_err(|error| Error::new(ErrorKind::Files, "failed to read the template").because(error))?
    }

    fn read_file(url: DatabaseUrl) -> Result<Self, Error> {
        let path = path_of(&url)?;
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Files, format!("failed to read the template `{url}`")).because(error)
        };
        let stamp = Stamp::of(&fs::metadata(path).map_err(failed)?).map_err(failed)?;
        let mut rows = [0, 0];
        let has_tables = match File::open(path).and_then(|file| file.read_exact_at(&mut rows, ROWS)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            read => read.map(|()| rows != [0, 0]).map_err(failed)?,
        };
        Ok(Self { url, stamp, has_tables, content: Arc::default() })
    }

    /// Writes a copy to a new file.
    pub(super) fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = files::create(path)?;
        if let Some(content) = self.held()? {
            file.write_all(content)?;
        } else {
            // Where the file system can do it, the two share their blocks.
            let copied = io::copy(&mut self.open()?, &mut file)?;
            self.is_whole(copied)?;
        }
        // A file that is written to later is newer than the template.
        file.set_modified(self.stamp.modified)
    }

    /// What it holds, if that is to be written from memory.
    fn held(&self) -> io::Result<Option<&[u8]>> {
        if self.stamp.length > IN_MEMORY || self.content.copies.fetch_add(1, Ordering::Relaxed) < IN_MEMORY_FROM {
            return Ok(None);
        }
        if let Some(held) = self.content.held.get() {
            return Ok(Some(held));
        }
        let mut read = Vec::new();
        self.open()?.read_to_end(&mut read)?;
        self.is_whole(read.len() as u64)?;
        Ok(Some(self.content.held.get_or_init(|| read)))
    }

    fn open(&self) -> io::Result<File> {
        let Some(path) = self.url.path() else { return Err(io::ErrorKind::NotFound.into()) };
        let template = File::open(path)?;
        if Stamp::of(&template.metadata()?)? != self.stamp {
            return Err(io::Error::other("the template was written to after it was complete"));
        }
        Ok(template)
    }

    fn is_whole(&self, copied: u64) -> io::Result<()> {
        if copied == self.stamp.length { Ok(()) } else { Err(io::Error::other("the template became shorter")) }
    }
}

/// What was committed to the log is moved into the file, and what was not committed is taken back. Whoever still writes is in the way of
/// the transaction, and of who closes the file last its log is removed.
async fn settle(template: &Path) -> Result<(), sqlx::Error> {
    let mut connection = connection::open(template).await?;
    sqlx::raw_sql("PRAGMA busy_timeout = 2000; BEGIN IMMEDIATE; ROLLBACK; PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await?;
    connection.close().await
}

impl Slot {
    pub(super) fn new(url: DatabaseUrl) -> Self {
        Self { url, copy: None }
    }

    /// A copy that is pristine.
    pub(super) fn adopt(url: DatabaseUrl) -> Result<Self, Error> {
        let mut slot = Self::new(url);
        let path = path_of(&slot.url)?;
        let found = fs::canonicalize(path).and_then(|file| {
            let stamp = Stamp::of(&fs::metadata(&file)?)?;
            // By the name by which its directory is listed.
            let file = files::directory_of(path).join(file.file_name().unwrap_or_default());
            Ok(Copy { file, stamp })
        });
        slot.copy = Some(found.map_err(|error| slot.failed(error))?);
        Ok(slot)
    }

    /// Puts a copy where there is no database yet.
    pub(super) async fn create(&mut self, template: &Template) -> Result<(), Error> {
        let path = path_of(&self.url)?;
        if files::is_there(path).map_err(|error| self.failed(error))? {
            return Err(self.failed(io::ErrorKind::AlreadyExists.into()));
        }
        self.reset(template).await?;
        Ok(())
    }

    /// Puts a new copy in the place of the database.
    ///
    /// Also when the file looks as if nobody had written to it: who has it open, perhaps in the middle of a transaction,
    /// cannot be known, and would write to it later.
    pub(super) async fn reset(&mut self, template: &Template) -> Result<Reset, Error> {
        let path = path_of(&self.url)?.to_owned();
        let before = self.copy.clone();
        let work = {
            let (template, path) = (template.clone(), path);
            move || replace(&path, &template, before.as_ref())
        };
        let replaced = if template.stamp.length < LONG {
            work()
        } else {
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        let (copy, touched, steps) = replaced.map_err(|error| self.failed(error))?;
        self.copy = Some(copy);
        let outcome = Outcome::Pristine { touched: usize::from(touched) };
        Ok(Reset { outcome, ended: Vec::new(), steps: steps.into_inner() })
    }

    fn failed(&self, error: io::Error) -> Error {
        let full = files::is_full(&error);
        let failed =
            Error::new(ErrorKind::Files, format!("failed to copy the template to `{}`", self.url)).because(error);
        if full { failed.hint("make room there, or put the databases on another file system") } else { failed }
    }
}

/// Makes the path lead to a new copy of the template. `before` is the file that it led to when that was pristine. Says what the
/// new one is, and whether the old one was written to.
///
/// The names of the files are never used again. SQLite opens a journal or a log by name, when it first needs one: a connection
/// that outlived its lease must not find, make or remove those of the next. It resolves links when it opens a
/// database, and knows the file by its own name from then on: <https://www.sqlite.org/howtocorrupt.html#_multiple_links_to_the_same_file>.
fn replace(path: &Path, template: &Template, before: Option<&Copy>) -> io::Result<(Copy, bool, Steps)> {
    let mut steps = Steps::start();
    let directory = files::directory_of(path);
    let old = files::list(&directory)?;
    let touched = match before {
        Some(before) => old != [before.file.as_path()] || Stamp::at(path)? != Some(before.stamp),
        None => true,
    };
    steps.done("look");

    let file = directory.join(format!("{:016x}.db", fastrand::u64(..)));
    if old.is_empty() {
        files::make_directory_of(path)?;
    }
    template.write_to(&file)?;
    steps.done("copy");

    files::lead(path, &file)?;
    old.iter().try_for_each(|path| files::remove_if_there(path))?;
    let stamp = Stamp::of(&fs::metadata(&file)?)?;
    steps.done("replace");
    Ok((Copy { file, stamp }, touched, steps))
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { number: metadata.ino(), length: metadata.len(), modified: metadata.modified()? })
    }

    fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn path_of(url: &DatabaseUrl) -> Result<&Path, Error> {
    url.path().ok_or_else(|| Error::url("names no file"))
}
