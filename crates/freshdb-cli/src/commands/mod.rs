//! What the commands do.

mod child;
mod doctor;
mod gc;
mod hosting;
mod run;
mod serve;
mod status;
mod texts;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

pub(crate) fn carry_out(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Run(run) => block_on(run::run(run)),
        Command::Serve(serve) => block_on(serve::serve(serve)),
        Command::Status(arguments) => status::status(&arguments),
        Command::Doctor(arguments) => block_on(doctor::doctor(arguments)),
        Command::Gc(gc) => block_on(gc::gc(gc)),
        Command::Completions { shell } => texts::completions(shell),
        Command::Man => texts::manual(),
        Command::Start { parent, command } => Err(child::become_command(parent, &command)),
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("the system has no thread to give").because(error))?.block_on(work)
}
