//! The command `isolation`, from its arguments to its last line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::case::{Contender, Threads};
use super::house::House;
use super::plot;
use super::report::{Printer, Record, Times};
use super::run::Tests;
use super::suite::Suite;
use crate::directory;
use crate::engine::{Engine, EngineArgs, Place};
use crate::failure::{Failure, OrFail, both};
use crate::interrupt::Interrupt;
use crate::program;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    /// Only this contender; may be repeated [default: all]
    #[arg(long = "contender", value_name = "NAME")]
    contenders: Vec<Contender>,
    /// The sizes of schemas, in tables
    #[arg(long, value_delimiter = ',', default_value = "30,1", value_name = "NUMBER,…")]
    tables: Vec<usize>,
    /// How the tests are run: with so many threads, or under nextest
    #[arg(long, value_delimiter = ',', default_value = "1,2,8,nextest", value_name = "NUMBER,…")]
    threads: Vec<Threads>,
    /// How often each is measured, the contenders in turn; the figures are medians
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// What takes so long is measured once, however many rounds there are
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    once_above: Duration,
    /// Draw the figures into this file, as an SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The program `freshdb` [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Program that builds the suite; Cargo sets the variable for what it runs
    #[arg(long, env = "CARGO", default_value = "cargo", hide = true, value_name = "PROGRAM")]
    cargo: PathBuf,
    /// Print one JSON record a line instead of a table
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Those that were asked for, in the order of the table.
    fn contenders(&self) -> Vec<Contender> {
        let chosen = |contender: &Contender| self.contenders.is_empty() || self.contenders.contains(contender);
        Contender::ALL.into_iter().filter(chosen).collect()
    }
}

/// Measures and prints. Whatever was started or created is gone afterwards, on a signal too.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let places = args.engines.places()?;
    directory::within(async |directory| measure_all(&args, &places, directory, &mut interrupt).await).await
}

async fn measure_all(
    args: &Args,
    places: &[(Engine, Place)],
    directory: &Path,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    // They make the directory a checkout of its own for freshdb, whose databases are dropped at the end, and a workspace
    // for nextest.
    for file in ["Cargo.lock", "Cargo.toml"] {
        std::fs::write(directory.join(file), "").or_fail(|| "cannot write into the run's directory".into())?;
    }
    let nextest = args.threads.contains(&Threads::Nextest);
    let contenders = args.contenders();
    let freshdb = contenders.contains(&Contender::FreshdbRun).then(|| program::freshdb(args.program.as_deref()));
    let suite = interrupt.or(Suite::build(&args.cargo, freshdb.transpose()?, directory, nextest)).await?;
    let print_failed = || "cannot write to standard output".into();
    let mut printer = Printer::start(std::io::stdout(), args.json, contenders).or_fail(print_failed)?;
    for (engine, place) in places {
        for &tables in &args.tables {
            let mut house = House::new(*engine, place, directory, tables)?;
            let work = async {
                house.furnish().await?;
                Comparison { args, suite: &suite, house: &house }.run(&mut printer).await
            };
            let outcome = interrupt.or(work).await;
            both(outcome, house.close().await)?;
        }
    }
    let records = printer.finish().or_fail(print_failed)?;
    if let Some(path) = &args.plot {
        std::fs::write(path, plot::svg(&records)).or_fail(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// All contenders on one engine, with a schema of one size.
struct Comparison<'a> {
    args: &'a Args,
    suite: &'a Suite,
    house: &'a House<'a>,
}

impl Comparison<'_> {
    async fn run(&self, printer: &mut Printer<std::io::Stdout>) -> Result<(), Failure> {
        let contenders = self.args.contenders();
        // A run before the first one: whoever has a template to make makes it now, and who cannot run says so. It is of two
        // tests, for some fail only where a database is used again.
        let mut able = Vec::new();
        for &contender in &contenders {
            able.push(match contender.lacks(self.house.engine) {
                Some(reason) => Times::Failed(reason.into()),
                None => self.once(contender, Tests::First(2)).await?,
            });
        }
        let single = self.in_turn(&contenders, &able, Tests::First(1)).await?;
        for &threads in &self.args.threads {
            let times = self.in_turn(&contenders, &able, Tests::All(threads)).await?;
            let records: Vec<Record> = contenders
                .iter()
                .zip(times.iter().zip(&single))
                .map(|(contender, (times, single))| {
                    Record::of(self.house.engine, *contender, self.house.tables, threads, times, single)
                })
                .collect();
            printer.print(&records).or_fail(|| "cannot write to standard output".into())?;
        }
        Ok(())
    }

    /// All rounds of all contenders that are able.
    async fn in_turn(&self, contenders: &[Contender], able: &[Times], tests: Tests) -> Result<Vec<Times>, Failure> {
        let fresh = |able: &Times| match able {
            Times::Rounds(_) => Times::Rounds(Vec::new()),
            Times::Failed(reason) => Times::Failed(reason.clone()),
        };
        let mut all: Vec<Times> = able.iter().map(fresh).collect();
        for _ in 0..self.args.rounds {
            for (contender, times) in contenders.iter().zip(&mut all) {
                let Times::Rounds(rounds) = times else { continue };
                if rounds.first().is_some_and(|first| *first > self.args.once_above) {
                    continue;
                }
                match self.once(*contender, tests).await? {
                    Times::Rounds(more) => rounds.extend(more),
                    failed @ Times::Failed(_) => *times = failed,
                }
            }
        }
        Ok(all)
    }

    async fn once(&self, contender: Contender, tests: Tests) -> Result<Times, Failure> {
        let House { engine, tables, .. } = self.house;
        let outcome = self.house.run(self.suite, contender, tests).await;
        let outcome = both(outcome, self.house.tidy(contender).await)?;
        let what = match tests {
            Tests::All(threads) => format!("threads {threads}"),
            Tests::First(number) => format!("first {number}"),
        };
        let name = contender.name();
        Ok(match outcome {
            Ok(time) => {
                eprintln!("{engine}, {tables} tables, {what}, {name}: {:.3} s", time.as_secs_f64());
                Times::Rounds(vec![time])
            }
            Err(reason) => {
                eprintln!("{engine}, {tables} tables, {what}, {name}: {reason}");
                Times::Failed(reason)
            }
        })
    }
}
