//! What the commands do.

mod child;
mod diff;
mod doctor;
mod gc;
mod hosting;
mod run;
mod serve;
mod status;
mod terminal;
mod texts;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

pub(crate) fn carry_out(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Run(run) => block_on(run::run(run)),
        Command::Serve(serve) => block_on(serve::serve(serve)),
        Command::Status(arguments) => block_on(status::status(arguments)),
        Command::Doctor(arguments) => block_on(doctor::doctor(arguments)),
        Command::Diff(arguments) => block_on(diff::diff(arguments)),
        Command::Gc(gc) => block_on(gc::gc(gc)),
        Command::Completions { shell } => texts::completions(shell),
        Command::Man => texts::manual(),
        Command::Start { parent, command } => Err(child::become_command(parent, &command)),
    }
}

/// To standard output.
fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    let mut output = io::stdout();
    match output.write_all(text).and_then(|()| output.flush()) {
        // Whoever reads it may have read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What a database holds, or a client says, must not move the cursor of whoever looks at it.
fn plain(text: &str) -> String {
    let shown = |character: char| {
        let escaped = character.is_control().then(|| character.escape_default().to_string());
        escaped.unwrap_or_else(|| character.to_string())
    };
    text.chars().map(shown).collect()
}

fn block_on(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    child::hear_of_ends()?;
    child::hear_of_large_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("the system has no thread to give").because(error))?.block_on(work)
}
