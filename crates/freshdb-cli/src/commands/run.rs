//! `freshdb run`: servers and a broker for as long as a command runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use freshdb_databases::{Config, Kind, Server, variables};

use super::child::{self, Ends};
use super::hosting::Hosted;
use crate::broker::{ANY_PORT, Token};
use crate::cli::{INTEGRESQL, Run, has_integresql};
use crate::failure::Failure;
use crate::servers::Servers;

pub(super) async fn run(arguments: Run) -> Result<ExitCode, Failure> {
    // From now on: a signal that comes while servers start ends them in order.
    let mut ends = Ends::listen()?;
    let servers = Arc::new(Servers::new(Config::from_env()?, &arguments.databases.engines()));
    let code = run_with(&arguments, &servers, &mut ends).await;
    let stopped = servers.stop().await;
    // What failed first is told first.
    let code = code?;
    stopped?;
    Ok(ExitCode::from(code))
}

async fn run_with(arguments: &Run, servers: &Arc<Servers>, ends: &mut Ends) -> Result<u8, Failure> {
    let token = Token::random()?;
    let hosted = tokio::select! {
        hosted = Hosted::begin(servers, &arguments.databases, ANY_PORT, token.clone(), arguments.quiet) => hosted?,
        signal = ends.next() => return Ok(u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)),
    };
    let mut environment: Vec<(&str, OsString)> = vec![
        ("FRESHDB_BROKER", hosted.socket.clone().into()),
        ("FRESHDB_BROKER_URL", hosted.url.clone().into()),
        ("FRESHDB_BROKER_TOKEN", token.reveal().into()),
        // Tests that start servers by themselves share them, and they end with this process.
        (variables::RUN, std::process::id().to_string().into()),
    ];
    if !has_integresql() {
        environment.push((INTEGRESQL, format!("{}/{}/api", hosted.url, token.reveal()).into()));
    }
    for kind in arguments.databases.engines() {
        if let Some(variable) = url_variable(kind) {
            environment.push((variable, administration(&servers.get(kind).await?).into()));
        }
    }
    let code = match child::start(&arguments.command, &environment) {
        Ok(child) => child::wait(child, ends).await,
        Err(failure) => Err(failure),
    };
    hosted.end().await;
    code
}

/// The variable in which a test looks for a server.
fn url_variable(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Sqlite => None,
        Kind::Mysql => Some(variables::MYSQL_URL),
        Kind::Mariadb => Some(variables::MARIADB_URL),
        Kind::Postgres => Some(variables::POSTGRES_URL),
    }
}

/// As the variable has it: drivers know MariaDB by MySQL's name only.
fn administration(server: &Server) -> String {
    let url = server.url().reveal();
    match url.strip_prefix("mysql:") {
        Some(rest) if server.kind() == Kind::Mariadb => format!("mariadb:{rest}"),
        _ => url,
    }
}
