//! Which program this is.

use std::fs::Metadata;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use super::{Fingerprint, SchemaError};
use crate::{Error, ErrorKind};

/// Adds the identity of the running program: what its code does cannot be read, but that it is the same code can be told.
///
/// It is the program file's length, its time of change to the nanosecond, and its number on its disk: a link step makes all three
/// anew. Hashing the contents would cost a tenth of a second for each process of a test run, since test programs are large.
pub(super) fn add_to(fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
    static IDENTITY: OnceLock<String> = OnceLock::new();

    if let Some(identity) = IDENTITY.get() {
        fingerprint.add("program", identity);
        return Ok(());
    }
    let metadata = of_this_program().map_err(|error| {
        Error::new(ErrorKind::Files, "the running program's file cannot be looked at").because(error)
    })?;
    fingerprint.add("program", IDENTITY.get_or_init(|| identity(&metadata)));
    Ok(())
}

fn of_this_program() -> std::io::Result<Metadata> {
    // Linux leads to the file that is running even where another has taken its place since.
    #[cfg(target_os = "linux")]
    let file = "/proc/self/exe";
    #[cfg(not(target_os = "linux"))]
    let file = std::env::current_exe()?;
    std::fs::metadata(file)
}

fn identity(metadata: &Metadata) -> String {
    #[cfg(unix)]
    let number = {
        use std::os::unix::fs::MetadataExt;
        metadata.ino()
    };
    #[cfg(not(unix))]
    let number = 0;
    // A file system without such times leaves the rest to tell.
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{} {} {number}", metadata.len(), changed.as_nanos())
}
