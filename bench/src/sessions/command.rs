//! The command `sessions`, from its arguments to its last line.

use std::io::{self, Write};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::contender::{Flavor, Operation, measure};
use super::report::{HEADER, Record};
use crate::databases::Databases;
use crate::engine::{Engine, EngineArgs, Place};
use crate::failure::{Failure, OrFail, both};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    /// How long each operation is measured, all contenders in turn
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Print one JSON record a line instead of a table
    #[arg(long)]
    json: bool,
}

/// Measures and prints. `runtime` is for what is not measured.
pub(crate) fn run(args: &Args, runtime: &Runtime) -> Result<(), Failure> {
    let directory = tempfile::tempdir().or_fail(|| "cannot create a temporary directory".into())?;
    if !args.json {
        print(HEADER)?;
    }
    for (engine, place) in args.engines.places()? {
        let mut databases = Databases::new(&place, directory.path());
        let outcome = match runtime.block_on(databases.create("sessions")) {
            Ok(url) => measure_engine(args, engine, &place, url.as_str()),
            Err(failure) => Err(failure),
        };
        both(outcome, runtime.block_on(databases.close()))?;
    }
    Ok(())
}

fn measure_engine(args: &Args, engine: Engine, place: &Place, url: &str) -> Result<(), Failure> {
    for flavor in Flavor::ALL {
        for operation in Operation::ALL {
            eprintln!("measuring {engine}, {}, {}", flavor.name(), operation.name());
            let measured = match place {
                Place::Files => measure::<sqlx::Sqlite>(&format!("{url}?mode=rwc"), flavor, operation, args.duration),
                Place::MySql(_) => measure::<sqlx::MySql>(url, flavor, operation, args.duration),
                Place::Postgres(_) => measure::<sqlx::Postgres>(url, flavor, operation, args.duration),
            }?;
            for record in Record::all(engine, flavor, operation, &measured) {
                record.print(args.json, io::stdout().lock()).or_fail(|| "cannot write to standard output".into())?;
            }
        }
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout().lock().write_all(text.as_bytes()).or_fail(|| "cannot write to standard output".into())
}
