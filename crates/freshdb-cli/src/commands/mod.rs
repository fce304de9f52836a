//! What the commands do.

mod child;
mod gc;
mod hosting;
mod run;
mod serve;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

pub(crate) fn carry_out(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Run(run) => block_on(run::run(run)),
        Command::Serve(serve) => block_on(serve::serve(serve)),
        Command::Gc(gc) => block_on(gc::gc(gc)),
        Command::Start { parent, command } => Err(child::become_command(parent, &command)),
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("the system has no thread to give").because(error))?.block_on(work)
}
