//! Closing a pool, and losing its connection.

use std::time::Duration;

use freshdb_databases::Kind;
use test_support::{Client, Proxy, eventually, on_every_engine};

use crate::harness::{builder, clean, execute, pool, rows, server_at, tables};

on_every_engine! {
    async fn a_pool_that_is_closed_says_who_still_has_a_database(database: &TestDatabase) {
        let pool = pool(database).await;
        let lease = pool.lease().await.unwrap();
        let other = pool.clone();
        let error = pool.close().await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the pool was closed while 1 of its databases were leased\n  `freshdb_s_"), "{text}");
        assert!(text.contains("ending.rs:"), "{text}");
        let error = other.lease().await.unwrap_err();
        assert!(error.to_string().contains("is closed"), "{error}");

        // The lease is as good as before, and goes back as ever.
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'late')").await;
        assert_ne!(lease.give_back().await.unwrap().touched(), Some(0));
        drop(other);
        eventually("its keeper has left", async || {
            let everything = freshdb_databases::Garbage::everything().checkout(database.url());
            everything.collect(&crate::harness::server(database)).await.unwrap().in_use.is_empty()
        })
        .await;
        clean(database, []).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn a_lost_connection_is_told_and_made_up_for(database: &TestDatabase) {
        let proxy = Proxy::before(database.server_address()).await;
        let server = server_at(database, &database.url_through(proxy.port));
        let pool = freshdb_databases::Pool::builder(server, tables()).checkout(database.url()).limit(2);
        let pool = pool.patience(Duration::from_secs(20)).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        proxy.drop_connections();
        // Whatever it asks next, the keeper finds its connection gone.
        eventually("the loss is noticed", async || lease.sessions().await.is_err()).await;
        let error = lease.give_back().await.unwrap_err();
        assert!(error.to_string().contains("ended before it was given back"), "{error}");

        let lease = pool.lease().await.unwrap();
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'after')").await;
        lease.give_back().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert_eq!(rows(lease.url(), "notes").await, 0);
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn whoever_lost_the_lock_does_not_put_back_unnoticed(database: &TestDatabase) {
        let pool = builder(database, tables()).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let mut admin = Client::connect(database.url()).await;
        let name = lease.name();
        let (holder, is_free) = if lease.kind() == Kind::Postgres {
            let key = format!("('x' || encode(substr(sha256('{name}'), 1, 8), 'hex'))::bit(64)::bigint");
            let holders = format!(
                "FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32 | objid::bigint) = {key}"
            );
            (format!("SELECT pid::bigint {holders}"), format!("SELECT 1 - count(*) {holders}"))
        } else {
            (format!("SELECT CAST(IS_USED_LOCK('{name}') AS SIGNED)"), format!("SELECT IS_FREE_LOCK('{name}')"))
        };
        // An administrator ends one session of many. It is the one that has the lock; the one that puts back lives.
        let holder = admin.number(&holder).await;
        admin.execute(&match lease.kind() {
            Kind::Postgres => format!("SELECT pg_terminate_backend({holder})"),
            _ => format!("KILL {holder}"),
        }).await;
        eventually("the lock is free", async || admin.number(&is_free).await == 1).await;
        let error = lease.give_back().await.unwrap_err();
        assert!(error.to_string().contains("ended before it was given back"), "{error}");
        let lease = pool.lease().await.unwrap();
        lease.give_back().await.unwrap();
        admin.close().await;
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn a_server_that_is_away_is_named_by_who_waits(database: &TestDatabase) {
        let proxy = Proxy::before(database.server_address()).await;
        let server = server_at(database, &database.url_through(proxy.port));
        let pool = freshdb_databases::Pool::builder(server, tables()).checkout(database.url()).limit(1);
        let pool = pool.patience(Duration::from_secs(2)).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        proxy.set(test_support::Weather::Refuse);
        proxy.drop_connections();
        eventually("the loss is noticed", async || lease.sessions().await.is_err()).await;
        drop(lease);
        let error = pool.lease().await.unwrap_err();
        assert_eq!(error.kind(), freshdb_databases::ErrorKind::Unreachable, "{error:?}");
        assert!(error.to_string().contains("no database on"), "{error:?}");

        proxy.set(test_support::FAIR);
        let lease = pool.lease().await.unwrap();
        drop(lease);
        clean(database, [pool]).await;
    }
}
