//! The command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use freshdb_databases::{Kind, variables};
use tracing_subscriber::EnvFilter;

/// A pristine database for every test, for any test runner, in any language.
///
/// What goes wrong is told on standard error. Exit code 2 is a wrong argument, and 125 a failure of freshdb's own.
#[derive(Debug, Parser)]
#[command(name = "freshdb", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command with database servers and a broker of pristine databases, which are gone afterwards
    ///
    /// The command finds the broker by FRESHDB_BROKER, FRESHDB_BROKER_URL and FRESHDB_BROKER_TOKEN, and each server that
    /// was asked for by FRESHDB_MYSQL_URL, FRESHDB_MARIADB_URL or FRESHDB_POSTGRES_URL. Clients of IntegreSQL find its interface by
    /// INTEGRESQL_CLIENT_BASE_URL.
    ///
    /// Exit code: that of the command; 128 and the number of the signal that ended it; 125 when freshdb itself failed, 126 when
    /// the command cannot be run, 127 when there is none of this name.
    #[command(
        after_help = "Examples:\n  freshdb run --mysql -- pytest -n 2\n  freshdb run --postgres --schema db/schema -- npm test\n  freshdb run -- cargo nextest run"
    )]
    Run(Run),
    /// Lease pristine databases to whoever asks, until a signal to stop comes
    #[command(
        after_help = "Examples:\n  freshdb serve --postgres\n  freshdb serve --mysql --listen 127.0.0.1:5000 --token-file token"
    )]
    Serve(Serve),
    /// List the brokers that you have running, and what they have leased
    ///
    /// Exit code: 0 when one answers, 1 when none does.
    Status(Status),
    /// Try whether each engine can be used, and say what to do where not
    ///
    /// Starts its server, or connects to yours, makes a database, leases it, and puts it back.
    ///
    /// Exit code: 0 when all can be used, 1 when one cannot.
    Doctor(Doctor),
    /// Show what a failed test did to its database: rows inserted, changed and deleted, and what became of the schema
    ///
    /// Of each test that failed this is written down in the cache, for a week. A database that was kept on a server of yours is compared
    /// with its template now.
    ///
    /// Exit code: 0 when something was shown, 1 when there is nothing of this name.
    #[command(
        after_help = "Examples:\n  freshdb diff\n  freshdb diff test_post\n  freshdb diff --list\n  freshdb diff --json | jq '.tables[].rows'"
    )]
    Diff(Diff),
    /// Drop what freshdb made on the servers of the environment and nobody uses any more
    Gc(Gc),
    /// Print what makes a shell complete freshdb's arguments
    #[command(after_help = "Example:\n  freshdb completions bash > ~/.local/share/bash-completion/completions/freshdb")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  freshdb man | man -l -")]
    Man,
    /// Starts a command that ends with its parent. For freshdb itself.
    #[command(hide = true, name = "__start")]
    Start {
        /// The process that it ends with
        parent: i32,
        /// What is started
        #[arg(required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// The most that any server can be told to take: PostgreSQL's.
const MOST_CONNECTIONS: u32 = (1 << 18) - 1;

/// Whatever it is not, it is told what it can be.
fn whole_number(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("it is a whole number from {} to {}", range.start(), range.end()))
    }
}

/// The engines that are asked for.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Engines {
    /// A SQLite file for every test
    #[arg(long)]
    sqlite: bool,
    /// A MySQL server: the one that FRESHDB_MYSQL_URL names, or else a private one
    #[arg(long)]
    mysql: bool,
    /// A MariaDB server: the one that FRESHDB_MARIADB_URL names, or else a private one
    #[arg(long)]
    mariadb: bool,
    /// A PostgreSQL server: the one that FRESHDB_POSTGRES_URL names, or else a private one
    #[arg(long)]
    postgres: bool,
}

impl Engines {
    fn asked(&self) -> Vec<Kind> {
        let asked = [
            (self.sqlite, Kind::Sqlite),
            (self.mysql, Kind::Mysql),
            (self.mariadb, Kind::Mariadb),
            (self.postgres, Kind::Postgres),
        ];
        asked.into_iter().filter_map(|(asked, kind)| asked.then_some(kind)).collect()
    }
}

/// The engines, and what their databases start from.
#[derive(Debug, Args)]
pub(crate) struct Databases {
    #[command(flatten)]
    engines: Engines,
    /// What every database starts from: an SQL file, or a directory of them, in the order of their names; several are applied one
    /// after the other
    #[arg(long, value_name = "PATH")]
    pub(crate) schema: Vec<PathBuf>,
    /// A shell command that makes the schema in the database that DATABASE_URL names, after --schema
    #[arg(long, value_name = "COMMAND", requires = "watch")]
    pub(crate) schema_command: Option<String>,
    /// A file or directory that decides what --schema-command makes; may be repeated
    #[arg(long, value_name = "PATH", requires = "schema_command")]
    pub(crate) watch: Vec<PathBuf>,
    /// How many connections a lease may open; with fewer, a server has room for more databases
    #[arg(long, default_value_t = 8, value_name = "NUMBER", allow_negative_numbers = true, value_parser = whole_number(1..=MOST_CONNECTIONS))]
    pub(crate) connections: u32,
    /// Make templates anew, whatever was made before
    #[arg(long)]
    pub(crate) rebuild: bool,
}

impl Databases {
    /// Those that were asked for.
    pub(crate) fn engines(&self) -> Vec<Kind> {
        self.engines.asked()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) databases: Databases,
    /// Write a page about the run: which test had which database, when, for how long, and what it left behind
    #[arg(long, value_name = "PATH")]
    pub(crate) report: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// What is run, with its arguments; what stands behind its name is its own
    #[arg(required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) databases: Databases,
    /// Address to listen on, which must be one of the loopback interface; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// File whose first line is the token that requests must carry [default: a random one, which is printed]
    #[arg(long, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// A JSON document a line for each broker, as GET /v1/status gives it; with `error` of one that does not answer
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    engines: Engines,
}

impl Doctor {
    pub(crate) fn engines(&self) -> Vec<Kind> {
        self.engines.asked()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The database, or a part of the test's name [default: the last one of this checkout]
    pub(crate) name: Option<String>,
    /// List what there is of this checkout, the newest first
    #[arg(long, conflicts_with = "name")]
    pub(crate) list: bool,
    /// List that of every checkout
    #[arg(long, requires = "list")]
    pub(crate) everything: bool,
    /// As JSON: one document, or with --list one a line
    #[arg(long)]
    pub(crate) json: bool,
    /// How many rows of a table are shown
    #[arg(long, default_value_t = 20, value_name = "NUMBER", allow_negative_numbers = true, value_parser = whole_number(0..=u32::MAX))]
    pub(crate) rows: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// All that freshdb ever made there, of every checkout, and not just what is old
    #[arg(long)]
    pub(crate) everything: bool,
}

/// Where a broker is on loopback.
pub(crate) const BROKER_URL: &str = "FRESHDB_BROKER_URL";

/// Where clients of `IntegreSQL` look for it.
pub(crate) const INTEGRESQL: &str = "INTEGRESQL_CLIENT_BASE_URL";

/// Whether such clients know already where to look: by somebody else's word than that of a run around this one, whose databases these
/// are not.
pub(crate) fn has_integresql() -> bool {
    let of = |name| std::env::var(name).unwrap_or_default();
    let outer = integresql(&of(BROKER_URL), &of(variables::BROKER_TOKEN));
    std::env::var_os(INTEGRESQL).is_some_and(|url| url != outer.as_str())
}

/// Where a broker has `IntegreSQL`'s interface, with the token that its clients know nothing of.
pub(crate) fn integresql(url: &str, token: &str) -> String {
    format!("{url}/{token}/api")
}

/// Of what a statement takes long for sqlx warns with its text, which of a schema is the whole file.
const LOG: &str = "warn,sqlx::query=error";

/// Warnings go to standard error; `FRESHDB_LOG` says otherwise.
pub(crate) fn begin_log() {
    let (filter, misunderstood) = match EnvFilter::try_from_env("FRESHDB_LOG") {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(LOG), std::env::var_os("FRESHDB_LOG").map(|_| error)),
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A line that cannot be written would be told where it cannot be written either, which ends the program.
    log.log_internal_errors(false).init();
    if let Some(error) = misunderstood {
        tracing::warn!(%error, "FRESHDB_LOG is not understood, and is passed over");
    }
}
