//! The benchmarks behind the tables in freshdb's README and docs. Data go to standard output, progress to standard error.

mod broker;
mod databases;
mod directory;
mod engine;
mod failure;
mod interrupt;
mod isolation;
mod leases;
mod load;
mod process;
mod program;
mod pytest;
mod quantile;
mod sessions;
mod tables;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::failure::{Failure, OrFail};

/// The benchmarks behind the tables in freshdb's README and docs
#[derive(Debug, Parser)]
#[command(name = "freshdb-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure tags-api under load, beside a bare axum handler that runs the same SQL
    Load(Box<load::Args>),
    /// Measure what a session of an engine costs, beside a connection of a plain sqlx pool
    Sessions(Box<sessions::Args>),
    /// Measure what a lease of a pristine database costs, and what putting it back costs
    Leases(Box<leases::Args>),
    /// Measure what a database of its own for every test costs, beside what people do today
    Isolation(Box<isolation::Args>),
    /// Measure what a lease costs that is taken over the broker's socket, with many clients at once
    Broker(Box<broker::Args>),
    /// Measure tests in Python with a database each, beside `create_all` and `drop_all` around each test
    Pytest(Box<pytest::Args>),
    /// Serve the bare handler that `load` compares with
    #[command(hide = true)]
    Bare(load::bare::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{failure}");
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // What measures must not take the processor from what is measured. Its one thread is also the one that the children
    // are tied to: see `process::tied`.
    let one_thread = Builder::new_current_thread().enable_all().build();
    match cli.command {
        Command::Load(args) => one_thread.or_fail(|| "cannot start the runtime".into())?.block_on(load::run(*args)),
        Command::Sessions(args) => sessions::run(&args, &one_thread.or_fail(|| "cannot start the runtime".into())?),
        Command::Leases(args) => leases::run(&args, &one_thread.or_fail(|| "cannot start the runtime".into())?),
        Command::Isolation(args) => {
            one_thread.or_fail(|| "cannot start the runtime".into())?.block_on(isolation::run(*args))
        }
        Command::Broker(args) => broker::run(&args, &one_thread.or_fail(|| "cannot start the runtime".into())?),
        Command::Pytest(args) => one_thread.or_fail(|| "cannot start the runtime".into())?.block_on(pytest::run(*args)),
        Command::Bare(args) => Builder::new_multi_thread()
            .enable_all()
            .build()
            .or_fail(|| "cannot start the runtime".into())?
            .block_on(load::bare::serve(args)),
    }
}
