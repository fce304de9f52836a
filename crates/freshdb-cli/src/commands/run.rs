//! `freshdb run`: servers and a broker for as long as a command runs.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use freshdb_databases::{Config, Kind, Server, variables};

use super::child::{self, Ends};
use super::hosting::Hosted;
use super::terminal::Terminal;
use crate::broker::{ANY_PORT, Token};
use crate::cli::{BROKER_URL, INTEGRESQL, Run, has_integresql, integresql};
use crate::failure::{Failure, WRONG_ARGUMENT};
use crate::report::{Recorder, Secrets, Summary};
use crate::say::say;
use crate::servers::Servers;

pub(super) async fn run(arguments: Run) -> Result<ExitCode, Failure> {
    // From now on: a signal that comes while servers start ends them in order.
    let mut ends = Ends::listen()?;
    let servers = Arc::new(Servers::new(Config::from_env()?, &arguments.databases.engines()));
    let recorder = match &arguments.report {
        Some(path) => {
            can_be_written(path)?;
            Some(Arc::new(Recorder::begin_now(Secrets::of(servers.config()))))
        }
        None => None,
    };
    let code = run_with(&arguments, &servers, recorder.clone(), &mut ends).await;
    let code = match (code, &arguments.report, recorder) {
        (Ok(code), Some(path), Some(recorder)) => {
            let written = ends.unless_told_again(write_report(path, &recorder, &arguments, &servers, code)).await;
            let given_up = || Failure::new(format!("told to end before the report `{}` was written", path.display()));
            written.ok_or_else(given_up).flatten().map(|()| code)
        }
        (code, ..) => code,
    };
    let stopped = servers.stop().await;
    // What failed first is told first.
    let code = code?;
    stopped?;
    Ok(ExitCode::from(code))
}

/// Before an hour of tests is run for it.
fn can_be_written(path: &Path) -> Result<(), Failure> {
    // Whoever reads from a pipe takes it for the end when this is closed.
    if path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Ok(());
    }
    let opened = std::fs::File::options().create(true).append(true).open(path);
    opened.map(drop).map_err(|error| {
        Failure::new(format!("cannot write the report `{}`", path.display())).because(error).code(WRONG_ARGUMENT)
    })
}

async fn write_report(
    path: &Path,
    recorder: &Recorder,
    arguments: &Run,
    servers: &Servers,
    exit_code: u8,
) -> Result<(), Failure> {
    let words: Vec<_> = arguments.command.iter().map(|word| word.to_string_lossy()).collect();
    let started = servers.engines().iter().filter_map(|kind| Some((kind.name(), servers.started_one(*kind)?)));
    let engines = started.map(|(name, server)| (name, server.url().to_string())).collect();
    recorder.write(path, &Summary { command: words.join(" "), exit_code, engines }).await?;
    if !arguments.quiet {
        say(format!("the report is `{}`", path.display()));
    }
    Ok(())
}

async fn run_with(
    arguments: &Run,
    servers: &Arc<Servers>,
    recorder: Option<Arc<Recorder>>,
    ends: &mut Ends,
) -> Result<u8, Failure> {
    let token = Token::random()?;
    let hosted = tokio::select! {
        hosted = Hosted::begin(servers, &arguments.databases, ANY_PORT, token.clone(), arguments.quiet, recorder) => hosted?,
        end = ends.next() => return Ok(u8::try_from(128 + end.signal.as_raw()).unwrap_or(u8::MAX)),
    };
    let mut environment: Vec<(&str, OsString)> = vec![
        (variables::BROKER, hosted.socket.clone().into()),
        (BROKER_URL, hosted.url.clone().into()),
        (variables::BROKER_TOKEN, token.reveal().into()),
        // Tests that start servers by themselves share them, and they end with this process.
        (variables::RUN, std::process::id().to_string().into()),
    ];
    if !has_integresql() {
        environment.push((INTEGRESQL, integresql(&hosted.url, token.reveal()).into()));
    }
    for kind in arguments.databases.engines() {
        if let Some(variable) = url_variable(kind) {
            environment.push((variable, administration(&servers.get(kind).await?).into()));
        }
    }
    let terminal = Terminal::remember();
    let code = match child::start(&arguments.command, &environment) {
        Ok(child) => child::wait(child, ends).await,
        Err(failure) => Err(failure),
    };
    drop(terminal);
    hosted.end(ends).await;
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
