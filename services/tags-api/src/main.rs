//! The command `tags-api`.

use std::process::ExitCode;

use clap::Parser;
use tags_api::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::say(format_args!("error: {failure}"));
            if let Some(hint) = failure.hint() {
                cli::say(format_args!("hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    }
}
