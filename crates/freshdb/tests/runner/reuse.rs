//! Connections go from one test to the next on the same database, and no test can tell.

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use freshdb::test::{Case, Kind, Lease, Schema, run, schema};
use freshdb::{OrmEngine, OrmSession};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

/// So many tests that each database of the pool is used several times.
const TESTS: usize = 16;

/// One after the other, each on a session of which `work` makes something of interest.
fn tests<T: Send + 'static>(
    kind: Kind,
    schema: impl Fn() -> Box<dyn Schema>,
    work: &(impl AsyncFn(&OrmSession, usize) -> T + Clone + Send + 'static),
) -> Vec<T> {
    let results = Arc::new(Mutex::new(Vec::new()));
    for number in 0..TESTS {
        let (results, work) = (results.clone(), work.clone());
        run(Case::new(format!("number_{number}"), kind), &schema, async move |engine: OrmEngine| {
            let session = engine.session().await.expect("a session");
            let result = work(&session, number).await;
            results.lock().expect("nobody panicked").push(result);
        });
    }
    Arc::into_inner(results).expect("all have ended").into_inner().expect("nobody panicked")
}

/// The text that a query of one text gives, or that it fails.
async fn ask(session: &OrmSession, question: &str) -> String {
    // No such statement can be prepared itself.
    if question.starts_with("EXECUTE ") {
        return session.execute_unprepared(question).await.map_or("an error", |_| "done").to_owned();
    }
    let question = Statement::from_string(session.get_database_backend(), question);
    match session.query_one_raw(question).await {
        Ok(Some(row)) => row.try_get_by_index(0).expect("a text"),
        Ok(None) => "no row".to_owned(),
        Err(_) => "an error".to_owned(),
    }
}

/// How the server calls the session.
async fn number(session: &OrmSession) -> String {
    let question = match session.get_database_backend() {
        DbBackend::Postgres => "SELECT pg_backend_pid()::text",
        _ => "SELECT CAST(CONNECTION_ID() AS CHAR)",
    };
    ask(session, question).await
}

/// Whether its server lets connections be kept: PostgreSQL does since 15, when a session can have it counted what it wrote.
async fn can_be_kept(session: &OrmSession) -> bool {
    let question = "SELECT count(*)::text FROM pg_proc WHERE proname = 'pg_stat_force_next_flush'";
    session.get_database_backend() != DbBackend::Postgres || ask(session, question).await != "0"
}

fn table(name: &str) -> Box<dyn Schema> {
    Box::new(schema::sql(format!("CREATE TABLE {name} (id INT PRIMARY KEY, name VARCHAR(50))")))
}

fn counting(name: &str, kind: Kind, more: &str) -> Box<dyn Schema> {
    let key = if kind == Kind::Postgres { "SERIAL" } else { "INT AUTO_INCREMENT" };
    Box::new(schema::sql(format!("CREATE TABLE {name} (id {key} PRIMARY KEY, name VARCHAR(50)); {more}")))
}

/// Rows are written and read.
fn are_reused(kind: Kind) {
    let numbers = tests(kind, || table("reused"), &async |session: &OrmSession, _| {
        session.execute_unprepared("INSERT INTO reused VALUES (1, 'mine')").await.expect("no row of another's");
        (number(session).await, can_be_kept(session).await)
    });
    let different: HashSet<&String> = numbers.iter().map(|(number, _)| number).collect();
    assert_eq!(different.len() < TESTS, numbers[0].1, "{numbers:?}");
}

/// A test does something to its session; whoever has the database next asks whether it was done to theirs.
fn is_not_seen(kind: Kind, schema: impl Fn() -> Box<dyn Schema> + Sync, deed: &'static str, question: &'static str) {
    let one = |work: &[Work]| one(kind, &schema, work, &Barrier::new(1).into());
    let (_, answers) = one(&[Work::Ask(question), Work::Do(deed), Work::Ask(question)]);
    let [fresh, after] = &answers[..] else { panic!("two answers") };
    assert_ne!(after, fresh, "an answer that is always the same proves nothing");
    let (soiled, _) = one(&[Work::Do(deed)]);
    // The databases that were given back last are handed out first. Above this one are at most those of the wave before.
    let came_upon_it = (1..=LARGEST_WAVE).any(|size| {
        let told = wave(kind, &schema, &[Work::Ask(question)], size);
        assert!(
            told.iter().all(|(_, answers)| answers[0] == *fresh),
            "{deed}: {told:?}, where a fresh session says {fresh}"
        );
        told.iter().any(|(database, _)| *database == soiled)
    });
    assert!(came_upon_it, "no test came upon `{soiled}` again");
}

const LARGEST_WAVE: usize = 10;

/// What a test does with its session.
#[derive(Clone, Copy)]
enum Work {
    Do(&'static str),
    Ask(&'static str),
}

/// The database that a test had, and the answers to what it asked.
type Told = (String, Vec<String>);

/// So many tests at once, none of which ends before all of them have their database.
fn wave(kind: Kind, schema: &(impl Fn() -> Box<dyn Schema> + Sync), work: &[Work], size: usize) -> Vec<Told> {
    let all = Arc::new(Barrier::new(size));
    thread::scope(|scope| {
        let tests: Vec<_> = (0..size).map(|_| scope.spawn(|| one(kind, schema, work, &all))).collect();
        tests.into_iter().map(|test| test.join().expect("it passes")).collect()
    })
}

fn one(kind: Kind, schema: &impl Fn() -> Box<dyn Schema>, work: &[Work], all: &Arc<Barrier>) -> Told {
    let told = Arc::new(Mutex::new(Told::default()));
    let (tell, work, all) = (told.clone(), work.to_vec(), all.clone());
    run(Case::new("one", kind), schema, async move |engine: OrmEngine, lease: Lease| {
        let session = engine.session().await.expect("a session");
        let mut answers = Vec::new();
        for work in work {
            match work {
                Work::Ask(question) => answers.push(ask(&session, question).await),
                Work::Do(deed) => {
                    session.execute_unprepared(deed).await.unwrap_or_else(|error| panic!("{deed}: {error}"));
                }
            }
        }
        *tell.lock().expect("nobody panicked") = (lease.name().to_owned(), answers);
        all.wait();
    });
    std::mem::take(&mut *told.lock().expect("nobody panicked"))
}

macro_rules! on_both {
    ($($name:ident: $deed:literal, $question:literal;)*) => {$(
        mod $name {
            use super::*;

            fn case(kind: Kind) {
                is_not_seen(kind, || table(stringify!($name)), $deed, $question);
            }

            on!(case: mysql Mysql, mariadb Mariadb);
        }
    )*};
}

on_both! {
    a_variable: "SELECT @mine := 1", "SELECT COALESCE(CAST(@mine AS CHAR), 'unset')";
    a_setting: "SET SESSION sql_mode = ''", "SELECT CAST(@@sql_mode AS CHAR)";
    a_named_lock: "SELECT GET_LOCK('mine', 0)", "SELECT COALESCE(CAST(IS_USED_LOCK('mine') AS CHAR), 'free')";
    a_temporary_table: "CREATE TEMPORARY TABLE mine (id INT)", "SELECT CAST(COUNT(*) AS CHAR) FROM mine";
    a_prepared_statement: "PREPARE mine FROM 'SELECT 1'", "EXECUTE mine";
}

/// MariaDB 10.11 has an older name for it.
mod an_isolation_level {
    use super::*;

    fn case(kind: Kind) {
        let question = match kind {
            Kind::Mariadb => "SELECT CAST(@@tx_isolation AS CHAR)",
            _ => "SELECT CAST(@@transaction_isolation AS CHAR)",
        };
        let deed = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE";
        is_not_seen(kind, || table("isolated"), deed, question);
    }

    on!(case: mysql Mysql, mariadb Mariadb);
}

macro_rules! on_postgres {
    ($($name:ident: $deed:literal, $question:literal;)*) => {
        mod postgres {
            use super::*;

            $(
                #[test]
                fn $name() {
                    is_not_seen(Kind::Postgres, || table(concat!("pg_", stringify!($name))), $deed, $question);
                }
            )*
        }
    };
}

on_postgres! {
    a_setting: "SET work_mem = '65MB'", "SELECT current_setting('work_mem')";
    a_setting_by_select: "SELECT set_config('work_mem', '65MB', false)", "SELECT current_setting('work_mem')";
    a_setting_by_update: "UPDATE pg_settings SET setting = '66560' WHERE name = 'work_mem'", "SELECT current_setting('work_mem')";
    a_setting_of_ones_own: "SELECT set_config('app.tenant', '1', false)",
        "SELECT coalesce(current_setting('app.tenant', true), 'unset')";
    a_role: "SET ROLE pg_monitor", "SELECT current_user::text";
    a_temporary_table: "CREATE TEMPORARY TABLE mine (id INT)", "SELECT pg_my_temp_schema()::text";
    a_prepared_statement: "PREPARE mine AS SELECT 1",
        "SELECT count(*)::text FROM pg_prepared_statements WHERE from_sql";
    an_advisory_lock: "SELECT pg_advisory_lock(42)",
        "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    a_temporary_replication_slot: "SELECT pg_create_physical_replication_slot('mine_' || pg_backend_pid(), true, true)",
        "SELECT count(*)::text FROM pg_replication_slots WHERE active_pid = pg_backend_pid()";
    a_channel: "LISTEN mine", "SELECT count(*)::text FROM pg_listening_channels()";
    a_cursor: "DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*)::text FROM pg_cursors WHERE is_holdable";
}

/// What a statement on rows leaves on its session: the last number that was drawn.
mod the_last_number {
    use super::*;

    fn case(kind: Kind) {
        let question = match kind {
            Kind::Postgres => "SELECT lastval()::text",
            _ => "SELECT CAST(LAST_INSERT_ID() AS CHAR)",
        };
        is_not_seen(kind, || counting("counted", kind, ""), "INSERT INTO counted (name) VALUES ('a')", question);
    }

    on!(case on every server);
}

/// A statement on rows that does more, by code of the schema's own.
mod what_a_trigger_does {
    use super::*;

    const MYSQL: &str = "CREATE TRIGGER soil BEFORE INSERT ON triggered FOR EACH ROW SET @mine = 1";
    const POSTGRES: &str = "CREATE FUNCTION soil() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM set_config(''app.mine'', ''1'', false); RETURN NEW; END'; \
         CREATE TRIGGER soil BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION soil()";

    fn case(kind: Kind) {
        let (code, question) = match kind {
            Kind::Postgres => (POSTGRES, "SELECT coalesce(current_setting('app.mine', true), 'unset')"),
            _ => (MYSQL, "SELECT COALESCE(CAST(@mine AS CHAR), 'unset')"),
        };
        let deed = "INSERT INTO triggered (name) VALUES ('a')";
        is_not_seen(kind, || counting("triggered", kind, code), deed, question);
    }

    on!(case on every server);
}

/// What a statement on rows does by an expression of the schema's.
mod what_an_expression_does {
    use super::*;

    const SETTING: &str = "SELECT coalesce(current_setting('app.mine', true), 'unset')";
    const LOCKS: &str = "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";

    fn case(sql: &'static str, deed: &'static str, question: &'static str) {
        is_not_seen(Kind::Postgres, || Box::new(schema::sql(sql)), deed, question);
    }

    #[test]
    fn of_a_view() {
        case("CREATE VIEW soils AS SELECT set_config('app.mine', '1', false)", "SELECT * FROM soils", SETTING);
    }

    #[test]
    fn of_a_default() {
        let sql = "CREATE TABLE soiled (id INT, who TEXT DEFAULT set_config('app.mine', '1', false))";
        case(sql, "INSERT INTO soiled (id) VALUES (1)", SETTING);
    }

    #[test]
    fn of_a_check() {
        let sql = "CREATE TABLE soiled (id INT CHECK (set_config('app.mine', '1', false) = '1'))";
        case(sql, "INSERT INTO soiled VALUES (1)", SETTING);
    }

    #[test]
    fn of_a_view_that_locks() {
        case("CREATE VIEW soils AS SELECT pg_try_advisory_lock(7)", "SELECT * FROM soils", LOCKS);
    }

    /// A session has the last number of a sequence for as long as it lives.
    #[test]
    fn of_a_sequence() {
        let question = "SELECT COALESCE(CAST(LASTVAL(counter) AS CHAR), 'none')";
        let schema = || Box::new(schema::sql("CREATE SEQUENCE counter")) as Box<dyn Schema>;
        is_not_seen(Kind::Mariadb, schema, "SELECT NEXT VALUE FOR counter", question);
    }
}

/// What `dblink` has connected is the session's that asked for it.
mod what_an_extension_connects {
    use freshdb_databases::{Config, Server};

    use super::*;

    #[test]
    fn postgres() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let config = Config::from_env().expect("a configuration");
        let server = runtime.block_on(Server::of(Kind::Postgres, &config)).expect("a server");
        let url = url::Url::parse(&server.url().reveal()).expect("a URL");
        let (host, port) = (url.host_str().expect("a host"), url.port().unwrap_or(5432));
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let deed = format!(
            "SELECT dblink_connect('mine', 'host={host} port={port} user={user} password={password} dbname=postgres')"
        );
        let deed: &'static str = deed.leak();
        let schema = || Box::new(schema::sql("CREATE EXTENSION dblink")) as Box<dyn Schema>;
        let question = "SELECT coalesce(array_to_string(dblink_get_connections(), ','), 'none')";
        is_not_seen(Kind::Postgres, schema, deed, question);
    }
}

mod after_rows_were_written {
    use super::*;

    on!(are_reused on every server);
}

/// The driver finds a statement that it has prepared by its text alone.
mod whatever_types_were_bound_to_the_same_text {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn postgres() {
        let uses: Arc<Mutex<HashMap<String, i32>>> = Arc::default();
        let of_tests = uses.clone();
        let kept = tests(Kind::Postgres, || table("bound"), &async move |session: &OrmSession, _| {
            let number = number(session).await;
            let uses = {
                let mut uses = of_tests.lock().expect("nobody panicked");
                let uses = uses.entry(number).or_default();
                *uses += 1;
                *uses
            };
            let (which, value) = if uses % 2 == 1 { ("integer", 1_i32.into()) } else { ("bigint", 1_i64.into()) };
            let question = Statement::from_sql_and_values(DbBackend::Postgres, "SELECT pg_typeof($1)::text", [value]);
            let row = session.query_one_raw(question).await.expect("it is not another test's").expect("a row");
            assert_eq!(row.try_get_by_index::<String>(0).expect("a text"), which);
            can_be_kept(session).await
        });
        let is_reused = uses.lock().expect("nobody panicked").values().any(|uses| *uses > 1);
        assert_eq!(is_reused, kept[0], "whether a session was reused");
    }
}

/// Whoever administers the server may end what waits for the next test.
mod unless_somebody_ended_them {
    use freshdb_databases::{Config, Server};
    use test_support::Client;

    use super::*;

    fn they_are_replaced(kind: Kind) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let server = Config::from_env().expect("a configuration");
        let server = runtime.block_on(Server::of(kind, &server)).expect("a server");
        let last = Arc::new(Mutex::new(String::new()));
        for number_of_test in 0..TESTS {
            let kept = last.clone();
            let work = async move |engine: OrmEngine| {
                let session = engine.session().await.expect("a session");
                session.execute_unprepared("INSERT INTO ended VALUES (1, 'mine')").await.expect("a session that lives");
                *kept.lock().expect("nobody panicked") = number(&session).await;
            };
            run(Case::new(format!("number_{number_of_test}"), kind), || table("ended"), work);
            let id = last.lock().expect("nobody panicked").clone();
            let statement = match kind {
                Kind::Postgres => format!("SELECT pg_terminate_backend({id})"),
                _ => format!("KILL {id}"),
            };
            runtime.block_on(async {
                let mut client = Client::connect(&server.url().reveal()).await;
                // The reset may have ended it already.
                drop(client.try_execute(&statement).await);
                client.close().await;
            });
        }
    }

    on!(they_are_replaced on every server);
}

/// What a test has not asked for is not what it left open.
mod though_the_next_test_needs_none {
    use freshdb::test::Guarded;

    use super::*;

    fn they_are_left_alone(kind: Kind) {
        for number in 0..TESTS {
            let work = async move |engine: OrmEngine| {
                for _ in 0..number % 2 {
                    let (one, other) = (engine.session().await.expect("one"), engine.session().await.expect("another"));
                    one.execute_unprepared("INSERT INTO needed VALUES (1, 'a')").await.expect("a row");
                    other.execute_unprepared("INSERT INTO needed VALUES (2, 'b')").await.expect("a row");
                }
            };
            run(Case::new(format!("number_{number}"), kind), || table("needed"), work);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let guarded = Guarded::lease(kind, table("needed")).await.expect("a database");
                guarded.end().await.expect("nothing is left open");
            });
        }
    }

    on!(they_are_left_alone on every server);
}
