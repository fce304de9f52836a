//! `freshdb doctor`: whether every engine can be used, by using it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use freshdb_databases::{Config, Kind, Pool, Server, schema};

use super::print;
use crate::cli::Doctor;
use crate::failure::Failure;

/// Some engine cannot be used.
const NOT_WELL: u8 = 1;

pub(super) async fn doctor(arguments: Doctor) -> Result<ExitCode, Failure> {
    let config = Config::from_env()?;
    print(format!("cache        {}\nprivate data {}\n", config.cache_dir().display(), places(&config)).as_bytes())?;
    let asked = arguments.engines();
    let engines = if asked.is_empty() { Kind::ALL.to_vec() } else { asked };
    let mut all_are_well = true;
    for kind in engines {
        let whose = if config.url(kind).is_some() { "yours" } else { "private" };
        let line = match examine(kind, &config).await {
            Ok(found) => format!(
                "{:<12} ok: {}, {whose}, there in {}; a database made in {}, leased in {}, put back in {}\n",
                kind.title(),
                found.server,
                shown(found.start),
                shown(found.template),
                shown(found.lease),
                shown(found.reset),
            ),
            Err(error) => {
                all_are_well = false;
                let failure = format!("{error:?}").replace('\n', "\n             ");
                format!("{:<12} CANNOT BE USED: {failure}\n", kind.title())
            }
        };
        print(line.as_bytes())?;
    }
    Ok(if all_are_well { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) })
}

/// What was found out about an engine.
struct Found {
    server: String,
    start: Duration,
    template: Duration,
    lease: Duration,
    reset: Duration,
}

/// All that a test needs: a server, a template, a lease, and a reset.
async fn examine(kind: Kind, config: &Config) -> Result<Found, freshdb_databases::Error> {
    let mut started = Instant::now();
    let mut lap = || std::mem::replace(&mut started, Instant::now()).elapsed();
    let server = Server::of(kind, config).await?;
    server.check().await?;
    let start = lap();
    let examined = async {
        let pool = Pool::builder(server.clone(), schema::sql("CREATE TABLE examined (id INTEGER)")).open().await?;
        let template = lap();
        let taken = pool.lease().await?;
        let lease = lap();
        let report = taken.give_back().await?;
        pool.close().await?;
        Ok(Found { server: server.url().to_string(), start, template, lease, reset: report.elapsed() })
    };
    let examined = examined.await;
    let stopped = server.stop().await;
    // What failed first is told first.
    let found = examined?;
    stopped?;
    Ok(found)
}

/// Where data of private servers may live, and how much room there is.
fn places(config: &Config) -> String {
    let room = |directory: &std::path::PathBuf| match rustix::fs::statvfs(directory) {
        Ok(system) => {
            format!("{}, {} MiB free", directory.display(), system.f_bavail.saturating_mul(system.f_frsize) >> 20)
        }
        Err(error) => format!("{}: {error}", directory.display()),
    };
    config.run_dirs().iter().map(room).collect::<Vec<_>>().join("; ")
}

fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
