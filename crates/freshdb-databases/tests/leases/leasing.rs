//! Taking and giving back.

use std::net::Ipv6Addr;
use std::pin::pin;
use std::time::{Duration, Instant};

use freshdb_databases::schema::{self, SeaOrmEntities};
use freshdb_databases::{DatabaseUrl, ErrorKind, Kind, Lease, Pool, Schema as _, Server, ServerSession};
use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};
use test_support::{Client, DEADLINE, Engine, Proxy, eventually, on_every_engine, warned};

use crate::harness::{builder, clean, execute, pool, registry, rows, server_at, tables};

on_every_engine! {
    [postgres]
    async fn a_database_that_is_named_among_the_parameters_is_left_alone(database: &TestDatabase) {
        let (server, name) = database.url().rsplit_once('/').unwrap();
        let server = Server::existing(DatabaseUrl::parse(&format!("{server}/?dbname={name}")).unwrap());
        let pool = Pool::builder(server, tables()).checkout(database.url()).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'in a lease')").await;
        let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'notes'";
        let mut here = Client::connect(database.url()).await;
        assert_eq!(here.number(tables).await, 0);
        here.close().await;
        let mut there = Client::connect(&lease.url().reveal()).await;
        let is_there = format!("SELECT COUNT(*) WHERE current_database() = '{}'", lease.name());
        assert_eq!(there.number(&is_there).await, 1);
        there.close().await;
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn a_server_is_reached_by_an_ipv6_address(database: &TestDatabase) {
        let proxy = Proxy::at(Ipv6Addr::LOCALHOST.into(), database.server_address()).await;
        let server = server_at(database, &database.url_through_ipv6(proxy.port));
        let pool = Pool::builder(server, tables()).checkout(database.url()).open().await.unwrap();
        pool.lease().await.unwrap().give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn what_a_lease_did_is_undone_before_the_next(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(1).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let name = lease.name().to_owned();
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'a'), (2, 'b')").await;
        execute(lease.url(), "UPDATE words SET meaning = 'stale'; INSERT INTO words VALUES ('new', NULL)").await;
        let report = lease.give_back().await.unwrap();
        assert_eq!(report.changed(), None);
        assert_ne!(report.touched(), Some(0));

        let lease = pool.lease().await.unwrap();
        assert_eq!(lease.name(), name, "the same database");
        assert_eq!(rows(lease.url(), "notes").await, 0);
        assert_eq!(rows(lease.url(), "words WHERE meaning = 'not stale'").await, 1);
        assert_eq!(rows(lease.url(), "words").await, 1);
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    /// sqlx logs what it does not know, value and all: of libpq's `sslpassword` a secret.
    async fn the_log_tells_no_value_of_a_parameter_that_the_driver_does_not_know(database: &TestDatabase) {
        let url = format!("{}?sslpassword=s3cr3t", database.url());
        let schema = tables().then(SeaOrmEntities::new());
        let pool = Pool::builder(server_at(database, &url), schema).checkout(database.url()).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert!(lease.url().reveal().ends_with("?sslpassword=s3cr3t"), "another driver may know it");
        drop(lease);
        clean(database, [pool]).await;
        assert!(!warned(&["s3cr3t"]));
        assert!(database.engine != Engine::Postgres || warned(&["sslpassword"]));
    }
}

on_every_engine! {
    async fn one_lease_may_have_all_that_the_server_takes(database: &TestDatabase) {
        let pool = builder(database, tables()).connections(u32::MAX).open().await.unwrap();
        assert_eq!(pool.limit(), 1);
        let lease = pool.lease().await.unwrap();
        assert_eq!(rows(lease.url(), "notes").await, 0);
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn two_leases_never_meet(database: &TestDatabase) {
        let pool = pool(database).await;
        let leases = join_all((0..4).map(|_| pool.lease())).await;
        for (number, lease) in leases.iter().enumerate() {
            let lease = lease.as_ref().unwrap();
            execute(lease.url(), &format!("INSERT INTO notes VALUES ({number}, 'mine')")).await;
        }
        for (number, lease) in leases.iter().enumerate() {
            let lease = lease.as_ref().unwrap();
            assert_eq!(rows(lease.url(), "notes").await, 1);
            assert_eq!(rows(lease.url(), &format!("notes WHERE id = {number}")).await, 1);
        }
        drop(leases);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn two_pools_never_meet(database: &TestDatabase) {
        let pools = [pool(database).await, pool(database).await];
        for _ in 0..5 {
            let (first, second) = (pools[0].lease().await.unwrap(), pools[1].lease().await.unwrap());
            assert_ne!(first.name(), second.name());
            first.give_back().await.unwrap();
            second.give_back().await.unwrap();
        }
        clean(database, pools).await;
    }
}

on_every_engine! {
    async fn what_cannot_be_put_back_is_replaced(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(1).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let name = lease.name().to_owned();
        execute(lease.url(), "DROP TABLE notes; CREATE TABLE other (id INTEGER)").await;
        let report = lease.give_back().await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert_eq!(rows(lease.url(), "notes").await, 0);
        let mut client = Client::connect(&lease.url().reveal()).await;
        client.try_execute("SELECT * FROM other").await.unwrap_err();
        client.close().await;
        // A file is as easily copied as compared.
        if database.engine != test_support::Engine::Sqlite {
            assert!(report.changed().is_some(), "{report:?}");
            assert_ne!(lease.name(), name);
        }
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn whoever_waits_in_vain_hears_who_has_them(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(1).patience(Duration::from_millis(300)).open().await.unwrap();
        let lease = sooner_or_later(&pool).await;
        let error = pool.lease().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no database on"), "{text}");
        assert!(text.contains("all 1 are in use"), "{text}");
        assert!(text.contains(&format!("`{}`, leased for", lease.name())), "{text}");
        assert!(text.contains("leasing.rs:"), "{text}");
        drop(lease);
        sooner_or_later(&pool).await.give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    // There, each test has its server, and so its registry, for itself.
    [sqlite]
    async fn all_who_wait_hear_that_none_can_be_made(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(1).patience(DEADLINE).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.lease())).collect();
        for lease in &mut waiting {
            assert!(lease.as_mut().now_or_never().is_none());
        }
        execute(&registry(database), "ALTER TABLE freshdb_databases RENAME TO gone").await;
        lease.keep("it is not to be had by the next").await.unwrap_err();
        for lease in join_all(waiting).await {
            let error = lease.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Database, "{error:?}");
            assert!(error.to_string().contains("cannot make a database on"), "{error}");
        }
        execute(&registry(database), "ALTER TABLE gone RENAME TO freshdb_databases").await;
        pool.lease().await.unwrap().give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

/// A lease of a pool that is more impatient than a busy machine allows for.
async fn sooner_or_later(pool: &Pool) -> Lease {
    let started = Instant::now();
    loop {
        match pool.lease().await {
            Ok(lease) => return lease,
            Err(error) => assert!(started.elapsed() < DEADLINE, "{error:?}"),
        }
    }
}

on_every_engine! {
    async fn whoever_stops_waiting_takes_nothing_along(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(2).open().await.unwrap();
        let held = [pool.lease().await.unwrap(), pool.lease().await.unwrap()];
        {
            let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(pool.lease())).collect();
            for lease in &mut waiting {
                assert!(lease.as_mut().now_or_never().is_none());
            }
        }
        // These wait until the databases are on their way to them, and go then.
        for lease in held {
            let mut waiting = pin!(pool.lease());
            assert!(waiting.as_mut().now_or_never().is_none());
            lease.give_back().await.unwrap();
        }
        let both = [pool.lease().await.unwrap(), pool.lease().await.unwrap()];
        drop(both);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn no_runtime_is_needed(database: &TestDatabase) {
        let pool = builder(database, tables()).open().await.unwrap();
        let done = std::thread::spawn({
            let pool = pool.clone();
            move || {
                futures_executor::block_on(async {
                    for _ in 0..3 {
                        let report = pool.lease().await.unwrap().give_back().await.unwrap();
                        assert_eq!(report.touched(), Some(0));
                    }
                });
            }
        });
        tokio::task::spawn_blocking(move || done.join().unwrap()).await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn who_is_connected_is_named_and_ended(database: &TestDatabase) {
        let pool = pool(database).await;
        let lease = pool.lease().await.unwrap();
        assert_eq!(lease.sessions().await.unwrap(), []);
        let mut client = Client::connect(&lease.url().reveal()).await;
        client.execute("BEGIN").await;
        client.execute("INSERT INTO notes VALUES (1, 'never committed')").await;
        let sessions = lease.sessions().await.unwrap();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert_eq!(sessions[0].database.as_deref(), Some(lease.name()));

        let report = lease.give_back().await.unwrap();
        assert_eq!(report.sessions().len(), 1, "{report:?}");
        assert_eq!(report.sessions()[0].id, sessions[0].id);
        client.try_execute("COMMIT").await.unwrap_err();
        let lease = pool.lease().await.unwrap();
        assert_eq!(rows(lease.url(), "notes").await, 0);
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn who_is_to_stay_stays_and_what_it_wrote_is_undone(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(1).open().await.unwrap();
        let lease = pool.lease().await.unwrap();
        let mut staying = Client::connect(&lease.url().reveal()).await;
        let mut other = Client::connect(&lease.url().reveal()).await;
        other.execute("INSERT INTO notes VALUES (1, 'a')").await;
        staying.execute("INSERT INTO notes VALUES (2, 'b')").await;
        staying.execute("DELETE FROM words").await;
        staying.have_it_counted().await;
        let number = staying.session().await;
        let name = lease.name().to_owned();
        let report = lease.give_back_with(vec![number]).await.unwrap();
        assert_eq!((report.changed(), report.sessions().len()), (None, 1), "{report:?}");
        assert_ne!(report.sessions()[0].id, number);
        other.try_execute("SELECT 1").await.unwrap_err();

        let lease = pool.lease().await.unwrap();
        assert_eq!(lease.name(), name, "the same database");
        assert_eq!(staying.number("SELECT COUNT(*) FROM notes").await, 0);
        assert_eq!(staying.number("SELECT COUNT(*) FROM words").await, 1);
        // What it writes again is seen again.
        staying.execute("INSERT INTO notes VALUES (3, 'c')").await;
        staying.have_it_counted().await;
        lease.give_back_with(vec![number]).await.unwrap();
        let lease = pool.lease().await.unwrap();
        assert_eq!(rows(lease.url(), "notes").await, 0);
        drop(lease);
        staying.close().await;
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn who_stays_is_no_guest_of_the_next_process(database: &TestDatabase) {
        let first = builder(database, tables()).limit(1).open().await.unwrap();
        let lease = first.lease().await.unwrap();
        let name = lease.name().to_owned();
        let mut staying = Client::connect(&lease.url().reveal()).await;
        staying.have_it_counted().await;
        let number = staying.session().await;
        lease.give_back_with(vec![number]).await.unwrap();
        first.close().await.unwrap();
        // Whoever it was leased to has ended, and this one has not.
        staying.execute("INSERT INTO notes VALUES (1, 'a stranger')").await;

        let second = builder(database, tables()).limit(1).open().await.unwrap();
        let lease = second.lease().await.unwrap();
        assert_eq!(lease.name(), name, "the same database");
        // Before somebody looks, who takes a moment to leave.
        assert_eq!(lease.sessions().await.unwrap(), []);
        assert_eq!(rows(lease.url(), "notes").await, 0);
        staying.try_execute("SELECT 1").await.unwrap_err();
        drop(lease);
        clean(database, [second]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn who_is_to_stay_has_a_moment_to_finish(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(1).open().await.unwrap();
        let mut lease = pool.lease().await.unwrap();
        let mut staying = Client::connect(&lease.url().reveal()).await;
        let mut other = Client::connect(&lease.url().reveal()).await;
        other.execute("INSERT INTO notes VALUES (1, 'a')").await;
        let number = staying.session().await;
        // Shorter than the moment, and longer.
        for (seconds, stays) in [("0.1", true), ("60", false)] {
            let work = match lease.kind() {
                Kind::Postgres => format!("SELECT pg_sleep({seconds})::text"),
                _ => format!("SELECT SLEEP({seconds})"),
            };
            let is_at_it =
                |session: &ServerSession| session.id == number && session.statement.as_ref() == Some(&work);
            let mut working = pin!(staying.try_execute(&work));
            let began = async || lease.sessions().await.unwrap().iter().any(is_at_it);
            // On a slow machine the shorter one may end before it is seen.
            let done = match select(&mut working, pin!(eventually("it works", began))).await {
                Either::Left((done, _)) => Some(done),
                Either::Right(_) => None,
            };
            let (done, report) = tokio::join!(
                async { if let Some(done) = done { done } else { working.await } },
                lease.give_back_with(vec![number])
            );
            let report = report.unwrap();
            let ended: Vec<u64> = report.sessions().iter().map(|session| session.id).collect();
            assert_eq!(ended.contains(&number), !stays, "{report:?}");
            assert_eq!(done.is_ok(), stays, "{done:?}");
            lease = pool.lease().await.unwrap();
        }
        drop(lease);
        other.try_execute("SELECT 1").await.unwrap_err();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [postgres]
    async fn who_is_in_a_transaction_does_not_stay(database: &TestDatabase) {
        let pool = pool(database).await;
        let lease = pool.lease().await.unwrap();
        let mut client = Client::connect(&lease.url().reveal()).await;
        let number = client.session().await;
        client.execute("BEGIN").await;
        client.execute("INSERT INTO notes VALUES (1, 'never committed')").await;
        let report = lease.give_back_with(vec![number]).await.unwrap();
        assert_eq!(report.sessions().len(), 1, "{report:?}");
        client.try_execute("COMMIT").await.unwrap_err();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn what_was_deleted_is_in_nobodys_way(database: &TestDatabase) {
        let key = match database.engine {
            Engine::Postgres => "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            _ => "BIGINT AUTO_INCREMENT PRIMARY KEY",
        };
        let schema = schema::sql(format!(
            "CREATE TABLE counting (id {key}, name VARCHAR(50) NOT NULL UNIQUE);
             CREATE TABLE named (id VARCHAR(50) PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE);
             CREATE TABLE seeded (id {key}, name VARCHAR(50) NOT NULL UNIQUE);
             INSERT INTO seeded (name) VALUES ('z')"
        ));
        let inserts = |name: &str| {
            format!(
                "INSERT INTO counting (name) VALUES ('{name}');
                 INSERT INTO named VALUES ('{name} by {name}', '{name}');
                 INSERT INTO seeded (name) VALUES ('{name}')"
            )
        };
        let pool = builder(database, schema).limit(1).open().await.unwrap();
        // While somebody may still look at what was there before, no server clears away what is deleted.
        let mut onlooker = Client::connect(database.url()).await;
        onlooker.execute(match database.engine {
            Engine::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
            _ => "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        }).await;

        let lease = pool.lease().await.unwrap();
        execute(lease.url(), &[inserts("a"), inserts("c"), inserts("e")].join(";")).await;
        let report = lease.give_back().await.unwrap();
        assert_eq!(report.changed(), None);

        let lease = pool.lease().await.unwrap();
        let url = lease.url().reveal();
        let (mut one, mut other) = (Client::connect(&url).await, Client::connect(&url).await);
        let patience = match database.engine {
            Engine::Postgres => "SET lock_timeout = '1s'",
            _ => "SET innodb_lock_wait_timeout = 1",
        };
        for client in [&mut one, &mut other] {
            client.execute(patience).await;
            client.execute("BEGIN").await;
        }
        // Different rows, among those that were there.
        for (first, second) in [("c", "b"), ("e", "d")] {
            one.execute(&inserts(first)).await;
            other.execute(&inserts(second)).await;
        }
        drop((one, other));
        drop(lease);
        onlooker.close().await;
        clean(database, [pool]).await;
    }
}
