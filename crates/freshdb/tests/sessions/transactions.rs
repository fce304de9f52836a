//! What is stored, and what is not.

use std::sync::atomic::{AtomicBool, Ordering};

use freshdb::Verdict;
use sqlx::{Connection as _, Row as _};
use test_support::{FAIR, Proxy, Weather, eventually};

use crate::harness::{CLOSE, patient};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, name VARCHAR(20))";
const COUNT: &str = "SELECT COUNT(*) FROM items";

with_every_driver! {
    async fn a_transaction_is_stored_just_if_it_was_committed(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");

        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        let mut session = tx.commit().await.expect("it commits");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
        assert_eq!(count, 1);

        let mut tx = session.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (2, 'b')").execute(&mut tx).await.expect("a row");
        let mut session = tx.rollback().await.expect("it rolls back");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
        assert_eq!(count, 1);
        drop(session);

        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (3, 'c')").execute(&mut tx).await.expect("a row");
        drop(tx);
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&engine).await.expect("a count");
        assert_eq!(count, 1);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// The locks of a transaction that was dropped are gone, though nobody has used its connection since.
    async fn a_dropped_transaction_is_rolled_back_at_once(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        drop(tx);
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// Begun with a statement of one's own, by text or on the driver's connection, it ends with the session all the same.
    async fn a_transaction_begun_by_hand_does_not_outlive_its_session(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        for lent in [false, true] {
            let mut session = engine.session().await.expect("a session");
            let id = session.connection_id();
            for sql in ["BEGIN", "INSERT INTO items VALUES (1, 'a')"] {
                if lent {
                    sqlx::raw_sql(sql).execute(&mut *session).await.expect("it is executed");
                } else {
                    sqlx::raw_sql(sql).execute(&mut session).await.expect("it is executed");
                }
            }
            drop(session);
            let mut session = engine.session().await.expect("a session");
            assert_eq!(session.connection_id(), id, "the connection is kept");
            let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
            assert_eq!(count, 0, "lent: {lent}");
            sqlx::query("INSERT INTO items VALUES (2, 'b')").execute(&mut session).await.expect("a row");
            drop(session);
            database.execute("DELETE FROM items WHERE id = 2").await;
        }
        assert_eq!(engine.stats().cancellations, 0);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    async fn a_savepoint_is_undone_by_itself(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        let mut kept = tx.savepoint().await.expect("a savepoint");
        sqlx::query("INSERT INTO items VALUES (2, 'b')").execute(&mut kept).await.expect("a row");
        let mut undone = kept.savepoint().await.expect("a savepoint");
        sqlx::query("INSERT INTO items VALUES (3, 'c')").execute(&mut undone).await.expect("a row");
        undone.rollback().await.expect("it rolls back");
        let mut dropped = kept.savepoint().await.expect("a savepoint");
        sqlx::query("INSERT INTO items VALUES (4, 'd')").execute(&mut dropped).await.expect("a row");
        drop(dropped);
        kept.commit().await.expect("it commits");
        let mut session = tx.commit().await.expect("it commits");
        let rows = sqlx::query("SELECT name FROM items ORDER BY id").fetch_all(&mut session).await.expect("rows");
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(names, ["a", "b"]);
        drop(session);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [postgres]
    /// PostgreSQL answers the COMMIT of a transaction that an error has aborted as if nothing had happened.
    async fn a_transaction_that_the_database_has_undone_does_not_commit(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        sqlx::query("INSERT INTO items VALUES (1, 'b')").execute(&mut tx).await.expect_err("a duplicate");
        let error = tx.commit().await.expect_err("it was undone");
        assert!(error.is_aborted(), "{error:?}");

        // A savepoint takes the error with it.
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        let mut attempt = tx.savepoint().await.expect("a savepoint");
        sqlx::query("INSERT INTO items VALUES (1, 'b')").execute(&mut attempt).await.expect_err("a duplicate");
        attempt.rollback().await.expect("it rolls back");
        tx.commit().await.expect("it commits");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&engine).await.expect("a count");
        assert_eq!(count, 1);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [postgres]
    /// The driver undoes what is around a savepoint that it could not set, and what is executed next would be stored at once.
    async fn what_follows_a_savepoint_that_was_refused_is_not_stored(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let fails = "SELECT nothing FROM nowhere";

        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query(fails).execute(&mut tx).await.expect_err("there is no such table");
        let error = tx.savepoint().await.map(drop).expect_err("the transaction is aborted");
        assert!(error.is_aborted(), "{error:?}");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect_err("it is aborted still");
        let session = tx.rollback().await.expect("it rolls back");

        let mut tx = session.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (2, 'b')").execute(&mut tx).await.expect("a row");
        let mut savepoint = tx.savepoint().await.expect("a savepoint");
        sqlx::query(fails).execute(&mut savepoint).await.expect_err("there is no such table");
        savepoint.savepoint().await.map(drop).expect_err("the transaction is aborted");
        savepoint.rollback().await.expect("it rolls back");
        sqlx::query("INSERT INTO items VALUES (3, 'c')").execute(&mut tx).await.expect("it goes on");
        let session = tx.commit().await.expect("it commits");

        // An error on a connection that was lent out is not seen, but what the driver does then is.
        let mut tx = session.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (4, 'd')").execute(&mut tx).await.expect("a row");
        sqlx::query(fails).execute(&mut *tx).await.expect_err("there is no such table");
        tx.savepoint().await.map(drop).expect_err("the transaction is aborted");
        sqlx::query("INSERT INTO items VALUES (5, 'e')").execute(&mut tx).await.expect_err("it is gone");
        let session = tx.rollback().await.expect("it rolls back");
        assert_eq!(database.open_transactions().await, 0, "it is over on the server");
        drop(session);
        let mut observer = database.observer().await;
        assert_eq!(observer.numbers("SELECT id FROM items ORDER BY id").await, [2, 3]);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// What a statement does beside beginning a transaction stays with the session that it was for.
    async fn what_a_beginning_of_ones_own_leaves_behind_is_not_the_next_users(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut observer = database.observer().await;
        let (deeds, is_locked) = match database.engine {
            Kind::Postgres => (
                ["BEGIN; SELECT pg_advisory_lock(7)", "-- why\nSELECT pg_advisory_lock(7); BEGIN;"],
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
            ),
            _ => (
                ["SET autocommit = 0; BEGIN", "DO GET_LOCK('freshdb_test', 1); BEGIN"],
                "SELECT CAST(IS_USED_LOCK('freshdb_test') IS NOT NULL AS SIGNED)",
            ),
        };
        for (id, deed) in (1..).zip(deeds) {
            let session = engine.begin_with(deed).await.expect("a transaction").commit().await.expect("it commits");
            let number = session.connection_id();
            drop(session);
            let mut session = engine.session().await.expect("a session");
            assert_eq!(session.connection_id(), number, "{deed}: the connection is kept");
            let insert = sqlx::AssertSqlSafe(format!("INSERT INTO items VALUES ({id}, 'a')"));
            sqlx::raw_sql(insert).execute(&mut session).await.expect("a row");
            let seen = observer.number(&format!("SELECT COUNT(*) FROM items WHERE id = {id}")).await;
            assert_eq!(seen, 1, "after {deed}: a row that nobody else sees");
            assert_eq!(observer.number(is_locked).await, 0, "after {deed}: a lock");
        }
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// The second time, it could write.
    async fn work_is_run_again_in_a_transaction_that_begins_alike(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        for on_a_session in [false, true] {
            let begin = "START TRANSACTION READ ONLY";
            let tx = if on_a_session {
                engine.session().await.expect("a session").begin_with(begin).await.expect("a transaction")
            } else {
                engine.begin_with(begin).await.expect("a transaction")
            };
            let work = tokio::spawn(async move {
                tx.run(async |mut tx| {
                    sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await?;
                    tx.commit().await?;
                    Ok::<_, sqlx::Error>(())
                })
                .await
            });
            let done = work.await.expect("it ends");
            assert_eq!(Verdict::of(&done.expect_err("it only reads")), Verdict::ReadOnly);
        }
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&engine).await.expect("a count");
        assert_eq!(count, 0);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// The driver's own transaction on a session's connection is a transaction too.
    async fn the_drivers_own_transaction_works_on_a_session(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut session = engine.session().await.expect("a session");
        let mut driver = (*session).begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut *driver).await.expect("a row");
        drop(driver);
        drop(session);
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&engine).await.expect("a count");
        assert_eq!(count, 0);
        let tx = engine.begin().await.expect("a transaction, and not a savepoint of the driver's");
        tx.commit().await.expect("it commits");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb]
    /// A deadlock undoes the whole transaction, and what is executed next would be stored at once, whatever becomes of the
    /// rest.
    async fn a_transaction_that_is_gone_takes_no_more_statements(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        sqlx::query("INSERT INTO items VALUES (1, 'a'), (2, 'b')").execute(&engine).await.expect("rows");
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(2));
        let cross = |first: &'static str, second: &'static str| {
            let (engine, barrier) = (engine.clone(), barrier.clone());
            tokio::spawn(async move {
                let mut tx = engine.begin().await.expect("a transaction");
                sqlx::query(first).execute(&mut tx).await.expect("it is executed");
                let mut savepoint = tx.savepoint().await.expect("a savepoint");
                barrier.wait().await;
                if sqlx::query(second).execute(&mut savepoint).await.is_ok() {
                    savepoint.commit().await.expect("it commits");
                    tx.commit().await.expect("it commits");
                    return false;
                }
                let error = sqlx::query("INSERT INTO items VALUES (3, 'c')").execute(&mut savepoint).await;
                let error = error.expect_err("the transaction is gone");
                assert!(freshdb::Error::within(&error).is_some_and(freshdb::Error::is_aborted), "{error:?}");
                savepoint.rollback().await.expect("it rolls back");
                sqlx::query("INSERT INTO items VALUES (4, 'd')").execute(&mut tx).await.expect_err("it is gone still");
                let mut session = tx.rollback().await.expect("it rolls back");
                let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
                assert_eq!(count, 2);
                // And the session is as good as new.
                drop(session.begin().await.expect("a transaction"));
                true
            })
        };
        let (one, two) = ("UPDATE items SET name = 'x' WHERE id = 1", "UPDATE items SET name = 'x' WHERE id = 2");
        let (first, second) = tokio::join!(cross(one, two), cross(two, one));
        let lost = [first.expect("it ends"), second.expect("it ends")];
        assert_eq!(lost.iter().filter(|lost| **lost).count(), 1, "one of two loses: {lost:?}");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [sqlite, postgres]
    /// A deferred constraint is looked at when the transaction ends, which a statement of its own does after its rows.
    async fn a_row_that_is_refused_in_the_end_is_no_answer(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query("CREATE TABLE parents (id INTEGER PRIMARY KEY)").execute(&engine).await.expect("a table");
        let create = "CREATE TABLE items (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)";
        sqlx::query(create).execute(&engine).await.expect("a table");
        let mut session = engine.session().await.expect("a session");
        for rows in ["(1)", "(1), (2)"] {
            let insert = sqlx::AssertSqlSafe(format!("INSERT INTO items VALUES {rows} RETURNING parent"));
            let insert = sqlx::SqlSafeStr::into_sql_str(insert);
            sqlx::query(insert.clone()).fetch_one(&engine).await.map(drop).expect_err("there is no such parent");
            sqlx::query(insert.clone()).fetch_optional(&mut session).await.map(drop).expect_err("there is no such parent");
            sqlx::raw_sql(insert).fetch_one(&mut session).await.map(drop).expect_err("there is no such parent");
        }
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
        assert_eq!(count, 0);
        drop(session);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [sqlite, mariadb, postgres]
    /// A server may send the first rows before it looks at the last. MySQL has no such statement.
    async fn the_first_of_several_rows_is_no_answer_if_the_last_is_refused(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let insert = "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c'), (1, 'd') RETURNING id";
        sqlx::query(insert).fetch_one(&engine).await.map(drop).expect_err("a duplicate");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&engine).await.expect("a count");
        assert_eq!(count, 0);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [sqlite]
    /// The driver goes on counting a transaction that SQLite has ended, and would take the next one for a savepoint in it.
    async fn a_connection_whose_transaction_has_ended_by_itself_takes_another(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        for end in ["INSERT OR ROLLBACK INTO items VALUES (1, 'b')", "ROLLBACK", "COMMIT"] {
            let mut tx = engine.begin().await.unwrap_or_else(|error| panic!("before {end}: {error:?}"));
            sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
            assert_eq!(sqlx::query(end).execute(&mut tx).await.is_err(), end.starts_with("INSERT"), "{end}");
            drop(tx);
            let tx = engine.begin().await.unwrap_or_else(|error| panic!("after {end}: {error:?}"));
            tx.commit().await.unwrap_or_else(|error| panic!("after {end}: {error:?}"));
        }
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [sqlite]
    /// What is executed after a rollback that a statement asked for in case of an error would be stored at once.
    async fn a_transaction_that_a_conflict_rolled_back_takes_no_more_statements(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let conflict = "INSERT OR ROLLBACK INTO items VALUES (1, 'b')";
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        let mut savepoint = tx.savepoint().await.expect("a savepoint");
        sqlx::query(conflict).execute(&mut savepoint).await.expect_err("a duplicate");
        let error = sqlx::query("INSERT INTO items VALUES (2, 'c')").execute(&mut savepoint).await;
        let error = error.expect_err("the transaction is gone");
        assert!(freshdb::Error::within(&error).is_some_and(freshdb::Error::is_aborted), "{error:?}");
        savepoint.rollback().await.expect("it rolls back");
        sqlx::query("INSERT INTO items VALUES (3, 'd')").execute(&mut tx).await.expect_err("it is gone still");
        let mut session = tx.rollback().await.expect("it rolls back");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
        assert_eq!(count, 0);

        // An error that undoes its own statement alone leaves the next transaction as it is.
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut session).await.expect("a row");
        sqlx::query("INSERT INTO items VALUES (1, 'b')").execute(&mut session).await.expect_err("a duplicate");
        let mut tx = session.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'b')").execute(&mut tx).await.expect_err("a duplicate");
        sqlx::query("INSERT INTO items VALUES (2, 'b')").execute(&mut tx).await.expect("a row");
        let mut session = tx.commit().await.expect("it commits");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
        assert_eq!(count, 2);
        drop(session);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// Whoever waits for a session does not have what those wait for who have one.
    async fn a_session_can_begin_while_another_transaction_waits_for_it(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        let session = engine.session().await.expect("a session");
        let mut other = std::pin::pin!(engine.begin());
        tokio::select! {
            biased;
            other = &mut other => panic!("there is no session for it, but {other:?}"),
            () = std::future::ready(()) => {}
        }
        let tx = session.begin().await.expect("a transaction");
        drop(tx.commit().await.expect("it commits"));
        other.await.expect("a transaction").commit().await.expect("it commits");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb]
    /// No test fills the memory for locks; its error can be had without. BEGIN would commit what that has not undone.
    async fn a_transaction_that_had_too_many_locks_takes_no_more_statements(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        let full = sqlx::raw_sql("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1206").execute(&mut tx).await;
        full.expect_err("the memory for locks is full");
        let error = sqlx::query("INSERT INTO items VALUES (2, 'b')").execute(&mut tx).await;
        let error = error.expect_err("the transaction is gone");
        assert!(freshdb::Error::within(&error).is_some_and(freshdb::Error::is_aborted), "{error:?}");
        let mut session = tx.rollback().await.expect("it rolls back");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut session).await.expect("a count");
        assert_eq!(count, 0);
        drop(session);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql]
    /// There is no group here; its error can be had without.
    async fn work_that_lost_against_another_member_of_the_group_is_run_again(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let refused = AtomicBool::new(false);
        let tx = engine.begin().await.expect("a transaction");
        let stored: Result<(), sqlx::Error> = tx
            .run(async |mut tx| {
                sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await?;
                if !refused.swap(true, Ordering::Relaxed) {
                    sqlx::raw_sql("SIGNAL SQLSTATE '40000' SET MYSQL_ERRNO = 3101").execute(&mut tx).await?;
                }
                Ok(tx.commit().await.map(drop)?)
            })
            .await;
        stored.expect("nobody else wrote them this time");
        assert_eq!(database.observer().await.number(COUNT).await, 1);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb]
    /// A session may set, or say, that the end of a transaction begins another one, or ends the session. That is not the next
    /// user's.
    async fn a_rollback_that_begins_a_transaction_is_not_the_next_users(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut observer = database.observer().await;
        let deeds = [
            "SET completion_type = 'CHAIN'",
            "SET completion_type = 'CHAIN'; BEGIN",
            "BEGIN; ROLLBACK AND CHAIN",
            "BEGIN; COMMIT AND CHAIN",
            "SET completion_type = 'RELEASE'",
        ];
        for (id, deed) in (1..).zip(deeds) {
            let mut session = engine.session().await.expect("a session");
            let number = session.connection_id();
            sqlx::raw_sql(deed).execute(&mut session).await.expect("it is executed");
            drop(session);
            let mut session = engine.session().await.expect("a session");
            assert_eq!(session.connection_id(), number, "{deed}: the connection is kept");
            let insert = sqlx::AssertSqlSafe(format!("INSERT INTO items VALUES ({id}, 'a')"));
            sqlx::raw_sql(insert).execute(&mut session).await.expect("a row");
            let seen = observer.number(&format!("SELECT COUNT(*) FROM items WHERE id = {id}")).await;
            assert_eq!(seen, 1, "after {deed}: a row that nobody else sees");
        }
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb]
    /// <https://dev.mysql.com/doc/refman/9.7/en/implicit-commit.html>
    async fn a_transaction_that_a_statement_has_ended_says_so(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        for ends in ["CREATE TABLE another (id INT)", "DROP TABLE another", "COMMIT", "ROLLBACK", "BEGIN"] {
            for commits in [true, false] {
                let begun = if commits { engine.begin().await } else { engine.begin_with("START TRANSACTION -- mine").await };
                let mut tx = begun.expect("a transaction");
                sqlx::query("UPDATE items SET name = 'a'").execute(&mut tx).await.expect("no row");
                let sql = if commits { ends } else { "ALTER TABLE items COMMENT 'b'" };
                sqlx::raw_sql(sql).execute(&mut tx).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
                let end = if commits { tx.commit().await } else { tx.rollback().await };
                let error = end.map(drop).expect_err("it had ended");
                assert!(error.is_aborted(), "{sql}: {error:?}");
                insta::allow_duplicates! {
                    insta::assert_snapshot!(format!("{error:?}"), @r"
                    a statement in the transaction had ended it: what came before that is stored or undone, and what came after is stored
                    hint: DDL, LOCK TABLES, and COMMIT or ROLLBACK by text end a transaction, and a procedure's handler may hide a deadlock: keep them out of it
                    ");
                }
            }
        }
        // What is looked into and ends nothing is no reason to refuse, whatever it does with savepoints.
        let mut tx = engine.begin().await.expect("a transaction");
        for sql in ["SET @a = 1", "SAVEPOINT freshdb", "INSERT INTO items VALUES (1, 'a')", "ROLLBACK TO SAVEPOINT freshdb"] {
            sqlx::raw_sql(sql).execute(&mut tx).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let mut savepoint = tx.savepoint().await.expect("a savepoint");
        for sql in ["DO 1", "INSERT INTO items VALUES (2, 'b')", "SAVEPOINT freshdb", "RELEASE SAVEPOINT freshdb"] {
            sqlx::raw_sql(sql).execute(&mut savepoint).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let inner = savepoint.savepoint().await.expect("another");
        inner.rollback().await.expect("it rolls back");
        savepoint.commit().await.expect("it commits");
        let session = tx.commit().await.expect("it commits");
        let mut tx = session.begin().await.expect("a transaction");
        sqlx::raw_sql("INSERT INTO items VALUES (3, 'c')").execute(&mut tx).await.expect("a row");
        let mut session = tx.rollback().await.expect("it rolls back");
        let ids = sqlx::query("SELECT id FROM items").fetch_all(&mut session).await.expect("rows");
        assert_eq!(ids.iter().map(|row| row.get::<i64, _>(0)).collect::<Vec<_>>(), [2]);
        drop(session);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb]
    /// Of a deadlock that a procedure handles, nobody hears: what it undid is not stored, and what follows is.
    async fn a_deadlock_that_a_procedure_hides_is_found_when_the_transaction_ends(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        sqlx::query("INSERT INTO items VALUES (1, 'a'), (2, 'a')").execute(&engine).await.expect("rows");
        let procedure = "CREATE PROCEDURE hides() BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; \
                         UPDATE items SET name = 'mine' WHERE id = 2; END";
        sqlx::raw_sql(procedure).execute(&engine).await.expect("a procedure");
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("UPDATE items SET name = 'mine' WHERE id = 1").execute(&mut tx).await.expect("it is executed");
        // The one that has written less is chosen to lose.
        let mut other = engine.begin().await.expect("a transaction");
        sqlx::query("UPDATE items SET name = 'other' WHERE id = 2").execute(&mut other).await.expect("it is executed");
        for id in 10..200 {
            let insert = sqlx::AssertSqlSafe(format!("INSERT INTO items VALUES ({id}, 'b')"));
            sqlx::raw_sql(insert).execute(&mut other).await.expect("a row");
        }
        let waits = tokio::spawn(async move {
            sqlx::query("UPDATE items SET name = 'other' WHERE id = 1").execute(&mut other).await.expect("it wins");
            other
        });
        let mut observer = database.observer().await;
        eventually("it waits", async || observer.statements_running().await > 0).await;
        sqlx::raw_sql("CALL hides()").execute(&mut tx).await.expect("it hides the deadlock");
        let error = tx.commit().await.map(drop).expect_err("it was undone");
        assert!(error.is_aborted(), "{error:?}");
        drop(waits.await.expect("it ends"));
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    /// What is lent out can begin a transaction of the driver's and forget it, or end the engine's by the driver's own means: the
    /// driver's COMMIT is then a savepoint's, or nothing at all.
    async fn a_commit_that_commits_nothing_is_refused(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");

        let mut tx = engine.begin().await.expect("a transaction");
        std::mem::forget((*tx).begin().await.expect("a transaction of the driver's"));
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        let error = tx.commit().await.map(drop).expect_err("the driver's is open");
        assert!(error.is_aborted(), "{error:?}");

        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (2, 'b')").execute(&mut tx).await.expect("a row");
        rolled_back(&mut *tx).await.expect("it rolls back");
        let error = tx.commit().await.map(drop).expect_err("it was rolled back");
        assert!(error.is_aborted(), "{error:?}");

        let mut tx = engine.begin().await.expect("a transaction");
        std::mem::forget((*tx).begin().await.expect("a transaction of the driver's"));
        let mut session = tx.rollback().await.expect("it rolls back, the driver's and all");
        sqlx::query("INSERT INTO items VALUES (4, 'd')").execute(&mut session).await.expect("a row");
        drop(session);

        let mut session = engine.session().await.expect("a session");
        std::mem::forget((*session).begin().await.expect("a transaction of the driver's"));
        session.begin().await.map(drop).expect_err("the driver's is open");

        // By turns, it is nothing to complain of.
        let mut tx = engine.begin().await.expect("a transaction");
        let mut driver = (*tx).begin().await.expect("a transaction of the driver's");
        sqlx::query("INSERT INTO items VALUES (3, 'c')").execute(&mut *driver).await.expect("a row");
        driver.commit().await.expect("it commits");
        drop((*tx).begin().await.expect("another"));
        tx.commit().await.expect("it commits");
        let mut observer = database.observer().await;
        assert_eq!(observer.numbers("SELECT id FROM items ORDER BY id").await, [3, 4]);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

/// As whoever uses the driver by its inner parts may do.
async fn rolled_back<C: sqlx::Connection>(connection: &mut C) -> Result<(), sqlx::Error> {
    use sqlx_core::transaction::TransactionManager as _;

    <C::Database as sqlx::Database>::TransactionManager::rollback(connection).await
}

with_every_driver! {
    [postgres]
    /// The driver believes that a statement which it has prepared is there, and is as it was.
    async fn what_the_server_has_forgotten_is_not_asked_for_by_the_next_session(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let ask = "SELECT id FROM items WHERE id = 1";
        for forget in ["DISCARD ALL", "DEALLOCATE ALL", "BEGIN; DEALLOCATE ALL", "BEGIN; DEALLOCATE ALL; SELECT 1 / 0"] {
            let mut session = engine.session().await.expect("a session");
            let id = session.connection_id();
            sqlx::query(ask).fetch_all(&mut session).await.unwrap_or_else(|error| panic!("before {forget}: {error}"));
            drop(sqlx::raw_sql(forget).execute(&mut session).await);
            drop(session);
            let mut session = engine.session().await.expect("a session");
            assert_eq!(session.connection_id(), id, "{forget}: the connection is kept");
            sqlx::query(ask).fetch_all(&mut session).await.unwrap_or_else(|error| panic!("after {forget}: {error}"));
        }

        // Nobody tells the driver of a column that another session has added. That costs one statement, and not every one.
        let all = "SELECT * FROM items";
        sqlx::query(all).fetch_all(&engine).await.expect("rows");
        database.execute("ALTER TABLE items ADD added INTEGER").await;
        sqlx::query(all).fetch_all(&engine).await.map(drop).expect_err("the plan is another one");
        sqlx::query(all).fetch_all(&engine).await.expect("rows");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [postgres]
    /// The driver takes a notification for the answer to whatever is executed then.
    async fn what_a_session_listens_to_does_not_disturb_the_next(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        for listen in ["LISTEN news", "BEGIN; LISTEN news; COMMIT; BEGIN", "BEGIN; LISTEN news; COMMIT; BEGIN; SELECT 1 / 0"] {
            let mut session = engine.session().await.expect("a session");
            let id = session.connection_id();
            drop(sqlx::raw_sql(listen).execute(&mut session).await);
            drop(session);
            let mut session = engine.session().await.expect("a session");
            assert_eq!(session.connection_id(), id, "{listen}: the connection is kept");
            database.execute("NOTIFY news").await;
            sqlx::query("SELECT pg_sleep(0.1)").execute(&mut session).await.unwrap_or_else(|error| panic!("after {listen}: {error}"));
        }
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb]
    /// All who alter a table would wait for a connection that is idle.
    async fn what_no_rollback_gives_up_ends_with_the_session(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        sqlx::query("CREATE TABLE locked (id INTEGER)").execute(&engine).await.expect("a table");
        let deeds = match database.engine {
            Kind::Mysql => ["LOCK INSTANCE FOR BACKUP", "HANDLER locked OPEN", "BEGIN; HANDLER locked OPEN"],
            _ => ["BACKUP LOCK locked", "HANDLER locked OPEN", "BACKUP STAGE START; BACKUP STAGE BLOCK_DDL"],
        };
        let remarks = ["", "/* why; */ ", "-- it's why\n", "# why\n"];
        let failing = deeds.map(|deed| (format!("{deed}; SELECT nothing"), false));
        let deeds = deeds.into_iter().flat_map(|deed| remarks.map(|remark| (format!("{remark}{deed}"), true)));
        let mut observer = database.observer().await;
        observer.try_execute("SET SESSION lock_wait_timeout = 20").await.expect("it is set");
        for (deed, succeeds) in deeds.chain(failing) {
            let mut session = engine.session().await.expect("a session");
            let done = sqlx::raw_sql(sqlx::AssertSqlSafe(deed.clone())).execute(&mut session).await;
            assert_eq!(done.is_ok(), succeeds, "{deed}: {done:?}");
            drop(session);
            let ddl = "DROP TABLE IF EXISTS locked; CREATE TABLE locked (id INTEGER)";
            observer.try_execute(ddl).await.unwrap_or_else(|error| panic!("after {deed}: {error}"));
        }
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    // MariaDB says nothing.
    [mysql, postgres]
    /// A server that says that it had ended the session for what did not come has not heard of the COMMIT.
    async fn a_commit_that_came_too_late_is_not_in_doubt(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let soon = if database.engine == Kind::Postgres {
            "SELECT set_config('idle_in_transaction_session_timeout', '1', false)"
        } else {
            // What a SELECT may have changed is not asked about before the COMMIT.
            let function = "CREATE FUNCTION soon() RETURNS INT NO SQL BEGIN SET SESSION wait_timeout = 1; RETURN 1; END";
            sqlx::raw_sql(function).execute(&engine).await.expect("a function");
            "SELECT soon()"
        };
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (1, 'a')").execute(&mut tx).await.expect("a row");
        sqlx::query(soon).execute(&mut tx).await.expect("it is set");
        eventually("the server has ended it", async || database.open_transactions().await == 0).await;
        let error = tx.commit().await.map(drop).expect_err("it is rolled back");
        assert!(!error.is_in_doubt() && error.verdict() == Verdict::Lost, "{error:?}");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&engine).await.expect("a count");
        assert_eq!(count, 0);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// Who has not heard the answer cannot know.
    async fn a_commit_that_was_not_answered_is_in_doubt(database: &TestDatabase, open: Open) {
        let proxy = Proxy::before(database.server_address()).await;
        let engine = open(&database.url_through(proxy.port), patient());
        sqlx::query(CREATE).execute(&engine).await.expect("a table");
        let mut observer = database.observer().await;

        // It never gets there.
        let mut tx = engine.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO items VALUES (0, 'a')").execute(&mut tx).await.expect("a row");
        proxy.set(Weather::Stall);
        let (committed, ()) = tokio::join!(tx.commit(), async { proxy.drop_connections() });
        proxy.set(FAIR);
        let error = committed.expect_err("there is no answer");
        assert!(error.is_in_doubt() && error.verdict() == Verdict::Lost, "{error:?}");
        eventually("it is rolled back", async || database.open_transactions().await == 0).await;
        assert_eq!(observer.number(COUNT).await, 0);

        // It is carried out, and the answer is under way for a second: time enough to see the row, but on a busy machine.
        let mut id = 0;
        let error = loop {
            id += 1;
            let mut tx = engine.begin().await.expect("a transaction");
            let insert = sqlx::AssertSqlSafe(format!("INSERT INTO items VALUES ({id}, 'a')"));
            sqlx::query(insert).execute(&mut tx).await.expect("a row");
            proxy.set(Weather::Delay(std::time::Duration::from_secs(1)));
            let lost = async {
                eventually("it is stored", async || observer.number(COUNT).await == id).await;
                proxy.drop_connections();
            };
            let (committed, ()) = tokio::join!(tx.commit(), lost);
            proxy.set(FAIR);
            if let Err(error) = committed {
                break error;
            }
        };
        assert!(error.is_in_doubt() && error.verdict() == Verdict::Lost, "{error:?}");
        // As SeaORM and the driver see it, too.
        let error = sqlx::Error::from(error);
        assert_eq!(Verdict::of(&error), Verdict::Lost);
        assert!(freshdb::Error::within(&error).is_some_and(freshdb::Error::is_in_doubt), "{error:?}");
        eventually("nothing of the lost sessions is left", async || engine.stats().in_use == 0).await;
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}
