//! The command `pytest`, from its arguments to its last line.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use url::Url;

use super::contender::Contender;
use super::report::{HEADER, Record, line};
use super::suite::{Ground, HINT, Run, Suite};
use crate::databases::{Databases, collect};
use crate::directory;
use crate::engine::{Engine, EngineArgs, Place};
use crate::failure::{Failure, OrFail, both};
use crate::interrupt::Interrupt;
use crate::program;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    /// The sizes of schemas, in tables
    #[arg(long, value_delimiter = ',', default_value = "1,10,30", value_name = "NUMBER,…", value_parser = clap::value_parser!(u32).range(1..))]
    tables: Vec<u32>,
    /// How many processes run tests at once: pytest-xdist's `-n`
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Server for create-all, if that is not freshdb's: such as the one that your tests use today. Needs one `--engine`
    #[arg(long, value_name = "URL")]
    create_all_url: Option<Url>,
    /// How often each is measured, the contenders in turn; the figures are medians
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The program `freshdb` [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// The program `pytest`, of an environment that has what the example needs
    #[arg(long, default_value = "pytest", value_name = "PATH")]
    pytest: PathBuf,
    /// Print one JSON record a line instead of a table
    #[arg(long)]
    json: bool,
}

/// Measures and prints. Whatever was started or created is gone afterwards, on a signal too.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let places = args.engines.places()?;
    if args.create_all_url.is_some() && !matches!(places[..], [(_, Place::MySql(_) | Place::Postgres(_))]) {
        return Err(Failure::new("`--create-all-url` is the server of one engine").hint("name that with `--engine`"));
    }
    directory::within(async |directory| measure_all(&args, &places, directory, &mut interrupt).await).await
}

async fn measure_all(
    args: &Args,
    places: &[(Engine, Place)],
    directory: &Path,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    // It makes the directory a checkout of its own for freshdb, whose databases are dropped at the end.
    std::fs::write(directory.join("Cargo.lock"), "").or_fail(|| "cannot write into the run's directory".into())?;
    let suite = Suite {
        pytest: absolute(&args.pytest)?,
        freshdb: program::freshdb(args.program.as_deref())?,
        workers: usize::try_from(args.workers).or_fail(|| "so many workers".into())?,
        directory: directory.to_owned(),
    };
    if !args.json {
        print(HEADER)?;
    }
    for (engine, place) in places {
        let theirs = args.create_all_url.clone().map_or_else(|| place.clone(), |url| Place::on(*engine, url));
        let mut databases = Databases::new(&theirs, directory);
        let work = compare(args, &suite, *engine, place, &mut databases);
        let outcome = interrupt.or(work).await;
        let outcome = both(outcome, databases.close().await);
        both(outcome, collect(place, directory).await)?;
    }
    Ok(())
}

/// All sizes on one engine.
async fn compare(
    args: &Args,
    suite: &Suite,
    engine: Engine,
    place: &Place,
    databases: &mut Databases<'_>,
) -> Result<(), Failure> {
    let database = databases.create("pytest").await?;
    // The tests make these for the further workers, and drop them, but not when they are broken off.
    for worker in 1..suite.workers {
        databases.create(&format!("pytest_gw{worker}")).await?;
    }
    for &tables in &args.tables {
        let tables = usize::try_from(tables).or_fail(|| "so many tables".into())?;
        let ground = Ground { engine, place, tables, database: &database };
        let mut rounds = [Vec::new(), Vec::new()];
        // The first is not counted: it makes the template, and Python compiles what it imports.
        for round in 0..=args.rounds {
            for (contender, runs) in Contender::ALL.into_iter().zip(&mut rounds) {
                let run = suite.run(contender, &ground).await?;
                eprintln!("{engine}, {tables} tables, {}: {:.2} s", contender.name(), run.time.as_secs_f64());
                if round > 0 {
                    runs.push(run);
                }
            }
        }
        report(args, suite.workers, &ground, &rounds)?;
    }
    Ok(())
}

fn report(args: &Args, workers: usize, ground: &Ground<'_>, rounds: &[Vec<Run>; 2]) -> Result<(), Failure> {
    let [ours, theirs] = Contender::ALL;
    let records = [(ours, &rounds[0]), (theirs, &rounds[1])]
        .map(|(contender, runs)| Record::of(ground.engine, ground.tables, workers, contender, runs));
    if !args.json {
        return print(&line(&records));
    }
    for record in &records {
        print(&(serde_json::to_string(record).or_fail(|| "cannot print".into())? + "\n"))?;
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).or_fail(|| "cannot write to standard output".into())
}

/// The tests are run from another directory. A name without a slash is looked for in PATH.
fn absolute(program: &Path) -> Result<PathBuf, Failure> {
    if program.components().count() == 1 {
        return Ok(program.to_owned());
    }
    if !program.exists() {
        return Err(Failure::new(format!("there is no `{}`", program.display())).hint(HINT));
    }
    std::path::absolute(program).or_fail(|| format!("cannot tell where `{}` is", program.display()))
}
