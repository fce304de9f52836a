//! The command line, and what its commands do.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;

use crate::database::{BegunMigration, Database, DatabaseUrl, DatabaseUrlError, OpenError, Options};
use crate::http::{self, App, Limits};
use crate::{logging, server};

/// Tags over HTTP, in SQLite, MySQL, MariaDB or PostgreSQL.
///
/// Without a command: serve.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API
    Serve(ServeArgs),
    /// Bring the database's schema up to date, and end
    Migrate(DatabaseArgs),
    /// Print the API's description, an OpenAPI document
    Openapi,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "TAGS_LISTEN", default_value = "127.0.0.1:8000", value_name = "HOST:PORT")]
    listen: String,
    /// Bring the schema up to date first (SQLite: always)
    #[arg(long)]
    migrate: bool,
    /// Most requests under `/api` at once; one more gets 503
    #[arg(long, default_value_t = 512, value_name = "COUNT")]
    max_requests: usize,
    /// Largest body, in bytes; a larger one gets 413
    #[arg(long, default_value_t = 2 << 20, value_name = "BYTES")]
    max_body: usize,
    /// How long a request may take; a longer one gets 503
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    request_timeout: humantime::Duration,
    /// How long requests may go on after a signal to stop
    #[arg(long, default_value = "20s", value_name = "DURATION")]
    grace: humantime::Duration,
}

#[derive(Debug, Args)]
struct DatabaseArgs {
    /// Database: `sqlite://FILE`, `mysql://…`, `mariadb://…` or `postgres://…` [default: an SQLite file of the user's]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Most database connections
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pool_size: u32,
    /// How long a request waits for a database connection; after that it gets 503
    #[arg(long, default_value = "3s", value_name = "DURATION", value_parser = some_time)]
    pool_wait: humantime::Duration,
    /// Log every SQL statement
    #[arg(long)]
    echo: bool,
    /// Form of the log
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

/// A duration in which something can happen.
fn some_time(text: &str) -> Result<humantime::Duration, String> {
    let duration: humantime::Duration = text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    if duration.is_zero() { Err("there is no connection in no time".into()) } else { Ok(duration) }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}

/// Why a command failed: one sentence, and where there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The URL is not one.
    #[error(transparent)]
    Url(#[from] DatabaseUrlError),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// There is no place for the default database.
    #[error("the default database has no place: {fact}")]
    NoDefault {
        /// What is missing.
        fact: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {fact}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        fact: String,
    },
    /// Something else of the system's.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Cli {
    /// How the log of its command is written.
    pub fn log_format(&self) -> LogFormat {
        match &self.command {
            Some(Command::Serve(args)) => args.database.log_format,
            Some(Command::Migrate(args)) => args.log_format,
            Some(Command::Openapi) => LogFormat::Text,
            None => self.serve.database.log_format,
        }
    }
}

impl Failure {
    /// Writes it to standard error, for whoever listens, and whatever is logged: as lines, or as the log's objects are.
    pub fn tell(&self, format: LogFormat) {
        match format {
            LogFormat::Text => {
                say(format_args!("error: {self}"));
                if let Some(hint) = self.hint() {
                    say(format_args!("hint: {hint}"));
                }
            }
            LogFormat::Json => {
                let mut object = json!({
                    "timestamp": humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
                    "level": "ERROR",
                    "message": "failed",
                    "error": self.to_string(),
                    "target": module_path!(),
                });
                if let Some(hint) = self.hint() {
                    object["hint"] = hint.into();
                }
                say(object);
            }
        }
    }

    /// What the user can do about it, where that is no guess.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Url(_) | Self::System { .. } => None,
            Self::Database(error) => error.hint(),
            Self::NoDefault { .. } => Some("name one with `--database-url` or in DATABASE_URL"),
            Self::Listen { .. } => Some("name another address with `--listen`; port 0 takes a free one"),
        }
    }
}

/// How long the database's connections may take to close.
const CLOSE: Duration = Duration::from_secs(5);

/// Carries out a command line.
///
/// # Errors
///
/// If the command fails; nothing is running any more then.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => logged(args.database.log_format, args.database.echo, serve(args)),
        Command::Migrate(args) => logged(args.log_format, args.echo, migrate(args)),
        Command::Openapi => print(&http::openapi()),
    }
}

/// Carries out a command that logs. The log ends after the runtime, with which the requests end that are cut off.
fn logged(format: LogFormat, echo: bool, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let _log = logging::start(format, echo);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { doing: "cannot start the runtime", source })?;
    runtime.block_on(command)
}

async fn serve(args: ServeArgs) -> Result<(), Failure> {
    // First: a signal to stop that comes while it starts must not be lost.
    let stop =
        server::stop_signal().map_err(|source| Failure::System { doing: "cannot listen for signals", source })?;
    let mut stop = pin!(stop);
    let (address, database, migration) = tokio::select! {
        prepared = prepare(&args) => prepared?,
        () = &mut stop => return Ok(()),
    };
    // Not broken off: a schema that is changed half-way is worse than a moment more.
    if let Some(migration) = migration {
        let applied = migration.apply().await?;
        if args.migrate {
            report_migrations(&applied);
        }
    }
    let listener = server::bind(address)
        .map_err(|error| Failure::Listen { address: args.listen.clone(), fact: listen_fact(&error) })?;
    let address = listener
        .local_addr()
        .map_err(|source| Failure::System { doing: "cannot read the address listened on", source })?;
    announce(args.database.log_format, address, &database);

    let limits = Limits::new(args.max_body, *args.request_timeout, args.max_requests);
    let router = http::router(App::new(database.clone(), limits));
    let unfinished = server::serve(listener, router, stop, *args.grace).await;
    if unfinished {
        tracing::warn!(grace = %args.grace, "requests were still under way and were cut off");
    }
    // Idle connections close at once; those of requests that were cut off are not waited for much longer.
    if let Err(leaks) = database.close(CLOSE).await {
        tracing::warn!("{leaks}");
    }
    tracing::info!("stopped");
    Ok(())
}

async fn migrate(args: DatabaseArgs) -> Result<(), Failure> {
    let database = open(&args, Options::default().statement_timeout).await?;
    let applied = database.migrate().await?;
    report_migrations(&applied);
    if applied.is_empty() {
        match args.log_format {
            LogFormat::Text => say(format_args!("{} is up to date", database.url())),
            LogFormat::Json => tracing::info!(database = %database.url(), "up to date"),
        }
    }
    if let Err(leaks) = database.close(CLOSE).await {
        tracing::warn!("{leaks}");
    }
    Ok(())
}

/// Where to listen, the database, which has answered, and the migration that it needs first.
async fn prepare(args: &ServeArgs) -> Result<(SocketAddr, Database, Option<BegunMigration>), Failure> {
    let address = resolve(&args.listen).await?;
    let database = open(&args.database, *args.request_timeout).await?;
    let migration = if args.migrate || database.migrates_unasked() {
        database.begin_migration().await?
    } else {
        database.require_schema().await?;
        None
    };
    Ok((address, database, migration))
}

async fn open(args: &DatabaseArgs, statement_timeout: Duration) -> Result<Database, Failure> {
    let url = match &args.database_url {
        Some(url) => DatabaseUrl::parse(url)?,
        None => default_url()?,
    };
    let (pool_size, pool_wait, echo) = (args.pool_size, *args.pool_wait, args.echo);
    let options = Options { pool_size, pool_wait, statement_timeout, echo, ..Options::default() };
    Ok(Database::open(url, &options).await?)
}

/// The file `tags-api/tags.db` in the user's data directory, whose own directory is made.
fn default_url() -> Result<DatabaseUrl, Failure> {
    let no_default = |fact: String| Failure::NoDefault { fact };
    let data = dirs::data_dir().ok_or_else(|| no_default("the user has no data directory".into()))?;
    let directory = data.join("tags-api");
    std::fs::create_dir_all(&directory)
        .map_err(|error| no_default(format!("cannot create {}: {error}", directory.display())))?;
    Ok(DatabaseUrl::sqlite_file(&directory.join("tags.db"))?)
}

async fn resolve(listen: &str) -> Result<SocketAddr, Failure> {
    let failure = |fact: String| Failure::Listen { address: listen.to_owned(), fact };
    let mut addresses = tokio::net::lookup_host(listen).await.map_err(|error| failure(error.to_string()))?;
    addresses.next().ok_or_else(|| failure("the name has no address".into()))
}

fn listen_fact(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program listens there".into(),
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need special rights".into(),
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}

fn announce(format: LogFormat, address: SocketAddr, database: &Database) {
    match format {
        LogFormat::Text => say(format_args!(
            "tags-api {version}\n  listening  http://{address}\n  docs       http://{address}/docs\n  database   {url} ({server})",
            version = env!("CARGO_PKG_VERSION"),
            url = database.url(),
            server = database.server(),
        )),
        LogFormat::Json => tracing::info!(
            listening = %format_args!("http://{address}"),
            docs = %format_args!("http://{address}/docs"),
            database = %database.url(),
            server = database.server(),
            "started"
        ),
    }
}

fn report_migrations(applied: &[String]) {
    for name in applied {
        tracing::info!(migration = name, "applied");
    }
}

/// Writes a line to standard error, for whoever listens. `eprintln!` ends the program where nobody does.
fn say(line: impl Display) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).ok();
}

/// Writes data to standard output; a reader that has had enough is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::System { doing: "cannot write to standard output", source: error })
        }
        _ => Ok(()),
    }
}
