//! The log, on standard error.

use std::io::{BufWriter, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::cli::LogFormat;

/// The log, for as long as it is wanted.
pub(crate) type Log = WorkerGuard;

/// Starts the log. `RUST_LOG` chooses what is logged; with `echo`, statements are logged whatever it says.
///
/// Lines are written by a thread of the log's own, many at once where many come. None is left out; the last are written
/// when what this gives is dropped. Requests wait only if standard error takes no more.
pub(crate) fn start(format: LogFormat, echo: bool) -> Log {
    let (mut filter, misunderstood) = match EnvFilter::try_from_default_env() {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("warn,tags_api=info"), std::env::var_os(EnvFilter::DEFAULT_ENV).map(|_| error)),
    };
    if echo {
        // The statements, and the span that gives them their request's id.
        let directives = ["sqlx::query=info", "tags_api::http::observe=debug"];
        for directive in directives.into_iter().filter_map(|directive| directive.parse().ok()) {
            filter = filter.add_directive(directive);
        }
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let stderr = BufWriter::with_capacity(1 << 16, std::io::stderr());
    let (writer, log) = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(10_000).finish(stderr);
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_timer(SystemTime).with_ansi(colour);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
    if let Some(error) = misunderstood {
        tracing::warn!(%error, "RUST_LOG is not understood, and is passed over");
    }
    log
}
