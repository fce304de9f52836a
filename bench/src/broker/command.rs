//! The command `broker`, from its arguments to its last line.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::client::Client;
use crate::engine::{Engine, EngineArgs, Place};
use crate::failure::{Failure, OrFail};
use crate::process::{peak_memory, tied};
use crate::program;
use crate::quantile::quantile;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    /// The program `freshdb` [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// How many clients there are at once
    #[arg(long, default_value_t = 64, value_name = "NUMBER")]
    clients: usize,
    /// For how long they take leases, on each engine
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// For how long a client has its lease, and then has none: on average, from half of it to one and a half
    #[arg(long, default_value = "100ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pause: Duration,
}

/// Until there are as many databases as are needed at once, leases wait for them.
const WARM_UP: Duration = Duration::from_secs(5);

const HEADER: &str = "\
| engine   | clients |  leases | lease median ms | lease p99 ms | back median ms | peak MB, warm | peak MB, at the end |
|----------|--------:|--------:|----------------:|-------------:|---------------:|--------------:|--------------------:|
";

/// Measures and prints.
pub(crate) fn run(args: &Args, runtime: &Runtime) -> Result<(), Failure> {
    print!("{HEADER}");
    for (engine, place) in args.engines.places()? {
        eprintln!("measuring {engine}");
        let line = LocalSet::new().block_on(runtime, measure(args, engine, &place))?;
        println!("{line}");
    }
    Ok(())
}

/// What clients have seen.
#[derive(Default)]
struct Seen {
    /// Who has what now.
    held: HashSet<String>,
    leases: Vec<f64>,
    given_back: Vec<f64>,
    is_warm: bool,
}

impl Seen {
    fn note(&mut self, leased: f64, given_back: f64) {
        if self.is_warm {
            self.leases.push(leased);
            self.given_back.push(given_back);
        }
    }
}

#[derive(Deserialize)]
struct Lease {
    id: String,
    url: String,
}

#[derive(Deserialize)]
struct Status {
    leases: Vec<serde_json::Value>,
}

async fn measure(args: &Args, engine: Engine, place: &Place) -> Result<String, Failure> {
    let (broker, socket, token) = start(args, engine, place).await?;
    let process = broker.id().ok_or_else(|| Failure::new("the broker has ended"))?;
    let seen = Rc::new(RefCell::new(Seen::default()));
    let end = Instant::now() + WARM_UP + args.duration;
    let mut clients = Vec::new();
    for number in 0..args.clients {
        let client = Client::connect(&socket, &token).await?;
        // Not all at the same moment.
        let offset = 2 * args.pause * u32::try_from(number).unwrap_or(0) / u32::try_from(args.clients).unwrap_or(1);
        clients.push(tokio::task::spawn_local(test(client, seen.clone(), args.pause, offset, end)));
    }
    tokio::time::sleep(WARM_UP).await;
    seen.borrow_mut().is_warm = true;
    let warm = peak_memory(process)?;
    for client in clients {
        client.await.or_fail(|| "a client broke off".into())??;
    }
    let at_the_end = peak_memory(process)?;
    let status: Status = Client::connect(&socket, &token).await?.ask("GET /v1/status", "", "200").await?;
    if !status.leases.is_empty() {
        return Err(Failure::new(format!("{} leases were not given back", status.leases.len())));
    }
    let seen = seen.borrow();
    Ok(format!(
        "| {:<8} | {:>7} | {:>7} | {:>15.3} | {:>12.3} | {:>14.3} | {warm:>13.1} | {at_the_end:>19.1} |",
        engine.name(),
        args.clients,
        seen.leases.len(),
        quantile(&seen.leases, 0.5),
        quantile(&seen.leases, 0.99),
        quantile(&seen.given_back, 0.5),
    ))
}

/// One client, with one lease after the other.
async fn test(
    mut client: Client,
    seen: Rc<RefCell<Seen>>,
    pause: Duration,
    offset: Duration,
    end: Instant,
) -> Result<(), Failure> {
    tokio::time::sleep(offset).await;
    while Instant::now() < end {
        let started = Instant::now();
        let lease: Lease = client.ask("POST /v1/leases", "{}", "201").await?;
        let leased = milliseconds(started);
        if !seen.borrow_mut().held.insert(lease.url.clone()) {
            return Err(Failure::new("two clients have one database"));
        }
        tokio::time::sleep(about(pause)).await;
        seen.borrow_mut().held.remove(&lease.url);
        let started = Instant::now();
        client.tell(&format!("DELETE /v1/leases/{}", lease.id), "204").await?;
        seen.borrow_mut().note(leased, milliseconds(started));
        tokio::time::sleep(about(pause)).await;
    }
    Ok(())
}

/// Between half of it and one and a half. Tests do not take equally long; clients that did would come to ask all at once, and stay so.
fn about(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}

/// The broker, where it listens, and what it wants to hear.
async fn start(args: &Args, engine: Engine, place: &Place) -> Result<(Child, String, String), Failure> {
    let program = program::freshdb(args.program.as_deref())?;
    let mut command = tied(&program);
    command.args(["serve", "--quiet", &format!("--{engine}"), "--connections", "2"]).stdout(Stdio::piped());
    if let Some((variable, url)) = engine.variable().zip(place.server()) {
        command.env(variable, url.as_str());
    }
    let mut broker = command.spawn().or_fail(|| format!("cannot run `{}`", program.display()))?;
    let mut lines = BufReader::new(broker.stdout.take().expect("it is piped")).lines();
    let mut values = Vec::new();
    while values.len() < 3 {
        let line = lines.next_line().await.or_fail(|| "cannot read what the broker says".into())?;
        let line = line.ok_or_else(|| Failure::new("the broker has ended"))?;
        values.extend(line.split_once('=').map(|(_, value)| value.to_owned()));
    }
    let (token, socket) = (values.swap_remove(2), values.swap_remove(0));
    Ok((broker, socket, token))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
