//! The command `load`, from its arguments to its last line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::contender::{Contender, Running, Starter};
use super::report::{Case, Measured, Measurement, Printer, Record};
use super::request::Request;
use super::service;
use super::wrk::Wrk;
use crate::databases::Databases;
use crate::directory;
use crate::engine::{Engine, EngineArgs, Place};
use crate::failure::{Failure, OrFail, both};
use crate::interrupt::Interrupt;

/// Before each measurement the contender gets load for so long: connections are made, statements are prepared.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    /// Connections that send one request after another
    #[arg(long, default_value_t = 64, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How long one measurement takes, in whole seconds
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = whole_seconds)]
    duration: Duration,
    /// How often each contender is measured, in turn; the figures are medians
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Have the bare handler's pool trust its connections, where sqlx's default asks each before it is used
    #[arg(long)]
    no_ping: bool,
    /// Program that builds tags-api; Cargo sets the variable for what it runs
    #[arg(long, env = "CARGO", default_value = "cargo", hide = true, value_name = "PROGRAM")]
    cargo: PathBuf,
    /// Print one JSON record a line instead of a table
    #[arg(long)]
    json: bool,
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() || duration.subsec_nanos() > 0 {
        return Err("it must be one or more whole seconds".into());
    }
    Ok(duration)
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
    let wrk = interrupt.or(Wrk::prepare(args.connections, directory)).await?;
    let service = interrupt.or(service::build(&args.cargo)).await?;
    let print_failed = || "cannot write to standard output".into();
    let mut printer = Printer::start(std::io::stdout(), args.json).or_fail(print_failed)?;
    for (engine, place) in places {
        for request in Request::ALL {
            let starter = Starter { service: &service, engine: *engine, directory, ping: !args.no_ping };
            let comparison = Comparison { args, request, wrk: &wrk, starter };
            let mut databases = Databases::new(place, directory);
            let outcome = interrupt.or(comparison.run(&mut databases)).await;
            for record in both(outcome, databases.close().await)? {
                printer.print(&record).or_fail(print_failed)?;
            }
        }
    }
    for line in printer.verdict() {
        eprintln!("{line}");
    }
    Ok(())
}

/// Both contenders under one request on one engine.
struct Comparison<'a> {
    args: &'a Args,
    request: Request,
    wrk: &'a Wrk,
    starter: Starter<'a>,
}

impl Comparison<'_> {
    async fn run(&self, databases: &mut Databases<'_>) -> Result<[Record; 2], Failure> {
        let service = self.start(Contender::TagsApi, databases.create("tags_api").await?).await?;
        let bare = self.start(Contender::Bare, databases.create("bare").await?).await?;

        let (mut of_service, mut of_bare) = (Vec::new(), Vec::new());
        for round in 1..=self.args.rounds {
            of_service.push(self.measure(&service, round).await?);
            of_bare.push(self.measure(&bare, round).await?);
        }

        let service = finish(service, of_service).await?;
        let bare = finish(bare, of_bare).await?;
        let case = Case { engine: self.starter.engine, request: self.request, connections: self.args.connections };
        Ok([&service, &bare].map(|measured| Record::of(case, measured, &bare)))
    }

    /// Starts a contender and fills its database, which shows that it answers rightly.
    async fn start(&self, contender: Contender, database: Url) -> Result<Running, Failure> {
        let running = self.starter.start(contender, &database).await?;
        running.fill(self.request).await?;
        Ok(running)
    }

    async fn measure(&self, running: &Running, round: u32) -> Result<Measurement, Failure> {
        let explain = |failure| running.explain(failure);
        running.shorten_log()?;
        self.wrk.run(self.request, &running.origin, WARM_UP).await.map_err(explain)?;
        let before = running.processor_time()?;
        let load = self.wrk.run(self.request, &running.origin, self.args.duration).await.map_err(explain)?;
        let used = running.processor_time()?.saturating_sub(before);
        eprintln!(
            "{} {} {} round {round}/{}: {:.0} requests/s",
            self.starter.engine,
            self.request.name(),
            running.contender.name(),
            self.args.rounds,
            load.requests_per_second,
        );
        Ok(Measurement { load, cpu_per_request: used.as_secs_f64() * 1e3 / f64::from(load.requests) })
    }
}

/// Ends a contender after its last round.
async fn finish(running: Running, rounds: Vec<Measurement>) -> Result<Measured, Failure> {
    let measured = Measured { contender: running.contender, rounds, peak_memory: running.peak_memory()? };
    running.stop().await?;
    Ok(measured)
}
