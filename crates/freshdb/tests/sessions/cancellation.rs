//! Futures that are dropped at any of their awaits: the next user of the connection does not notice.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row as _};
use test_support::{FAIR, Weather, eventually};
use tokio::time::timeout;

use crate::harness::{
    CLOSE, Network, all_are_in_order, all_come_back, at_every_await, drop_after, number, patient, unique,
};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, name VARCHAR(20))";
const FILL: &str = "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')";

/// So slow that an answer is never there when it is asked for.
const SLOW: Weather = Weather::Delay(Duration::from_millis(5));

/// In pieces smaller than most packets.
const TRICKLE: Weather = Weather::Trickle(11);

with_every_driver! {
    async fn a_session_that_nobody_waits_for_any_more(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        let mut observer = database.observer().await;
        let network = Network::to(database).await;

        // A connection is made.
        at_every_await(async |polls| {
            network.set(SLOW);
            let engine = open(network.url(), patient().max_connections(2));
            let done = drop_after(polls, engine.session()).await.is_some();
            network.set(FAIR);
            all_are_in_order(&engine, &mut observer, &format!("{polls} polls of a session")).await;
            all_come_back(&engine).await;
            engine.close(CLOSE).await.expect("nothing leaks");
            done
        })
        .await;

        // The only connection is in use.
        let engine = open(network.url(), patient().max_connections(1));
        for polls in 0..3 {
            let session = engine.session().await.expect("a session");
            let (waiting, begin) = (engine.session(), engine.begin());
            let both = async { tokio::join!(drop_after(polls, waiting), drop_after(polls, begin)) };
            let (waiting, begin) = timeout(Duration::from_millis(20), both).await.unwrap_or_default();
            assert!(waiting.is_none() && begin.is_none());
            drop(session);
            all_are_in_order(&engine, &mut observer, &format!("{polls} polls in the queue")).await;
        }
        all_come_back(&engine).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// After a loss every idle connection is asked first. A file's connections are not lost.
    async fn a_session_dropped_while_its_connection_is_asked(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        let mut observer = database.observer().await;
        let network = Network::to(database).await;
        let engine = open(network.url(), patient().max_connections(2));
        let mut session = engine.session().await.expect("a session");
        observer.kill(session.connection_id().expect("a server's number")).await;
        number(&mut session, "SELECT 1").await.expect_err("it was ended");
        drop(session);
        all_are_in_order(&engine, &mut observer, "a loss").await;
        all_come_back(&engine).await;
        let polls = at_every_await(async |polls| {
            network.set(SLOW);
            let done = drop_after(polls, engine.session()).await.is_some();
            network.set(FAIR);
            all_are_in_order(&engine, &mut observer, &format!("{polls} polls of a session")).await;
            all_come_back(&engine).await;
            done
        })
        .await;
        assert!(polls > 1, "nothing was asked");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    async fn a_transaction_that_nobody_waits_for_any_more(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        let mut observer = database.observer().await;
        let network = Network::to(database).await;
        let engine = open(network.url(), patient().max_connections(2));
        for how in ["begin", "session.begin", "begin_with", "savepoint"] {
            at_every_await(async |polls| {
                let session = engine.session().await.expect("a session");
                network.set(SLOW);
                let done = match how {
                    "begin" => {
                        drop(session);
                        drop_after(polls, engine.begin()).await.is_some_and(|tx| tx.is_ok())
                    }
                    "session.begin" => drop_after(polls, session.begin()).await.is_some_and(|tx| tx.is_ok()),
                    "begin_with" => drop_after(polls, session.begin_with("BEGIN")).await.is_some_and(|tx| tx.is_ok()),
                    _ => {
                        let mut tx = session.begin().await.expect("a transaction");
                        let row = format!("INSERT INTO items (id) VALUES ({})", unique());
                        sqlx::query(AssertSqlSafe(row)).execute(&mut tx).await.expect("a row");
                        drop_after(polls, tx.savepoint()).await.is_some_and(|savepoint| savepoint.is_ok())
                    }
                };
                network.set(FAIR);
                all_are_in_order(&engine, &mut observer, &format!("{polls} polls of {how}")).await;
                done
            })
            .await;
        }
        all_come_back(&engine).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    async fn an_end_that_nobody_waits_for_any_more(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        let mut observer = database.observer().await;
        let network = Network::to(database).await;
        let engine = open(network.url(), patient().max_connections(2));
        for how in ["commit", "rollback", "savepoint.commit", "savepoint.rollback"] {
            at_every_await(async |polls| {
                let mut tx = engine.begin().await.expect("a transaction");
                let (one, other) = (unique(), unique());
                for id in [one, other] {
                    let row = AssertSqlSafe(format!("INSERT INTO items (id) VALUES ({id})"));
                    sqlx::query(row).execute(&mut tx).await.expect("a row");
                }
                let done = match how {
                    "commit" => {
                        network.set(SLOW);
                        drop_after(polls, tx.commit()).await.is_some_and(|end| end.is_ok())
                    }
                    "rollback" => {
                        network.set(SLOW);
                        drop_after(polls, tx.rollback()).await.is_some_and(|end| end.is_ok())
                    }
                    _ => {
                        let mut tx = tx;
                        let savepoint = tx.savepoint().await.expect("a savepoint");
                        network.set(SLOW);
                        let end = async {
                            if how == "savepoint.commit" { savepoint.commit().await } else { savepoint.rollback().await }
                        };
                        drop_after(polls, end).await.is_some_and(|end| end.is_ok())
                    }
                };
                network.set(FAIR);
                all_are_in_order(&engine, &mut observer, &format!("{polls} polls of {how}")).await;
                all_come_back(&engine).await;
                let stored = observer.number(&format!("SELECT COUNT(*) FROM items WHERE id IN ({one}, {other})")).await;
                match (how, done) {
                    ("commit", true) => assert_eq!(stored, 2),
                    ("commit", false) => assert!(stored == 0 || stored == 2, "half of it is stored: {stored}"),
                    (_, _) => assert_eq!(stored, 0, "after {polls} polls of {how}"),
                }
                done
            })
            .await;
        }
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

/// Runs a statement in one of the executor's ways, and gives the numbers of its rows. Its text is new, so that it is
/// prepared.
macro_rules! run {
    ($how:expr, $executor:expr, $sql:expr, $rows:expr) => {
        async {
            let query = sqlx::query(AssertSqlSafe($sql)).bind(10_i64);
            Ok::<_, sqlx::Error>(match $how {
                "fetch_all" => query.fetch_all($executor).await?.iter().map(|row| row.get_unchecked(0)).collect(),
                "fetch_one" => vec![query.fetch_one($executor).await?.get_unchecked::<i64, _>(0)],
                "fetch_optional" => {
                    query.fetch_optional($executor).await?.iter().map(|row| row.get_unchecked(0)).collect()
                }
                "execute" => {
                    query.execute($executor).await?;
                    Vec::new()
                }
                "fetch" => {
                    let mut stream = query.fetch($executor);
                    let mut numbers = Vec::new();
                    while numbers.len() < $rows
                        && let Some(row) = stream.try_next().await?
                    {
                        numbers.push(row.get_unchecked(0));
                    }
                    numbers
                }
                other => panic!("{other}?"),
            })
        }
    };
}

/// In which ways, and how many rows come.
const WAYS: [(&str, usize); 6] =
    [("fetch_all", 3), ("fetch_one", 1), ("fetch_optional", 1), ("execute", 0), ("fetch", 1), ("fetch", 2)];

/// Rows whose numbers nobody else gets, in a statement that nobody else has prepared; and the first of those numbers.
fn question(parameter: &str, rows: usize) -> (String, Vec<i64>) {
    let base = unique() * 10;
    let sql = format!("SELECT id + {base} FROM items WHERE id < {parameter} ORDER BY id");
    (sql, (base + 1..).take(rows).collect())
}

with_every_driver! {
    /// A session whose statement was dropped half-way gives no answer any more, and never another statement's.
    async fn a_statement_on_a_session_that_nobody_waits_for_any_more(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        database.execute(FILL).await;
        let mut observer = database.observer().await;
        let network = Network::to(database).await;
        let engine = open(network.url(), patient().max_connections(2));
        let trickle = [WAYS[1], WAYS[4]].map(|way| (TRICKLE, way));
        for (weather, (how, rows)) in WAYS.map(|way| (SLOW, way)).into_iter().chain(trickle) {
            at_every_await(async |polls| {
                let mut session = engine.session().await.expect("a session");
                let (sql, expected) = question(database.parameter(), rows);
                network.set(weather);
                let answer = drop_after(polls, run!(how, &mut session, sql, rows)).await;
                network.set(FAIR);
                let done = answer.is_some();
                if let Some(answer) = answer {
                    assert_eq!(answer.expect("rows"), expected);
                }
                let asked = unique();
                match number(&mut session, &format!("SELECT {asked}")).await {
                    Ok(answer) => {
                        assert_eq!(answer, asked, "after {polls} polls of {how}");
                        assert!(done || polls == 0, "a statement was under way");
                    }
                    Err(error) => {
                        let error = freshdb::Error::within(&error).expect("freshdb's own error").to_string();
                        assert!(error.contains("dropped before its answer came") && !done, "{error}");
                    }
                }
                drop(session);
                all_are_in_order(&engine, &mut observer, &format!("{polls} polls of {how}")).await;
                done
            })
            .await;
        }
        all_come_back(&engine).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// What is executed on the driver's connection is out of the session's sight, and on an engine it has one of its own.
    async fn a_statement_elsewhere_that_nobody_waits_for_any_more(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        database.execute(FILL).await;
        let mut observer = database.observer().await;
        let network = Network::to(database).await;
        let engine = open(network.url(), patient().max_connections(2));
        for (how, rows) in WAYS {
            for lent in [false, true] {
                at_every_await(async |polls| {
                    let (sql, expected) = question(database.parameter(), rows);
                    let session = engine.session().await.expect("a session");
                    network.set(SLOW);
                    let answer = if lent {
                        let mut session = session;
                        drop_after(polls, run!(how, &mut *session, sql, rows)).await
                    } else {
                        drop(session);
                        drop_after(polls, run!(how, &engine, sql, rows)).await
                    };
                    network.set(FAIR);
                    let done = answer.is_some();
                    if let Some(answer) = answer {
                        assert_eq!(answer.expect("rows"), expected);
                    }
                    all_are_in_order(&engine, &mut observer, &format!("{polls} polls of {how}, lent: {lent}")).await;
                    done
                })
                .await;
            }
        }
        all_come_back(&engine).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// MySQL's driver notes the end of a statement only when it is asked for what comes after the result.
    async fn a_stream_dropped_with_its_result(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        let mut observer = database.observer().await;
        let engine = open(database.url(), patient().max_connections(1));
        let mut session = engine.session().await.expect("a session");
        let result = sqlx::raw_sql(FILL).fetch_many(&mut session).try_next().await.expect("a result");
        assert!(result.is_some_and(|item| item.is_left()));
        let asked = unique();
        match timeout(CLOSE, number(&mut session, &format!("SELECT {asked}"))).await.expect("an answer, or none") {
            Ok(answer) => assert_eq!(answer, asked),
            Err(error) => assert!(freshdb::Error::within(&error).is_some(), "{error}"),
        }
        drop(session);
        all_are_in_order(&engine, &mut observer, "a result").await;
        all_come_back(&engine).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// Whoever loses patience takes a new session; whoever does not may go on with the one there is.
    async fn sessions_in_a_loop_of_timeouts(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        let mut observer = database.observer().await;
        let network = Network::to(database).await;
        let engine = open(network.url(), patient().max_connections(2));
        network.set(Weather::Delay(Duration::from_millis(2)));
        let mut session = engine.session().await.expect("a session");
        let (mut answered, mut given_up) = (0, 0);
        for round in 0..60 {
            let asked = unique();
            let sql = format!("SELECT {asked}");
            let patience = Duration::from_millis(round % 10);
            let answer = if round % 2 == 0 {
                timeout(patience, number(&mut session, &sql)).await.ok()
            } else {
                tokio::select! {
                    answer = number(&mut session, &sql) => Some(answer),
                    () = tokio::time::sleep(patience) => None,
                }
            };
            if let Some(answer) = answer {
                assert_eq!(answer.expect("an answer"), asked);
                answered += 1;
            } else {
                session = engine.session().await.expect("a session");
                given_up += 1;
            }
        }
        // A file answers at once.
        assert!(answered > 0 && (given_up > 0 || database.engine == Kind::Sqlite), "{answered}, {given_up}");
        drop(session);
        network.set(FAIR);
        all_are_in_order(&engine, &mut observer, "timeouts").await;
        all_come_back(&engine).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [postgres]
    /// As a pooler has it: whose connection is closed first has given its server's session to somebody else, who is then ended.
    async fn a_session_is_ended_while_its_connection_is_open(database: &TestDatabase, open: Open) {
        const TIMES: u32 = 5;

        let mut observer = database.observer().await;
        let sql = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'pg_stat_database'::regclass AND attname = 'sessions_killed'";
        if observer.number(sql).await == 0 {
            test_support::say("postgres: how sessions end is NOT tested: this server does not count that");
            return;
        }
        let engine = open(database.url(), patient());
        // The answer may be there at once, and then nothing is to be ended.
        while engine.stats().cancellations < u64::from(TIMES) {
            let mut session = engine.session().await.expect("a session");
            drop_after(1, number(&mut session, "SELECT 1")).await;
            drop(session);
        }
        eventually("all of them have ended", async || {
            let sql = "SELECT sessions_killed + sessions_abandoned FROM pg_stat_database WHERE datname = current_database()";
            observer.number(sql).await >= i64::from(TIMES)
        })
        .await;
        let sql = "SELECT sessions_abandoned FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(observer.number(sql).await, 0, "none was left to itself");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}
