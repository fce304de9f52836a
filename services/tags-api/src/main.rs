//! The command `tags-api`.

use std::process::ExitCode;

use clap::Parser;
use tags_api::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.log_format();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(format);
            ExitCode::FAILURE
        }
    }
}
