//! What tests get: a database that is theirs alone, as its schema leaves it.

use std::thread;

use freshdb::OrmEngine;
use freshdb::test::{Case, Kind, run};
use sea_orm::{ConnectionTrait as _, Statement};

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
