//! The log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::cli::LogFormat;

/// Starts the log. `RUST_LOG` chooses what is logged; with `echo`, statements are logged whatever it says.
pub(crate) fn start(format: LogFormat, echo: bool) {
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,tags_api=info"));
    if echo {
        // The statements, and the span that gives them their request's id.
        let directives = ["sqlx::query=info", "tags_api::http::observe=debug"];
        for directive in directives.into_iter().filter_map(|directive| directive.parse().ok()) {
            filter = filter.add_directive(directive);
        }
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        .with_ansi(colour);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
}
