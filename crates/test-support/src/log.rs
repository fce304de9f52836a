//! What is logged while tests run: in the output of the test, and where a test can look for it.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::TestWriter;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on the log stands beside the failure of the test that it explains. Another test may have begun it already.
pub fn begin_log() {
    let log = tracing_subscriber::fmt()
        .with_env_filter("info,freshdb=debug,tags_api=debug")
        .with_ansi(false)
        .with_writer(Log::default);
    drop(log.try_init());
}

/// Whether any test of this process has caused a warning that holds all of these words.
pub fn warned(words: &[&str]) -> bool {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.iter().any(|line| words.iter().all(|word| line.contains(word)))
}

/// Says something at once, and whether or not the test succeeds: what is printed is kept until it fails.
pub fn say(line: &str) {
    writeln!(io::stdout(), "{line}").expect("standard output");
}

/// Writes into the output of the test, and keeps the warnings.
#[derive(Debug, Default)]
pub(crate) struct Log(TestWriter);

impl Write for Log {
    /// Called once for each event.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if text.contains(" WARN ") {
            WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).push(text.into_owned());
        }
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
