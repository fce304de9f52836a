//! What the workers did, in files that outlive them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) struct Ledger {
    directory: PathBuf,
}

impl Ledger {
    pub(crate) fn open(directory: &Path) -> Self {
        for part in ["held", "seen"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        Self { directory: directory.to_owned() }
    }

    /// Notes that a worker has a database; if somebody else has it, that is a violation.
    pub(crate) fn take(&self, database: &str, group: usize, worker: usize) {
        // Databases of one group are never another's.
        let seen = self.directory.join("seen").join(format!("{database} {group}"));
        fs::write(seen, "").unwrap();
        let other = self.directory.join("seen").join(format!("{database} {}", 1 - group));
        if other.exists() {
            self.violation(&format!("{database} was handed out to both groups"));
        }
        let held = self.held(database);
        let me = format!("{} {worker}", std::process::id());
        if let Ok(holder) = fs::read_to_string(&held) {
            // It was killed, unless it lives: then two have one database.
            let process = holder.split(' ').next().unwrap_or_default().to_owned();
            if process != std::process::id().to_string() && lives(&process) {
                self.violation(&format!("{database} is held by {holder} and by {me}"));
            }
        }
        // At once or not at all, whenever this process is killed.
        let written = self.directory.join(format!("writing-{}", std::process::id()));
        fs::write(&written, me).unwrap();
        fs::rename(written, held).unwrap();
    }

    /// Notes that a database goes back, and counts the lease.
    pub(crate) fn give_back(&self, database: &str, worker: usize) {
        fs::remove_file(self.held(database)).unwrap();
        let mut file = OpenOptions::new().create(true).append(true).open(self.count(worker)).unwrap();
        file.write_all(b".").unwrap();
    }

    pub(crate) fn violation(&self, what: &str) {
        let file = self.directory.join("violations");
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{what}").unwrap();
    }

    pub(crate) fn violations(&self) -> String {
        fs::read_to_string(self.directory.join("violations")).unwrap_or_default()
    }

    pub(crate) fn leases(&self, worker: usize) -> usize {
        fs::metadata(self.count(worker)).map_or(0, |file| usize::try_from(file.len()).unwrap())
    }

    pub(crate) fn database_names(&self) -> BTreeSet<String> {
        let seen = fs::read_dir(self.directory.join("seen")).unwrap();
        seen.map(|entry| entry.unwrap().file_name().to_string_lossy().split(' ').next().unwrap().to_owned()).collect()
    }

    pub(crate) fn databases(&self) -> usize {
        self.database_names().len()
    }

    fn held(&self, database: &str) -> PathBuf {
        self.directory.join("held").join(database)
    }

    fn count(&self, worker: usize) -> PathBuf {
        self.directory.join(format!("worker-{worker}"))
    }
}

/// Whether a process is alive: not one that was killed and is not collected yet, nor one that is ending. Its files are closed, and
/// its locks gone, a moment before the kernel shows it as dead.
fn lives(process: &str) -> bool {
    /// `PF_EXITING`: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
    const EXITING: u64 = 4;

    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let mut fields = status.rsplit(") ").next().unwrap_or_default().split(' ');
    let state = fields.next().unwrap_or_default();
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    !matches!(state, "" | "Z" | "X") && flags.is_some_and(|flags| flags & EXITING == 0)
}

impl fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leases: Vec<usize> = (0..crate::WORKERS).map(|worker| self.leases(worker)).collect();
        write!(formatter, "leases {leases:?}, {}", self.violations())
    }
}
