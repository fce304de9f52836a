//! What tests get: a database that is theirs alone, as its schema leaves it.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use freshdb::OrmEngine;
use freshdb::test::{Case, Kind, Lease, run};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use super::tags;

/// Stores the row that all others store too.
async fn alone(engine: OrmEngine) {
    engine.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('mine')").await.expect("nobody else has stored it");
    let count = Statement::from_string(engine.get_database_backend(), "SELECT COUNT(*) AS count FROM tags");
    let rows = engine.query_all_raw(count).await.expect("rows");
    let count: i64 = rows[0].try_get("", "count").expect("a number");
    assert_eq!(count, 1);
}

/// Two hundred tests on eight threads never see each other's rows.
mod two_hundred_in_parallel {
    use super::{Case, Kind, alone, run, tags, thread};

    fn all(kind: Kind) {
        thread::scope(|scope| {
            for worker in 0..8 {
                scope.spawn(move || {
                    for number in 0..25 {
                        run(Case::new(format!("number_{worker}_{number}"), kind), tags, alone);
                    }
                });
            }
        });
    }

    on!(all on every engine);
}

/// With TLS, which MySQL offers and sqlx speaks where it was built to, to connect would take longer than most tests.
mod nothing_is_encrypted_on_this_machine {
    use super::*;

    const CIPHER: &str = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";

    async fn is_plain(connection: &impl ConnectionTrait) {
        let cipher = Statement::from_string(connection.get_database_backend(), CIPHER);
        let rows = connection.query_all_raw(cipher).await.expect("rows");
        let cipher: String = rows[0].try_get("", "Value").expect("a text");
        assert_eq!(cipher, "");
    }

    fn case(kind: Kind) {
        run(Case::new("an_engine", kind), tags, async |engine: OrmEngine| is_plain(&engine).await);
        run(Case::new("a_pool", kind), tags, async |pool: DatabaseConnection| is_plain(&pool).await);
    }

    on!(case: mysql Mysql);
}

/// A thread that was left behind may go on, and write, at any time.
mod nobody_gets_what_a_thread_that_was_left_behind_may_write_to {
    use super::*;

    const TESTS: usize = 10;
    const LIMIT: Duration = Duration::from_millis(200);

    fn case(kind: Kind) {
        let (sender, names) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let tell = sender.clone();
        let blocked = Case::new("blocks", kind).timeout(LIMIT).grace(LIMIT);
        let blocks = async move |lease: Lease| {
            tell.send(lease.name().to_owned()).expect("somebody hears it");
            released.recv().expect_err("it is released by dropping the other end");
        };
        catch_unwind(AssertUnwindSafe(|| run(blocked, tags, blocks))).expect_err("it fails");
        let left_to_it = names.recv().expect("its database's name");

        for number in 0..TESTS {
            let tell = sender.clone();
            run(Case::new(format!("number_{number}"), kind), tags, async move |lease: Lease| {
                tell.send(lease.name().to_owned()).expect("somebody hears it");
            });
        }
        drop(release);
        let others: HashSet<String> = names.try_iter().collect();
        assert!(!others.contains(&left_to_it), "{left_to_it} is among {others:?}");
    }

    on!(case on every engine);
}
