//! The place in the user's source from which something was called.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::registry::Place;

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Known {
        file: String,
        line: u32,
        column: u32,
    },
    /// The program has no debug information.
    Unknown,
}

impl Source {
    pub(crate) fn of(place: Place) -> Self {
        if is_ours(place) {
            return Trace::capture().source();
        }
        Self::of_location(place)
    }

    pub(crate) fn of_location(place: &std::panic::Location<'_>) -> Self {
        Self::Known { file: place.file().to_owned(), line: place.line(), column: place.column() }
    }
}

/// Whether that is in freshdb's own source: whoever called it called it through somebody else's trait.
pub(crate) fn is_ours(place: Place) -> bool {
    is_own(Path::new(place.file()))
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { file, line, column } => write!(formatter, "{file}:{line}:{column}"),
            Self::Unknown => formatter.write_str("unknown (build with `debug = \"line-tables-only\"` or more)"),
        }
    }
}

/// The calls that led to here. Cheap to take, and only looked up if somebody wants to know.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<backtrace::Backtrace>>);

impl Trace {
    pub(crate) fn capture() -> Self {
        Self(Arc::new(Mutex::new(backtrace::Backtrace::new_unresolved())))
    }

    /// Whether it was looked up.
    #[cfg(test)]
    pub(crate) fn is_resolved(&self) -> bool {
        let trace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trace.frames().iter().any(|frame| !frame.symbols().is_empty())
    }

    /// The innermost call that is in nobody's library.
    pub(crate) fn source(&self) -> Source {
        let mut trace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trace.resolve();
        let symbols = trace.frames().iter().flat_map(backtrace::BacktraceFrame::symbols);
        let source = symbols.filter_map(|symbol| {
            let file = symbol.filename().filter(|file| is_users(file))?;
            let (line, column) = (symbol.lineno()?, symbol.colno().unwrap_or(1));
            Some(Source::Known { file: shortened(file).display().to_string(), line, column })
        });
        source.into_iter().next().unwrap_or(Source::Unknown)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Trace")
    }
}

/// Not the standard library's, not one of cargo's dependencies, and not freshdb's.
fn is_users(file: &Path) -> bool {
    let library = ["/rustc/", "/rustlib/", "/registry/src/", "/git/checkouts/", "/library/std/", "/library/core/"];
    let text = file.to_string_lossy();
    !library.iter().any(|part| text.contains(part)) && !is_own(file)
}

/// freshdb's own, but not its tests.
fn is_own(file: &Path) -> bool {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // What the compiler writes down may be relative to the workspace.
    file.starts_with(&own)
        || (file.is_relative()
            && Path::new(file!()).parent().and_then(Path::parent).is_some_and(|own| file.starts_with(own)))
}

/// As the compiler shows it: relative to the workspace, which is above the package in whose directory a test runs.
fn shortened(file: &Path) -> PathBuf {
    static WORKSPACE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let here = std::env::current_dir().ok()?;
        here.ancestors().find(|directory| directory.join("Cargo.lock").exists()).map(Path::to_owned)
    });

    let shorter = WORKSPACE.as_ref().and_then(|workspace| file.strip_prefix(workspace).ok());
    shorter.unwrap_or(file).to_owned()
}
