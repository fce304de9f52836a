//! The property, and how it is tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use freshdb_databases::{DatabaseUrl, Garbage, Schema, Server, Target, schema};
use futures_util::future::join_all;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use test_support::{Client, Engine, TestDatabase};
use tokio::sync::Mutex;

use crate::bench::{Bench, Counts, Estate};
use crate::dirt::{self, Kind, Reach};
use crate::dump::{Dump, Tool, difference};
use crate::program;
use crate::script::{self, Script};
use crate::session::Tally;

/// How many scripts are tried at once.
const BENCHES: usize = 4;

/// After how many scripts it is said that there is progress: `scripts/test` takes who is silent for long for dead.
const SIGN_OF_LIFE: u32 = 50;

/// For how long a failure is made smaller.
const SHRINKING: Duration = Duration::from_secs(90);

/// Tries the scripts that have failed before, then others by chance, and then each text that has not succeeded yet.
pub(crate) async fn hold(engine: Engine) {
    let started = Instant::now();
    let kinds = allowed(engine).await;
    let tally = Tally::default();
    let database = TestDatabase::create(engine).await;
    let estate = Estate::new(Mutex::new(format!("{} left behind", database.url())));
    let (mut benches, neighbour) = open_benches(engine, &database, &estate, &tally).await;

    let first = [vec![program::left_behind()], script::parse(regressions(engine))].concat();
    let mut failures = try_all(&mut benches, first).await;
    if failures.is_empty() {
        failures = try_by_chance(&mut benches, &kinds).await;
    }
    // Some wait for a lock that the server itself has for a moment, and give up.
    for _ in 0..5 {
        if failures.is_empty() {
            let missing = program::alone(&kinds, |origin| !tally.has(origin));
            failures = try_all(&mut benches, missing).await;
        }
    }
    let counts = close(benches, &database, &estate, &mut failures).await;
    failures.extend(neighbour.harm().await);
    database.drop().await;

    let (steps, succeeded) = tally.sums();
    println!("{}: {steps} steps, {succeeded} succeeded; {counts:?}; {:?}", engine.name(), started.elapsed());
    assert!(failures.is_empty(), "{} of {} failed:\n\n{}", failures.len(), engine.name(), failures.join("\n"));
    let untested: Vec<String> = program::alone(&kinds, |origin| !tally.has(origin))
        .iter()
        .flat_map(|script| &script.steps)
        .map(|step| format!("{}: {:?}\n", step.sql, step.origin.and_then(|origin| tally.failure(origin))))
        .collect();
    assert!(untested.is_empty(), "what never succeeded tests nothing:\n{}", untested.concat());
    let tried = counts.untouched + counts.put_back + counts.replaced + counts.failed;
    assert!(counts.failed <= tried / 50, "resets failed: {counts:?}");
    assert!(counts.found > 0, "nothing that was left behind was found: {counts:?}");
    assert!(counts.put_back > 0 && (engine == Engine::Sqlite || counts.sessions_ended > 0), "{counts:?}");
}

/// All kinds of dirt but what the server has not, or its configuration forbids.
async fn allowed(engine: Engine) -> Vec<Kind> {
    let mut kinds = dirt::kinds(engine);
    if engine == Engine::Postgres {
        let url = std::env::var("FRESHDB_POSTGRES_URL").expect("FRESHDB_POSTGRES_URL is set: run `scripts/test`");
        let mut client = Client::connect(&url).await;
        let prepared = "SELECT setting::bigint FROM pg_settings WHERE name = 'max_prepared_transactions'";
        let merge = "SELECT count(*) FROM pg_get_keywords() WHERE word = 'merge'";
        let owner = "SELECT count(*) FROM pg_roles WHERE rolname = 'pg_database_owner'";
        for (name, has) in [(dirt::PREPARED, prepared), (dirt::MERGE, merge), (dirt::OWNER, owner)] {
            if client.number(has).await == 0 {
                println!("postgres: this server lets nobody {name}");
                kinds.retain(|kind| kind.name != name);
            }
        }
        client.close().await;
    }
    kinds
}

/// What every lease is compared with is not a lease, nor the template: a database to which the schema was applied.
async fn open_benches(
    engine: Engine,
    database: &TestDatabase,
    estate: &Estate,
    tally: &Tally,
) -> (Vec<Bench>, Neighbour) {
    let tool = Arc::new(Tool::of(engine));
    let url = DatabaseUrl::parse(database.url()).expect("a URL");
    schema::sql(dirt::template(engine)).apply(&Target::new(url.clone())).await.expect("the schema");
    let name = url.database().unwrap_or_else(|| "test".to_owned());
    let reference = tool.dump(&url, &name).await.unwrap_or_else(|error| panic!("{error}"));
    let reference = Arc::new(reference);

    let mut benches = Vec::new();
    for _ in 0..BENCHES {
        let (server, checkout, estate) = (server(database), database.url(), estate.clone());
        let (tool, expected, tally) = (tool.clone(), reference.clone(), tally.clone());
        let mut bench = Bench::open(engine, server, checkout, estate, tool, expected, tally).await;
        let first: Dump = bench.dump().await.unwrap_or_else(|error| panic!("{error}"));
        assert!(first == *reference, "the first lease differs\n{}", difference(&reference, &first));
        benches.push(bench);
    }
    (benches, Neighbour { tool, url, name, before: reference })
}

/// The database that the URL names, which has tables of its own. Whatever is done to leases, it stays as it is.
struct Neighbour {
    tool: Arc<Tool>,
    url: DatabaseUrl,
    name: String,
    before: Arc<Dump>,
}

impl Neighbour {
    async fn harm(self) -> Option<String> {
        let after = self.tool.dump(&self.url, &self.name).await.unwrap_or_else(|error| panic!("{error}"));
        (after != *self.before).then(|| format!("the neighbour was harmed\n{}", difference(&self.before, &after)))
    }
}

/// The server that has a test's database: of SQLite, a directory next to it.
fn server(database: &TestDatabase) -> Server {
    let url = DatabaseUrl::parse(database.url()).expect("a URL");
    match url.path() {
        Some(path) => Server::existing(DatabaseUrl::file(path.with_file_name("server"))),
        None => Server::existing(url),
    }
}

async fn close(benches: Vec<Bench>, database: &TestDatabase, estate: &Estate, failures: &mut Vec<String>) -> Counts {
    let mut counts = Counts::default();
    for bench in benches {
        counts = counts.plus(bench.counts);
        bench.close().await;
    }
    for checkout in [database.url(), &estate.lock().await] {
        let garbage = Garbage::everything().checkout(checkout);
        let collected = garbage.collect(&server(database)).await.expect("collected");
        if !collected.failed.is_empty() || !collected.in_use.is_empty() {
            failures.push(format!("not all could be dropped: {collected:?}"));
        }
    }
    counts
}

/// Tries each of these, whether or not another one fails.
async fn try_all(benches: &mut [Bench], scripts: Vec<Script>) -> Vec<String> {
    let queue = std::sync::Mutex::new(scripts.into_iter());
    let next = || queue.lock().expect("nobody panicked").next();
    let each = benches.iter_mut().map(async |bench| {
        let mut failures = Vec::new();
        while let Some(script) = next() {
            if let Err(error) = bench.try_script(&script).await {
                failures.push(format!("{script}{error}\n"));
            }
        }
        failures
    });
    join_all(each).await.concat()
}

/// Stops with the first that fails on each bench, and makes those smaller.
async fn try_by_chance(benches: &mut [Bench], kinds: &[Kind]) -> Vec<String> {
    let cases = match std::env::var("FRESHDB_CASES") {
        Ok(cases) => cases.parse().expect("FRESHDB_CASES is a number"),
        Err(_) => 300,
    };
    let left = AtomicU32::new(cases);
    let each = benches.iter_mut().map(|bench| try_until_one_fails(bench, kinds, &left));
    join_all(each).await.into_iter().flatten().collect()
}

async fn try_until_one_fails(bench: &mut Bench, kinds: &[Kind], left: &AtomicU32) -> Option<String> {
    let of_rows = program::scripts(kinds, Reach::Rows);
    let of_all = program::scripts(kinds, Reach::Schema);
    let seed: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    while let Ok(number) = left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
        // Not a choice within one strategy: what is made smaller must not become the other.
        let mut tree = if fastrand::u8(..5) < 3 {
            Box::new(of_rows.new_tree(&mut runner).expect("a script")) as Box<dyn ValueTree<Value = Script>>
        } else {
            Box::new(of_all.new_tree(&mut runner).expect("a script"))
        };
        if let Err(error) = bench.try_script(&tree.current()).await {
            // The others are not needed any more.
            left.store(0, Ordering::Relaxed);
            let first = format!("as it was found:\n{}{error}", tree.current());
            let (script, error, tries) = smaller(bench, &mut *tree, error).await;
            return Some(format!("{script}{error}after {tries} tries to make it smaller; {first}"));
        }
        if number.is_multiple_of(SIGN_OF_LIFE) {
            test_support::say(&format!("{}: {number} scripts are left", bench.engine.name()));
        }
    }
    None
}

/// What failed, without what it does not need for that.
async fn smaller(bench: &mut Bench, tree: &mut dyn ValueTree<Value = Script>, error: String) -> (Script, String, u32) {
    let started = Instant::now();
    let (mut smallest, mut tries) = ((tree.current(), error), 0);
    let mut more = tree.simplify();
    while more && started.elapsed() < SHRINKING {
        tries += 1;
        more = match bench.try_script(&tree.current()).await {
            Err(error) => {
                smallest = (tree.current(), error);
                tree.simplify()
            }
            Ok(()) => tree.complicate(),
        };
    }
    (smallest.0, smallest.1, tries)
}

fn regressions(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => include_str!("regressions/sqlite.txt"),
        Engine::Mysql => include_str!("regressions/mysql.txt"),
        Engine::Mariadb => include_str!("regressions/mariadb.txt"),
        Engine::Postgres => include_str!("regressions/postgres.txt"),
    }
}
