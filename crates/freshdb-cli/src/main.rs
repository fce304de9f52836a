//! The command `freshdb`: pristine databases for any test runner, in any language.

mod broker;
mod cli;
mod commands;
mod failure;
mod report;
mod say;
mod servers;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

fn main() -> ExitCode {
    cli::begin_log();
    match commands::carry_out(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
