//! The story of a throwaway server's start.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::directory::{self, RunDirectory};
use super::engine::{self, Door, Engine};
use super::keeper::Keeper;
use super::programs::{self, Program};
use super::run::Run;
use super::user::User;
use super::{data, failure};
use crate::config::variables;
use crate::runtime::blocking;
use crate::{Config, DatabaseUrl, Error, ErrorKind, Kind};

/// How long it may take to answer once.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
/// How often another port is tried.
const ATTEMPTS: u32 = 5;

/// A throwaway server that answers, or a throwaway directory.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) url: DatabaseUrl,
    pub(super) socket: Option<PathBuf>,
    pub(super) keeper: Keeper,
}

/// Starts a server of this kind, which can be left to the run, if there is one.
///
/// # Errors
///
/// If there is none, or it does not start; if the run ends before it does.
pub(super) async fn start(kind: Kind, config: Config, sharing: Option<&Run>) -> Result<Running, Error> {
    if kind == Kind::Sqlite {
        return start_directory(config).await;
    }
    let engine = engine::of(kind).ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("this build has no driver for {kind}"))
            .hint(format!("enable the feature `{}` of freshdb-databases", kind.name()))
    })?;
    engine.can_be_reached()?;
    let settings = config.clone();
    let (program, user) = blocking(move || {
        let user = User::for_server()?;
        let program = programs::find(engine, &settings, &user)?;
        directory::sweep(&settings);
        Ok((program, user))
    })
    .await?;

    let mut attempt = 1;
    loop {
        match attempt_to_start(engine, &program, &config, sharing, &user).await? {
            Attempt::Ready(running) => return Ok(running),
            Attempt::PortTaken(_) if attempt < ATTEMPTS => attempt += 1,
            Attempt::PortTaken(error) => return Err(error),
        }
    }
}

/// SQLite's server is a directory.
async fn start_directory(config: Config) -> Result<Running, Error> {
    let settings = config.clone();
    let run = blocking(move || {
        directory::sweep(&settings);
        RunDirectory::create(&settings, &User::Ourselves)
    })
    .await?;
    let url = DatabaseUrl::file(run.path());
    let keeper = Keeper::hold(run, &User::Ourselves, &config, None, None)?;
    Ok(Running { url, socket: None, keeper })
}

enum Attempt {
    Ready(Running),
    /// Somebody was quicker.
    PortTaken(Error),
}

async fn attempt_to_start(
    engine: &'static dyn Engine,
    program: &Program,
    config: &Config,
    sharing: Option<&Run>,
    user: &User,
) -> Result<Attempt, Error> {
    let (settings, owner) = (config.clone(), user.clone());
    let (run, password, port) = blocking(move || {
        let run = RunDirectory::create(&settings, &owner)?;
        let failed = |what: &str, error| Error::new(ErrorKind::Files, format!("there is no {what}")).because(error);
        let password = random_password().map_err(|error| failed("/dev/urandom", error))?;
        let port = free_port().map_err(|error| failed("free port", error))?;
        Ok((run, password, port))
    })
    .await?;
    let door = Door { directory: run.path().to_owned(), port, password };
    let invocation = engine.serve(program, &door);
    // From now on the directory is removed, whatever happens to this process.
    let keeper = Keeper::hold(run, user, config, sharing, Some(&invocation))?;

    match serve(engine, program, config, sharing, user, &door, &keeper).await {
        Ok(url) => Ok(Attempt::Ready(Running { url, socket: Some(engine.socket(&door)), keeper })),
        Err(failure) => {
            let log = failure::log(&keeper);
            let error = match failure {
                Failure::Before(error) => error,
                Failure::Of(what) => {
                    failure::error(engine, program, &format!("did not start: {what}"), &invocation, &log)
                }
            };
            // A failure to clean up is in the log: the keeper's follower writes it there.
            let stopped = keeper.stop().await;
            if stopped.is_ok() && log.contains("Address already in use") {
                return Ok(Attempt::PortTaken(error));
            }
            Err(error)
        }
    }
}

enum Failure {
    /// There was nothing to start.
    Before(Error),
    /// The server did not do its part: why.
    Of(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Before(error)
    }
}

/// Gives the keeper what it needs, and waits until the server answers.
async fn serve(
    engine: &'static dyn Engine,
    program: &Program,
    config: &Config,
    sharing: Option<&Run>,
    user: &User,
    door: &Door,
    keeper: &Keeper,
) -> Result<DatabaseUrl, Failure> {
    data::provide(engine, program, config, user, &door.directory).await?;
    let (files, owner) = (engine.files(door), user.clone());
    blocking(move || {
        let write =
            |(path, text): &(PathBuf, String)| directory::write_private(path, text).and_then(|()| owner.own(path));
        files.iter().try_for_each(write).map_err(|error| {
            Error::new(ErrorKind::Files, "failed to write what a server reads when it starts").because(error)
        })
    })
    .await?;
    let url = DatabaseUrl::parse(&engine.url(door))?;
    keeper.begin()?;

    let limit = config.start_timeout();
    let deadline = Instant::now() + limit;
    loop {
        let answer = match tokio::time::timeout(ANSWER_LIMIT, engine.ask(door, &url)).await {
            Ok(Ok(())) => return Ok(url),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", ANSWER_LIMIT.as_secs()),
        };
        // The keeper looks after it once the server is left to it.
        if sharing.is_some_and(Run::has_ended) {
            return Err(Run::ended().into());
        }
        if keeper.has_ended() {
            return Err(Failure::Of(failure::ending(keeper.program_end().await)));
        }
        if Instant::now() >= deadline {
            let seconds = limit.as_secs_f64();
            let variable = variables::START_TIMEOUT;
            return Err(Failure::Of(format!(
                "it was not ready after {seconds} s, which {variable} can raise; its last answer: {answer}"
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn random_password() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Below the range that the kernel takes ports for outgoing connections from. Another process may still be quicker than the
/// server, which then ends.
fn free_port() -> io::Result<u16> {
    let mut last = None;
    for _ in 0..100 {
        let port = fastrand::u16(20_000..32_000);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("a hundred were tried"))
}
