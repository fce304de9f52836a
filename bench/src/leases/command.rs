//! The command `leases`, from its arguments to its last line.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use freshdb_databases::{Config, DatabaseUrl, Kind, Server};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::measure::{House, Touched};
use super::report::{HEADER, Record};
use crate::directory;
use crate::engine::{Engine, EngineArgs};
use crate::failure::{Failure, OrFail, both};
use crate::interrupt::Interrupt;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    engines: EngineArgs,
    /// How long two threads test on each engine
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// What such a test takes beside its database
    #[arg(long, default_value = "20ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// How often each reset is measured
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    resets: usize,
    /// The sizes of schemas, in tables
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000", value_name = "NUMBER,…")]
    tables: Vec<usize>,
    /// The sizes of seeds, in rows
    #[arg(long, value_delimiter = ',', default_value = "0,1000,100000", value_name = "NUMBER,…")]
    seed_rows: Vec<usize>,
    /// Print one JSON record a line instead of a table
    #[arg(long)]
    json: bool,
}

/// The schema of the first measurements: so many tables, so many of which are touched.
const TABLES: usize = 30;
const TOUCHED: usize = 3;
/// Where the size of the seed is measured, and where that of the schema.
const FEW_TABLES: usize = 10;

/// Measures and prints.
pub(crate) fn run(args: &Args, runtime: &Runtime) -> Result<(), Failure> {
    // Before there is anything that a signal could leave behind.
    let interrupt = RefCell::new(runtime.block_on(async { Interrupt::listen() })?);
    let directory = directory::of_a_run()?;
    let outcome = measure(args, runtime, &interrupt, directory.path());
    both(outcome, directory::close(directory))
}

fn measure(args: &Args, runtime: &Runtime, interrupt: &RefCell<Interrupt>, directory: &Path) -> Result<(), Failure> {
    if !args.json {
        print(HEADER)?;
    }
    for engine in args.engines.chosen() {
        let server = runtime.block_on(interrupt.borrow_mut().or(server(args, engine, directory)))?;
        let measured = Measured { args, runtime, interrupt, engine, server };
        measured.usual()?;
        for &tables in &args.tables {
            measured.size(tables, 0, Touched::Empty(1), "1 table")?;
        }
        for &rows in args.seed_rows.iter().filter(|rows| **rows > 0) {
            measured.size(FEW_TABLES, rows, Touched::Empty(1), "1 table")?;
            measured.size(FEW_TABLES, rows, Touched::Seed, "1 seed row")?;
        }
    }
    Ok(())
}

/// The server that is named, or a private one as tests have it.
async fn server(args: &Args, engine: Engine, directory: &Path) -> Result<Server, Failure> {
    if let Some(url) = args.engines.url(engine) {
        let url = DatabaseUrl::parse(url.as_str()).or_fail(|| "cannot use the server's URL".into())?;
        return Ok(Server::existing(url));
    }
    let kind = match engine {
        Engine::Sqlite => return Ok(Server::existing(DatabaseUrl::file(directory.join("server")))),
        Engine::Mysql => Kind::Mysql,
        Engine::Mariadb => Kind::Mariadb,
        Engine::Postgres => Kind::Postgres,
    };
    let config = Config::from_env().or_fail(|| "cannot use the environment".into())?.without_urls();
    Server::of(kind, &config).await.or_fail(|| format!("no server for `{engine}`"))
}

struct Measured<'a> {
    args: &'a Args,
    runtime: &'a Runtime,
    interrupt: &'a RefCell<Interrupt>,
    engine: Engine,
    server: Server,
}

impl Measured<'_> {
    fn usual(&self) -> Result<(), Failure> {
        eprintln!("measuring {}, {TABLES} tables", self.engine);
        let house = self.open(TABLES, 0)?;
        let outcome = self.usual_in(&house);
        both(outcome, self.runtime.block_on(house.close()))
    }

    fn usual_in(&self, house: &House) -> Result<(), Failure> {
        let reports = self.unless_interrupted(house.put_back(self.args.resets, Touched::Empty(TOUCHED)))?;
        self.print(&Record::of_resets(self.engine, TABLES, 0, "3 tables", &reports))?;
        self.unless_interrupted(house.warm())?;
        let (leases, _) = self.test(house, self.args.pause)?;
        self.print(&Record::of_times(self.engine, "lease", TABLES, &leases))?;
        let (leases, tests) = self.test(house, Duration::ZERO)?;
        self.print(&Record::of_times(self.engine, "rush", TABLES, &leases))?;
        self.print(&Record::of_times(self.engine, "test", TABLES, &tests))
    }

    fn size(&self, tables: usize, rows: usize, touched: Touched, name: &'static str) -> Result<(), Failure> {
        eprintln!("measuring {}, {tables} tables, {rows} rows, {name} touched", self.engine);
        let house = self.open(tables, rows)?;
        let reports = self.unless_interrupted(house.put_back(self.args.resets, touched));
        let reports = both(reports, self.runtime.block_on(house.close()))?;
        self.print(&Record::of_resets(self.engine, tables, rows, name, &reports))
    }

    fn open(&self, tables: usize, rows: usize) -> Result<House, Failure> {
        self.unless_interrupted(House::open(self.engine, self.server.clone(), tables, rows))
    }

    fn unless_interrupted<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.runtime.block_on(self.interrupt.borrow_mut().or(work))
    }

    /// As [`House::test`], whose threads end after their tests when a signal comes.
    fn test(&self, house: &House, pause: Duration) -> Result<(Vec<Duration>, Vec<Duration>), Failure> {
        let is_over = AtomicBool::new(false);
        let (done, is_done) = oneshot::channel::<()>();
        thread::scope(|scope| {
            let testing = scope.spawn(|| {
                // Dropped, it says so as well.
                let _done = done;
                house.test(self.args.duration, TOUCHED, pause, &is_over)
            });
            let waited = self.unless_interrupted(async {
                drop(is_done.await);
                Ok(())
            });
            is_over.store(true, Ordering::Relaxed);
            let tested = testing.join().unwrap_or_else(|_| Err(Failure::new("a thread panicked")));
            waited.and(tested)
        })
    }

    fn print(&self, record: &Record) -> Result<(), Failure> {
        if self.args.json {
            let line = serde_json::to_string(record).or_fail(|| "cannot write JSON".into())?;
            return print(&format!("{line}\n"));
        }
        print(&record.line())
    }
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout().lock().write_all(text.as_bytes()).or_fail(|| "cannot write to standard output".into())
}
