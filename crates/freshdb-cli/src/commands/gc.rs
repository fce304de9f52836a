//! `freshdb gc`: drops what nobody uses any more.

use std::process::ExitCode;

use freshdb_databases::{Config, Garbage, Kind, Server};

use super::print;
use crate::cli::Gc;
use crate::failure::{Failure, OWN_FAILURE};
use crate::say::say;

pub(super) async fn gc(arguments: Gc) -> Result<ExitCode, Failure> {
    let config = Config::from_env()?;
    let mut code = ExitCode::SUCCESS;
    let mut servers = 0;
    for kind in Kind::ALL {
        // A private server takes all of it along when it ends.
        let Some(url) = config.url(kind) else { continue };
        servers += 1;
        let garbage = if arguments.everything { Garbage::everything() } else { Garbage::default() };
        let collected = match garbage.collect(&Server::existing(url.clone())).await {
            Ok(collected) => collected,
            Err(error) => {
                code = Failure::from(error).report();
                continue;
            }
        };
        let counts = (collected.dropped.len(), collected.in_use.len());
        print(format!("{kind} at {url}: dropped {}, in use {}\n", counts.0, counts.1).as_bytes())?;
        for (database, error) in &collected.failed {
            say(format!("cannot drop `{database}`: {error}"));
            code = ExitCode::from(OWN_FAILURE);
        }
    }
    if servers == 0 {
        say(
            "no server is set, and private ones leave nothing: set FRESHDB_MYSQL_URL, FRESHDB_MARIADB_URL or FRESHDB_POSTGRES_URL",
        );
    }
    Ok(code)
}
