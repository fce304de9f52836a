//! SeaORM on freshdb's sessions, each fact on each engine.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

mod entity;

use std::time::Duration;

use freshdb::test::schema::SeaOrmEntities;
use freshdb::test::{Lease, Schema};
use freshdb::{EngineOptions, HasVerdict, OrmEngine, Verdict};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    AccessMode, ActiveModelTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IsolationLevel, PaginatorTrait,
    QueryOrder, Set, TransactionError, TransactionTrait,
};
use test_support::{Engine, TestDatabase, eventually};

use crate::entity::{ActiveModel, Column, Entity, Model};

const CLOSE: Duration = Duration::from_secs(20);

fn items() -> impl Schema {
    SeaOrmEntities::new().with(Entity)
}

/// The database of a lease, as others see it.
fn elsewhere(lease: &Lease) -> TestDatabase {
    TestDatabase::at(Engine::named(lease.kind().name()), &lease.url().reveal())
}

fn item(name: &str) -> ActiveModel {
    ActiveModel { name: Set(name.to_owned()), ..Default::default() }
}

async fn names(connection: &impl ConnectionTrait) -> Vec<String> {
    let items = Entity::find().order_by_asc(Column::Id).all(connection).await.expect("items");
    items.into_iter().map(|item| item.name).collect()
}

#[freshdb::test(schema = items())]
async fn entities_work_unchanged(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    let Model { id, .. } = item("a").insert(&session).await.expect("a row");
    let found = Entity::find_by_id(id).one(&session).await.expect("an answer").expect("a row");
    let mut changed: ActiveModel = found.into();
    changed.name = Set("b".into());
    changed.update(&session).await.expect("it is updated");
    Entity::insert_many([item("c"), item("d")]).exec(&session).await.expect("rows");
    assert_eq!(names(&session).await, ["b", "c", "d"]);
    assert_eq!(Entity::find().paginate(&session, 2).num_pages().await.expect("a number"), 2);
    Entity::delete_by_id(id).exec(&session).await.expect("it is deleted");
    // And on the engine itself, each statement on a session of its own.
    assert_eq!(names(&engine).await, ["c", "d"]);

    let insert = Entity::insert(ActiveModel { id: Set(id + 1), name: Set("e".into()) });
    let upsert = insert.on_conflict(OnConflict::column(Column::Id).update_column(Column::Name).to_owned());
    upsert.exec_without_returning(&session).await.expect("it is updated");
    assert_eq!(names(&session).await, ["e", "d"]);
    drop(session);
}

#[freshdb::test(schema = items())]
async fn transactions_nest(engine: OrmEngine) {
    let tx = engine.begin().await.expect("a transaction");
    item("kept").insert(&tx).await.expect("a row");
    let nested = TransactionTrait::begin(&tx).await.expect("a savepoint");
    item("undone").insert(&nested).await.expect("a row");
    nested.rollback().await.expect("it rolls back");
    let nested = TransactionTrait::begin(&tx).await.expect("a savepoint");
    item("dropped").insert(&nested).await.expect("a row");
    drop(nested);
    let nested = TransactionTrait::begin(&tx).await.expect("a savepoint");
    item("kept too").insert(&nested).await.expect("a row");
    nested.commit().await.expect("it commits");
    tx.commit().await.expect("it commits");
    assert_eq!(names(&engine).await, ["kept", "kept too"]);

    let outcome: Result<(), TransactionError<DbErr>> = engine
        .transaction(|tx| {
            Box::pin(async move {
                item("undone").insert(tx).await?;
                Err(DbErr::Custom("no".into()))
            })
        })
        .await;
    assert!(matches!(outcome, Err(TransactionError::Transaction(_))), "{outcome:?}");
    assert_eq!(names(&engine).await, ["kept", "kept too"]);
}

/// Dropped, a transaction on a session is over at once, though the session is held and nobody uses it.
#[freshdb::test(schema = items())]
async fn a_dropped_transaction_is_over_while_its_session_is_held(engine: OrmEngine, lease: Lease) {
    let elsewhere = elsewhere(&lease);
    let session = engine.session().await.expect("a session");
    let tx = session.begin().await.expect("a transaction");
    item("a").insert(&tx).await.expect("a row");
    drop(tx);
    eventually("no transaction is open", async || elsewhere.open_transactions().await == 0).await;
    let tx = session.begin().await.expect("a transaction");
    item("b").insert(&tx).await.expect("a row");
    tx.commit().await.expect("it commits");
    assert_eq!(names(&session).await, ["b"]);
    drop(session);
    let tx = engine.begin().await.expect("a transaction");
    item("c").insert(&tx).await.expect("a row");
    drop(tx);
    eventually("no transaction is open", async || elsewhere.open_transactions().await == 0).await;
    assert_eq!(names(&engine).await, ["b"]);
}

/// A session may set that the end of a transaction begins another. What comes after one that was dropped is stored all the same.
#[freshdb::test(on = [mysql, mariadb], schema = items())]
async fn no_transaction_begins_where_one_was_dropped(engine: OrmEngine) {
    let chain = "SET SESSION completion_type = 'CHAIN'";
    for is_set_inside in [false, true] {
        let session = engine.session().await.expect("a session");
        if !is_set_inside {
            session.execute_unprepared(chain).await.expect("it is set");
        }
        for name in ["a", "b"] {
            let tx = session.begin().await.expect("a transaction");
            if is_set_inside {
                tx.execute_unprepared(chain).await.expect("it is set");
            }
            item("dropped").insert(&tx).await.expect("a row");
            drop(tx);
            item(name).insert(&session).await.expect("a row");
        }
        assert_eq!(names(&engine).await, ["a", "b"], "what others see; is set inside: {is_set_inside}");
        Entity::delete_many().exec(&session).await.expect("they are deleted");
        drop(session);
    }
}

/// The next one begins right after it, and does not wait for the right to write that its own session has.
#[freshdb::test(schema = items())]
async fn a_transaction_may_follow_one_that_was_dropped(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    for _ in 0..20 {
        let tx = session.begin().await.expect("a transaction");
        item("dropped").insert(&tx).await.expect("a row");
        drop(tx);
        let tx = session.begin().await.expect("a transaction");
        item("kept").insert(&tx).await.expect("a row");
        tx.commit().await.expect("it commits");
    }
    let kept = names(&session).await;
    assert!(kept.len() == 20 && kept.iter().all(|name| name == "kept"), "{kept:?}");
}

/// It may be under way still when an error comes, and is not what that has done.
#[freshdb::test(schema = items(), on = [sqlite])]
async fn the_rollback_of_a_dropped_transaction_is_no_later_errors(engine: OrmEngine) {
    item("kept").insert(&engine).await.expect("a row");
    // So many that it takes a while to undo them.
    let many = "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                INSERT INTO items (id, name) SELECT i, 'undone' FROM n";
    let duplicate = || ActiveModel { id: Set(1), name: Set("duplicate".into()) };
    for round in 0..20 {
        let session = engine.session().await.expect("a session");
        let tx = session.begin().await.expect("a transaction");
        tx.execute_unprepared(many).await.expect("rows");
        drop(tx);
        if round % 2 == 0 {
            duplicate().insert(&session).await.expect_err("it is there");
        }
        let tx = session.begin().await.expect("a transaction");
        duplicate().insert(&tx).await.expect_err("it is there");
        item("undone").insert(&tx).await.expect("the transaction goes on");
        tx.rollback().await.expect("it rolls back");
        assert_eq!(names(&session).await, ["kept"]);
    }
}

/// Neither the right to write nor a mark of the error stays with the session.
#[freshdb::test(schema = items())]
async fn a_transaction_that_did_not_begin_leaves_nothing_behind(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    session.execute_unprepared("BEGIN").await.expect("it is executed");
    session.execute_unprepared("SELECT nothing FROM nowhere").await.expect_err("there is no such table");
    let begun = session.begin_with_config(Some(IsolationLevel::Serializable), None).await;
    begun.map(drop).expect_err("there is a transaction already");
    session.execute_unprepared("ROLLBACK").await.expect("it is executed");
    let tx = engine.begin().await.expect("a transaction");
    item("elsewhere").insert(&tx).await.expect("a row");
    tx.commit().await.expect("it commits");
    let tx = session.begin().await.expect("a transaction");
    item("here").insert(&tx).await.expect("a row");
    tx.commit().await.expect("it commits");
    assert_eq!(names(&session).await, ["elsewhere", "here"]);
}

/// Neither is what it executes stored at once, nor does its end end the transaction that has followed.
#[freshdb::test(schema = items())]
async fn a_savepoint_whose_transaction_has_ended_takes_no_more_statements(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    for is_dropped in [false, true] {
        let outer = session.begin().await.expect("a transaction");
        let inner = TransactionTrait::begin(&outer).await.expect("a savepoint");
        item("undone").insert(&inner).await.expect("a row");
        if is_dropped {
            drop(outer);
        } else {
            outer.commit().await.expect("it commits");
        }
        let late = item("late").insert(&inner).await.expect_err("it has ended");
        assert!(freshdb::Error::within_orm(&late).is_some_and(freshdb::Error::is_aborted), "{late:?}");
        let next = session.begin().await.expect("a transaction");
        item("kept").insert(&next).await.expect("a row");
        item("late").insert(&inner).await.expect_err("it has ended");
        TransactionTrait::begin(&inner).await.map(drop).expect_err("it has ended");
        if is_dropped {
            drop(inner);
        } else {
            inner.rollback().await.expect("it was rolled back");
        }
        next.commit().await.expect("it commits");
    }
    assert_eq!(names(&session).await, ["kept", "kept"]);
}

#[freshdb::test(schema = items())]
async fn a_transaction_can_have_properties(engine: OrmEngine) {
    for (isolation, access) in [
        (Some(IsolationLevel::Serializable), None),
        (Some(IsolationLevel::ReadCommitted), Some(AccessMode::ReadWrite)),
        (None, Some(AccessMode::ReadOnly)),
        (None, None),
    ] {
        let tx = engine.begin_with_config(isolation, access).await.expect("a transaction");
        assert_eq!(names(&tx).await.len(), 0);
        tx.rollback().await.expect("it rolls back");
    }
}

/// It would have those of the transaction around it, without a word.
#[freshdb::test(schema = items())]
async fn a_savepoint_has_no_properties(engine: OrmEngine) {
    let tx = engine.begin().await.expect("a transaction");
    for (isolation, access) in [(Some(IsolationLevel::Serializable), None), (None, Some(AccessMode::ReadOnly))] {
        let error = tx.begin_with_config(isolation, access).await.map(drop).expect_err("it cannot have that");
        assert_eq!(error.verdict(), Verdict::Refused);
        let fact =
            "a transaction inside of another is a savepoint, and has no isolation level and no access mode of its own";
        assert_eq!(freshdb::Error::within_orm(&error).expect("freshdb's own error").to_string(), fact);
    }
    let inner = tx.begin_with_config(None, None).await.expect("a savepoint");
    item("a").insert(&inner).await.expect("a row");
    inner.commit().await.expect("it commits");
    tx.commit().await.expect("it commits");
    assert_eq!(names(&engine).await, ["a"]);
}

/// An error after which work may be run again, whatever the database has to say.
#[derive(Debug)]
struct Lost;

impl From<freshdb::Error> for Lost {
    fn from(_: freshdb::Error) -> Self {
        Self
    }
}

impl HasVerdict for Lost {
    fn verdict(&self) -> Verdict {
        Verdict::Conflict
    }
}

/// Alone it would keep what is undone with the transaction around it, and on SQLite it would wait for that.
#[freshdb::test(schema = items())]
async fn work_in_a_savepoint_is_not_run_again_outside_of_its_transaction(engine: OrmEngine) {
    let outer = engine.begin().await.expect("a transaction");
    let inner = TransactionTrait::begin(&outer).await.expect("a savepoint");
    let mut times = 0;
    let done = inner.run(|inner| {
        times += 1;
        async move {
            item("undone").insert(&inner).await.expect("a row");
            if times == 1 { inner.rollback().await } else { inner.commit().await }.expect("it ends");
            Err::<(), Lost>(Lost)
        }
    });
    done.await.expect_err("it has lost");
    assert_eq!(times, 1);
    item("kept").insert(&outer).await.expect("a row");
    outer.commit().await.expect("it commits");
    assert_eq!(names(&engine).await, ["kept"]);
}

/// The second time, it could write.
#[freshdb::test(schema = items(), on = [mysql, mariadb, postgres])]
async fn work_is_run_again_in_a_transaction_of_the_same_properties(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    let begun = [
        engine.begin_with_config(None, Some(AccessMode::ReadOnly)).await,
        session.begin_with_config(None, Some(AccessMode::ReadOnly)).await,
    ];
    for tx in begun {
        let work = async |tx: freshdb::OrmTx| {
            item("a").insert(&tx).await?;
            tx.commit().await
        };
        let done: Result<(), DbErr> = tx.expect("a transaction").run(work).await;
        assert_eq!(done.expect_err("it only reads").verdict(), Verdict::ReadOnly);
    }
    drop(session);
    assert_eq!(names(&engine).await.len(), 0);
}

/// Work that loses against another transaction is run again from the start, in a new one.
#[freshdb::test(schema = items(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn work_that_loses_is_run_again(engine: OrmEngine) {
    Entity::insert_many([item("a"), item("b")]).exec(&engine).await.expect("rows");
    let [first, second] = [0, 1].map(|at| {
        let engine = engine.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let engine = engine.clone();
                let ids = if at == 0 { [1, 2] } else { [2, 1] };
                let tx = engine.begin().await.expect("a transaction");
                let done: Result<(), DbErr> = tx
                    .run(async |tx| {
                        if tx.get_database_backend() == DbBackend::Postgres {
                            // It looks whether two wait for each other after a second.
                            tx.execute_unprepared("SET LOCAL deadlock_timeout = '10ms'").await?;
                        }
                        for id in ids {
                            let name = Set(format!("{at} {round}"));
                            ActiveModel { id: Set(id), name }.update(&tx).await?;
                        }
                        tx.commit().await
                    })
                    .await;
                done.expect("it succeeds in the end");
            }
        })
    });
    first.await.expect("it ends");
    second.await.expect("it ends");
    let names = names(&engine).await;
    assert_eq!(names[0], names[1], "both rows are of one transaction");
}

/// What went wrong can be found in SeaORM's errors.
#[freshdb::test(schema = items())]
async fn errors_keep_their_meaning(lease: Lease) {
    let options = EngineOptions::new().max_connections(1).acquire_timeout(Duration::from_millis(300));
    let engine = options.lazy_orm(&lease.url().reveal()).expect("an engine");
    let session = loop {
        // Unoptimised, a first connection can take longer than that.
        if let Ok(session) = engine.session().await {
            break session;
        }
    };
    let error = engine.execute_unprepared("SELECT 1").await.expect_err("there is one session, and it is held");
    assert_eq!(error.verdict(), Verdict::Exhausted);
    let error = freshdb::Error::within_orm(&error).expect("freshdb's own error");
    assert!(error.is_exhausted());
    assert!(error.holders()[0].place().file().ends_with("main.rs"), "{error}");
    let error = session.execute_unprepared("SELECT nothing FROM nowhere").await.expect_err("there is no such table");
    assert_eq!(error.verdict(), Verdict::Refused);
    drop(session);
    engine.close(CLOSE).await.expect("nothing leaks");
    let error = engine.execute_unprepared("SELECT 1").await.expect_err("it is closed");
    assert!(freshdb::Error::within_orm(&error).is_some_and(freshdb::Error::is_closed), "{error}");
}

/// SeaORM's errors show no causes: what they do not say themselves, no log has.
#[tokio::test]
async fn an_error_says_why_there_is_no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://app@{}/tags", listener.local_addr().expect("an address"));
    drop(listener);
    let engine = EngineOptions::new().lazy_orm(&url).expect("an engine");
    let error = engine.execute_unprepared("SELECT 1").await.expect_err("nobody listens");
    let said = format!("cannot connect to `{url}`: error communicating with database: Connection refused");
    assert!(error.to_string().contains(&said), "{error}");
    let error = freshdb::Error::within_orm(&error).expect("freshdb's own error");
    assert!(error.is_connect());
    assert!(format!("{error:?}").starts_with(&format!("cannot connect to `{url}`\n  caused by: ")), "{error:?}");
}

/// Whatever the server's own limit to it is.
#[freshdb::test]
async fn a_statement_may_take_as_long_as_anybody_says(lease: Lease) {
    for limit in [Duration::from_hours(24 * 30), Duration::MAX] {
        let options = EngineOptions::new().statement_timeout(limit);
        let engine = options.lazy_orm(&lease.url().reveal()).expect("an engine");
        engine.execute_unprepared("SELECT 1").await.expect("a session");
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

/// A transaction in which nothing happens for as long as a statement may take is ended by the server, connection and all.
#[freshdb::test(on = [postgres])]
async fn a_transaction_that_idles_for_too_long_is_lost(lease: Lease) {
    let options = EngineOptions::new().statement_timeout(Duration::from_secs(1));
    let engine = options.lazy_orm(&lease.url().reveal()).expect("an engine");
    let tx = engine.begin().await.expect("a transaction");
    let elsewhere = elsewhere(&lease);
    eventually("the server has ended it", async || elsewhere.open_transactions().await == 0).await;
    let error = tx.execute_unprepared("SELECT 1").await.expect_err("it is gone");
    assert_eq!(error.verdict(), Verdict::Lost, "{error:?}");
}
