//! A transaction of a session's own begins and ends where the database says so, and not where a statement has asked for it.

use freshdb::OrmEngine;
use sea_orm::ConnectionTrait as _;

use super::tags;

#[freshdb::test(schema = tags(), on = [sqlite])]
async fn a_beginning_that_was_refused_begins_nothing(engine: OrmEngine) {
    let (writer, refused) = (engine.session().await.expect("a session"), engine.session().await.expect("another"));
    refused.execute_unprepared("PRAGMA busy_timeout = 0").await.expect("it is set");
    writer.execute_unprepared("BEGIN IMMEDIATE").await.expect("it begins");
    refused.execute_unprepared("BEGIN IMMEDIATE").await.expect_err("it is locked");
    writer.execute_unprepared("BEGIN").await.expect_err("it has begun");
    writer.execute_unprepared("ROLLBACK").await.expect("it ends");
}

/// There is nothing to be committed, which is an error on SQLite.
#[freshdb::test(schema = tags(), on = [sqlite])]
async fn what_a_conflict_has_rolled_back_is_over(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    for sql in ["BEGIN", "INSERT INTO tags (tag_id) VALUES ('a')"] {
        session.execute_unprepared(sql).await.expect("it is executed");
    }
    for sql in ["INSERT OR ROLLBACK INTO tags (tag_id) VALUES ('a')", "COMMIT"] {
        session.execute_unprepared(sql).await.expect_err("there is such a tag, and no transaction");
    }
}

/// Servers roll back what they do not commit.
#[freshdb::test(schema = tags(), on = [postgres])]
async fn a_commit_that_a_server_has_refused_is_an_end(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    for sql in [
        "CREATE TABLE names (tag_id VARCHAR(50) REFERENCES tags DEFERRABLE INITIALLY DEFERRED)",
        "BEGIN",
        "INSERT INTO names VALUES ('no such tag')",
    ] {
        session.execute_unprepared(sql).await.expect("it is executed");
    }
    session.execute_unprepared("COMMIT").await.expect_err("there is no such tag");
}
