//! SeaORM on freshdb's sessions, each fact on each engine.

#![expect(unreachable_pub, reason = "a test crate has no public interface")]

#[macro_use(on_every_engine)]
extern crate test_support;

mod entity;

use std::time::Duration;

use freshdb::{EngineOptions, HasVerdict, OrmEngine, Verdict};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    AccessMode, ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IsolationLevel, PaginatorTrait, QueryOrder,
    Schema, Set, TransactionError, TransactionTrait,
};
use test_support::{DEADLINE, TestDatabase, eventually};

use crate::entity::{ActiveModel, Column, Entity, Model};

const CLOSE: Duration = Duration::from_secs(20);

async fn engine(database: &TestDatabase) -> OrmEngine {
    let options = EngineOptions::new().acquire_timeout(DEADLINE / 2);
    let engine = options.lazy_orm(database.url()).expect("an engine");
    engine.execute(&Schema::new(engine.backend()).create_table_from_entity(Entity)).await.expect("a table");
    engine
}

fn item(name: &str) -> ActiveModel {
    ActiveModel { name: Set(name.to_owned()), ..Default::default() }
}

async fn names(connection: &impl ConnectionTrait) -> Vec<String> {
    let items = Entity::find().order_by_asc(Column::Id).all(connection).await.expect("items");
    items.into_iter().map(|item| item.name).collect()
}

on_every_engine! {
    async fn entities_work_unchanged(database: &TestDatabase) {
        let engine = engine(database).await;
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
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

on_every_engine! {
    async fn transactions_nest(database: &TestDatabase) {
        let engine = engine(database).await;
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
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

on_every_engine! {
    /// Dropped, a transaction on a session is over at once, though the session is held and nobody uses it.
    async fn a_dropped_transaction_is_over_while_its_session_is_held(database: &TestDatabase) {
        let engine = engine(database).await;
        let session = engine.session().await.expect("a session");
        let tx = session.begin().await.expect("a transaction");
        item("a").insert(&tx).await.expect("a row");
        drop(tx);
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
        let tx = session.begin().await.expect("a transaction");
        item("b").insert(&tx).await.expect("a row");
        tx.commit().await.expect("it commits");
        assert_eq!(names(&session).await, ["b"]);
        drop(session);
        let tx = engine.begin().await.expect("a transaction");
        item("c").insert(&tx).await.expect("a row");
        drop(tx);
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
        assert_eq!(names(&engine).await, ["b"]);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

on_every_engine! {
    async fn a_transaction_can_have_properties(database: &TestDatabase) {
        let engine = engine(database).await;
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
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    /// Work that loses against another transaction is run again from the start, in a new one.
    async fn work_that_loses_is_run_again(database: &TestDatabase) {
        let engine = engine(database).await;
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
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

on_every_engine! {
    /// What went wrong can be found in SeaORM's errors.
    async fn errors_keep_their_meaning(database: &TestDatabase) {
        let options = EngineOptions::new().max_connections(1).acquire_timeout(Duration::from_millis(300));
        let engine = options.lazy_orm(database.url()).expect("an engine");
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
}
