//! One template for many databases.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use freshdb_databases::{ErrorKind, Garbage, Pool, Target, schema};
use futures_util::future::join_all;
use test_support::{Client, on_every_engine};

use crate::harness::{Counted, builder, clean, execute, registry, rows, server, server_at, shown, tables};

const TABLE: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(100))";

on_every_engine! {
    async fn a_schema_is_applied_once(database: &TestDatabase) {
        let counted = Counted::new();
        let open = || builder(database, counted.schema("1", TABLE)).open();
        let pools = join_all((0..3).map(|_| open())).await;
        let pools: Vec<_> = pools.into_iter().map(Result::unwrap).collect();
        assert_eq!(counted.times(), 1, "for all who came at once");
        assert_eq!(pools[0].template(), pools[1].template());
        clean_but_keep(pools).await;

        let later = open().await.unwrap();
        assert_eq!(counted.times(), 1, "for who came later");
        let rebuilt = builder(database, counted.schema("1", TABLE)).rebuild(true).open().await.unwrap();
        assert_eq!(counted.times(), 2, "for who asked for it");
        assert_ne!(later.template(), rebuilt.template());
        let after = open().await.unwrap();
        assert_eq!(after.template(), rebuilt.template(), "the newest counts");
        let changed = builder(database, counted.schema("2", TABLE)).open().await.unwrap();
        assert_eq!(counted.times(), 3, "for another version");
        for pool in [&later, &rebuilt, &after, &changed] {
            let lease = pool.lease().await.unwrap();
            assert_eq!(rows(lease.url(), "notes").await, 0);
        }
        clean(database, [later, rebuilt, after, changed]).await;
    }
}

on_every_engine! {
    [sqlite]
    async fn a_schema_that_blocks_its_thread_holds_up_no_other(database: &TestDatabase) {
        const SCHEMAS: usize = 8;
        let arrived = Arc::new((Mutex::new(0), Condvar::new()));
        let open = |number: usize| {
            let arrived = arrived.clone();
            let schema = schema::from_fn(number.to_string(), move |_: Target| {
                let arrived = arrived.clone();
                async move {
                    let (count, changed) = &*arrived;
                    let mut count = count.lock().unwrap();
                    *count += 1;
                    changed.notify_all();
                    let left = changed.wait_timeout_while(count, Duration::from_mins(1), |count| *count < SCHEMAS).unwrap();
                    if left.1.timed_out() { Err(format!("only {} of {SCHEMAS} are at work", left.0).into()) } else { Ok(()) }
                }
            });
            builder(database, schema).open()
        };
        let pools: Vec<_> = join_all((0..SCHEMAS).map(open)).await.into_iter().map(Result::unwrap).collect();
        clean(database, pools).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn a_server_that_says_nothing_is_not_waited_for(database: &TestDatabase) {
        // The system takes the connection, and nobody the greeting.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = server_at(database, &database.url_through(listener.local_addr().unwrap().port()));
        let error = Pool::builder(server, tables()).patience(Duration::ZERO).open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert!(error.to_string().ends_with("`: it has not answered in 10s"), "{error}");
    }
}

on_every_engine! {
    [mysql, mariadb]
    async fn a_server_of_the_other_engine_is_refused(database: &TestDatabase) {
        let (engine, rest) = database.url().split_once(':').unwrap();
        let other = if engine == "mysql" { "mariadb" } else { "mysql" };
        let server = server_at(database, &format!("{other}:{rest}"));
        let error = Pool::builder(server.clone(), tables()).open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        let hint = format!("name it in FRESHDB_{}_URL, as `{engine}://…`", engine.to_uppercase());
        assert_eq!(error.advice(), Some(&*hint), "{error:?}");
        let error = Garbage::everything().checkout(database.url()).collect(&server).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn the_one_that_was_rebuilt_counts_whatever_the_clocks_say(database: &TestDatabase) {
        let counted = Counted::new();
        let open = |rebuild| builder(database, counted.schema("1", TABLE)).rebuild(rebuild).open();
        let old = open(false).await.unwrap();
        let template = old.template();
        let name = template.database().unwrap();
        // As it would be if a machine had made it, or used it, whose clock is fast.
        let faster = format!("UPDATE freshdb_databases SET since = since + 3600000 WHERE name = '{name}'");
        execute(&registry(database), &faster).await;
        let rebuilt = open(true).await.unwrap();
        let after = open(false).await.unwrap();
        assert_eq!(after.template(), rebuilt.template());
        assert_ne!(after.template(), template);
        old.lease().await.unwrap().give_back().await.expect("whoever uses the old one keeps it");
        clean(database, [old, rebuilt, after]).await;
    }
}

on_every_engine! {
    async fn one_that_was_retired_is_nobody_elses(database: &TestDatabase) {
        let counted = Counted::new();
        let open = || builder(database, counted.schema("1", TABLE)).open();
        let old = open().await.unwrap();
        old.retire().await.unwrap();
        // Whoever collects looks whether it is used, and leaves it as it was.
        let collected = Garbage::everything().checkout(database.url()).collect(&server(database)).await.unwrap();
        assert_eq!(collected.in_use.len(), 1, "{collected:?}");
        let new = open().await.unwrap();
        assert_ne!(new.template(), old.template());
        assert_eq!(counted.times(), 2);
        let lease = old.lease().await.unwrap();
        assert_eq!(rows(lease.url(), "notes").await, 0);
        lease.give_back().await.unwrap();
        clean(database, [old, new]).await;
        let left = Garbage::everything().checkout(database.url()).collect(&server(database)).await.unwrap();
        assert!(left.dropped.is_empty(), "{left:?}");
    }
}

async fn clean_but_keep(pools: Vec<freshdb_databases::Pool>) {
    for pool in pools {
        pool.close().await.unwrap();
    }
}

on_every_engine! {
    async fn a_schema_that_fails_leaves_nothing_behind(database: &TestDatabase) {
        let counted = Counted::new();
        let broken = format!("{TABLE}; INSERT INTO nowhere VALUES (1)");
        for _ in 0..2 {
            let error = builder(database, counted.schema("1", &broken)).open().await.unwrap_err();
            let text = shown(&error, &[]);
            assert!(text.starts_with("the schema could not be applied to an empty "), "{text}");
            assert!(text.contains("nowhere"), "{text}");
        }
        assert_eq!(counted.times(), 2, "it was tried anew");
        clean(database, []).await;
    }
}

on_every_engine! {
    async fn a_schema_that_panics_has_failed(database: &TestDatabase) {
        let made = Arc::new(Mutex::new(None));
        let url = made.clone();
        let panics = schema::from_fn("1", move |target: Target| {
            *url.lock().unwrap() = Some(target.url().clone());
            async { panic!("no such {}", "table") }
        });
        let error = builder(database, panics).open().await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.starts_with("the schema could not be applied to an empty "), "{text}");
        assert!(text.ends_with("\n  caused by: it panicked: no such table"), "{text}");
        let url = made.lock().unwrap().take().unwrap();
        Client::try_connect(&url.reveal()).await.map(drop).expect_err("its database is gone");
        clean(database, []).await;
    }
}

on_every_engine! {
    async fn what_another_pool_left_is_taken_over(database: &TestDatabase) {
        let counted = Counted::new();
        let open = || builder(database, counted.schema("1", TABLE)).limit(1).open();
        let pool = open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let name = lease.name().to_owned();
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'left')").await;
        drop(lease);
        pool.close().await.unwrap();

        let pool = open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert_eq!(lease.name(), name);
        assert_eq!(rows(lease.url(), "notes").await, 0);
        drop(lease);
        clean(database, [pool]).await;
    }
}
