//! The two servers that are compared: how they start, what they must answer, and how they end.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::process::{Child, Command};
use url::Url;

use super::request::{Request, Tag, Tags};
use crate::engine::Engine;
use crate::failure::{Failure, OrFail};
use crate::process;

/// How long a contender may take to migrate and listen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// The service, with its default settings and its log in a file.
    TagsApi,
    /// The bare handler of this program.
    Bare,
}

impl Contender {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TagsApi => "tags-api",
            Self::Bare => "bare",
        }
    }
}

/// What it takes to start the contenders.
pub(super) struct Starter<'a> {
    /// The program tags-api.
    pub(super) service: &'a Path,
    pub(super) engine: Engine,
    /// Where the logs go.
    pub(super) directory: &'a Path,
    /// Whether the bare handler's pool asks each connection whether it lives, as sqlx's pools do by default.
    pub(super) ping: bool,
}

impl Starter<'_> {
    /// Starts a contender on an empty database and waits until it listens.
    pub(super) async fn start(&self, contender: Contender, database: &Url) -> Result<Running, Failure> {
        let mut command = match contender {
            Contender::TagsApi => {
                let mut command = process::tied(self.service);
                command.args(["serve", "--migrate", "--listen", "127.0.0.1:0"]);
                command
            }
            Contender::Bare => {
                // The service's own migration makes the table for the bare handler too.
                self.migrate(database).await?;
                let program = std::env::current_exe().or_fail(|| "cannot find this program's own file".into())?;
                let mut command = process::tied(program);
                command.args(["bare", "--engine", self.engine.name()]);
                if !self.ping {
                    command.arg("--no-ping");
                }
                command
            }
        };
        let log = Log::create(self.directory.join(format!("{}.log", contender.name())))?;
        let child =
            spawn(&mut command, database, log.handle()?).or_fail(|| format!("cannot start `{}`", contender.name()))?;
        Running { contender, child, log, origin: String::new() }.listening().await
    }

    async fn migrate(&self, database: &Url) -> Result<(), Failure> {
        let log = Log::create(self.directory.join("migrate.log"))?;
        let mut migrate = process::tied(self.service);
        let status = match spawn(migrate.arg("migrate"), database, log.handle()?) {
            Ok(mut child) => child.wait().await,
            Err(error) => Err(error),
        };
        let status = status.or_fail(|| "cannot run `tags-api migrate`".into())?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("`tags-api migrate` ended with {status}")).notes(log.last_lines()))
    }
}

/// The URL goes by the environment: every user of the machine can read a command line, and with it a password.
fn spawn(command: &mut Command, database: &Url, log: File) -> std::io::Result<Child> {
    command.env("DATABASE_URL", database.as_str()).env_remove("RUST_LOG");
    command.stdout(Stdio::null()).stderr(Stdio::from(log)).spawn()
}

/// A contender that listens. Dropped, it is killed.
pub(super) struct Running {
    pub(super) contender: Contender,
    child: Child,
    log: Log,
    /// Its `http://127.0.0.1:PORT`.
    pub(super) origin: String,
}

impl Running {
    async fn listening(mut self) -> Result<Self, Failure> {
        let name = self.contender.name();
        let started = Instant::now();
        loop {
            let log = self.log.read()?;
            if let Some(origin) = origin_in(&log) {
                origin.clone_into(&mut self.origin);
                return Ok(self);
            }
            if let Some(status) = self.child.try_wait().or_fail(|| format!("cannot wait for `{name}`"))? {
                let fact = format!("`{name}` ended with {status} instead of listening");
                return Err(Failure::new(fact).notes(self.log.last_lines()));
            }
            if started.elapsed() > START_LIMIT {
                let fact = format!("`{name}` did not listen within {} s", START_LIMIT.as_secs());
                return Err(Failure::new(fact).notes(self.log.last_lines()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Posts what the database is to hold, and makes sure that each answer is right, the listing of it all included.
    pub(super) async fn fill(&self, request: Request) -> Result<(), Failure> {
        let client = reqwest::Client::new();
        let content = request.content();
        for pair in &content {
            let body = Tags { tags: pair.clone() };
            let post = client.post(format!("{}{}", self.origin, Request::Post2.path())).json(&body);
            self.expect(post, StatusCode::CREATED, &Tags { tags: pair.to_vec() }).await?;
        }
        let tags: Vec<Tag> = content.into_iter().flatten().collect();
        let get = client.get(format!("{}{}", self.origin, Request::Get2.path()));
        self.expect(get, StatusCode::OK, &Tags { tags }).await
    }

    async fn expect(&self, request: reqwest::RequestBuilder, status: StatusCode, tags: &Tags) -> Result<(), Failure> {
        let name = self.contender.name();
        let exchange = async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        };
        let (actual, body) = exchange
            .await
            .map_err(|error| self.explain(Failure::new(format!("`{name}` does not answer")).because(error)))?;
        if actual == status && serde_json::from_str::<Tags>(&body).is_ok_and(|actual| actual == *tags) {
            return Ok(());
        }
        let expected = serde_json::to_string(tags).or_fail(|| "cannot write the expected answer".into())?;
        let failure = Failure::new(format!("`{name}` gives a wrong answer"));
        Err(self.explain(failure.notes([format!("{actual} {body}"), format!("expected: {status} {expected}")])))
    }

    /// Adds what the contender has logged last.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        failure.notes(self.log.last_lines())
    }

    /// Empties the log, which grows by a line a request.
    pub(super) fn shorten_log(&self) -> Result<(), Failure> {
        self.log.empty()
    }

    pub(super) fn processor_time(&self) -> Result<Duration, Failure> {
        process::processor_time(self.process()?)
    }

    /// In MB.
    pub(super) fn peak_memory(&self) -> Result<f64, Failure> {
        process::peak_memory(self.process()?)
    }

    fn process(&self) -> Result<u32, Failure> {
        self.child.id().ok_or_else(|| self.ended(None))
    }

    /// Ends it, and makes sure that it has lived so far.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let name = self.contender.name();
        if let Some(status) = self.child.try_wait().or_fail(|| format!("cannot wait for `{name}`"))? {
            return Err(self.ended(Some(status)));
        }
        self.child.kill().await.or_fail(|| format!("cannot end `{name}`"))
    }

    fn ended(&self, status: Option<ExitStatus>) -> Failure {
        let status = status.map_or_else(|| "an unknown status".into(), |status| status.to_string());
        self.explain(Failure::new(format!("`{}` ended early, with {status}", self.contender.name())))
    }
}

/// Both contenders say `  listening  http://127.0.0.1:PORT`, and that line is complete when the next begins.
fn origin_in(log: &str) -> Option<&str> {
    let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut origins = lines.filter_map(|line| line.trim().strip_prefix("listening"));
    origins.next().map(str::trim)
}

/// A contender's standard error.
struct Log(PathBuf);

impl Log {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        File::create(&path).or_fail(|| format!("cannot create `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// For a child. Whatever is written goes to the end, also after [`Self::empty`].
    fn handle(&self) -> Result<File, Failure> {
        OpenOptions::new().append(true).open(&self.0).or_fail(|| format!("cannot open `{}`", self.0.display()))
    }

    fn read(&self) -> Result<String, Failure> {
        let bytes = std::fs::read(&self.0).or_fail(|| format!("cannot read `{}`", self.0.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn empty(&self) -> Result<(), Failure> {
        let emptied = OpenOptions::new().write(true).open(&self.0).and_then(|file| file.set_len(0));
        emptied.or_fail(|| format!("cannot empty `{}`", self.0.display()))
    }

    fn last_lines(&self) -> Vec<String> {
        const COUNT: usize = 10;
        let Ok(text) = self.read() else { return vec!["its log cannot be read".into()] };
        let lines: Vec<&str> = text.lines().collect();
        let Some(first) = lines.len().checked_sub(1) else { return vec!["its log is empty".into()] };
        let last = &lines[(first + 1).saturating_sub(COUNT)..];
        std::iter::once("the last lines of its log:".to_owned())
            .chain(last.iter().map(|line| format!("  {line}")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::origin_in;

    #[test]
    fn the_address_is_read_from_a_complete_line() {
        let log = "tags-api 0.1.0\n  listening  http://127.0.0.1:42793\n  docs       http://127.0.0.1:42793/docs\n";
        assert_eq!(origin_in(log), Some("http://127.0.0.1:42793"));
        assert_eq!(origin_in("tags-api 0.1.0\n  listening  http://127.0.0.1:42"), None);
        assert_eq!(origin_in(""), None);
    }
}
