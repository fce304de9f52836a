//! What is kept, and what is collected.

use std::time::Duration;

use freshdb_databases::{DatabaseUrl, Garbage, Pool};
use test_support::{Client, DEADLINE, FAIR, Proxy, Weather, eventually, on_every_engine};

use crate::harness::{builder, clean, execute, pool, registry, rows, server, server_at, tables};

on_every_engine! {
    async fn a_database_that_is_kept_stays_as_it_is_until_it_is_collected(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(3).open().await.unwrap();
        let mut kept = Vec::new();
        for number in 0..3 {
            let lease = pool.lease().await.unwrap();
            execute(lease.url(), &format!("INSERT INTO notes VALUES ({number}, 'kept')")).await;
            kept.push((lease.url().clone(), lease.name().to_owned()));
            let report = lease.keep(format!("tests::number {number}; '\"\\")).await.unwrap();
            assert!(report.is_kept());
        }
        for (url, name) in &kept {
            assert_eq!(rows(url, "notes").await, 1);
            let lease = pool.lease().await.unwrap();
            assert_ne!(lease.name(), name);
        }

        let garbage = Garbage::default().checkout(database.url()).kept(1);
        let collected = garbage.collect(&server(database)).await.unwrap();
        assert_eq!(collected.dropped.len(), 2, "{collected:?}");
        let left: Vec<_> = kept.iter().filter(|(_, name)| !collected.dropped.contains(name)).collect();
        assert_eq!(left.len(), 1);
        assert_eq!(rows(&left[0].0, "notes").await, 1);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    async fn of_what_is_kept_only_the_newest_stay(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(2).open().await.unwrap();
        let mut kept = Vec::new();
        for _ in 0..12 {
            let lease = pool.lease().await.unwrap();
            kept.push(lease.url().reveal());
            lease.keep("failed").await.unwrap();
        }
        for url in &kept[..2] {
            eventually("it is collected", async || Client::try_connect(url).await.is_err()).await;
        }
        for url in &kept[2..] {
            Client::connect(url).await.close().await;
        }
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    // As where the clock of this machine, or of another, was fast.
    [mysql, mariadb, postgres]
    async fn what_is_kept_last_is_the_newest_whatever_the_clock_says(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(2).open().await.unwrap();
        let registry = registry(database);
        let mut kept = Vec::new();
        for number in 0..12 {
            let lease = pool.lease().await.unwrap();
            kept.push(lease.url().clone());
            let name = lease.name().to_owned();
            lease.keep("failed").await.unwrap();
            if number < 10 {
                let year = 365 * 24 * 60 * 60 * 1000_i64;
                let sql = format!("UPDATE freshdb_databases SET since = since + {year} WHERE name = '{name}'");
                execute(&registry, &sql).await;
            }
        }
        for url in &kept[..2] {
            eventually("it is collected", async || Client::try_connect(&url.reveal()).await.is_err()).await;
        }
        for url in &kept[2..] {
            Client::connect(&url.reveal()).await.close().await;
        }
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn who_was_taken_for_dead_says_that_it_lives(database: &TestDatabase) {
        let proxy = Proxy::before(database.server_address()).await;
        let through = server_at(database, &database.url_through(proxy.port));
        let pool = Pool::builder(through, tables()).checkout(database.url()).open().await.unwrap();
        let collect = async |garbage: Garbage| garbage.checkout(database.url()).collect(&server(database)).await.unwrap();
        // All that is dropped here is the row of whoever has no lock.
        let lease = pool.lease().await.unwrap();
        proxy.drop_connections();
        collect(Garbage::default()).await;
        eventually("the loss is noticed", async || lease.sessions().await.is_err()).await;
        lease.give_back().await.unwrap_err();

        let lease = pool.lease().await.unwrap();
        let collected = collect(Garbage::everything()).await;
        assert_eq!(collected.in_use.len(), 1, "the template: {collected:?}");
        lease.give_back().await.unwrap();
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn what_freshdb_did_not_make_is_left_alone_whatever_the_registry_says(database: &TestDatabase) {
        let pool = pool(database).await;
        let template = pool.template();
        let registry = registry(database);
        let neighbour = format!("{}_payroll", DatabaseUrl::parse(database.url()).unwrap().database().unwrap());
        execute(&registry, &format!("CREATE DATABASE {neighbour}")).await;
        // By somebody who may write there, and may not drop that database.
        let copied = format!(
            "INSERT INTO freshdb_databases (name, role, state, checkout, fingerprint, template, since, note)
             SELECT '{neighbour}', 'slot', state, checkout, fingerprint, 'gone', 0, '' FROM freshdb_databases
              WHERE name = '{}'",
            template.database().unwrap()
        );
        execute(&registry, &copied).await;
        clean(database, [pool]).await;
        Client::connect(&registry.with_database(&neighbour).reveal()).await.close().await;
        execute(&registry, &format!("DELETE FROM freshdb_databases WHERE name = '{neighbour}'")).await;
        execute(&registry, &format!("DROP DATABASE {neighbour}")).await;
    }
}

on_every_engine! {
    /// Whoever collects templates looks whether each is used, and may be killed before that is known.
    async fn a_template_that_was_to_be_collected_stays_with_whoever_uses_it(database: &TestDatabase) {
        let one = pool(database).await;
        let template = one.template();
        let name = match template.path() {
            Some(file) => file.file_stem().unwrap().to_str().unwrap().to_owned(),
            None => template.database().unwrap(),
        };
        let doubt = format!("UPDATE freshdb_databases SET state = 'doubted' WHERE name = '{name}'");
        execute(&registry(database), &doubt).await;
        let another = pool(database).await;
        assert_eq!(another.template(), template);
        for pool in [&one, &another] {
            let lease = pool.lease().await.unwrap();
            assert_eq!(rows(lease.url(), "words").await, 1);
        }
        clean(database, [one, another]).await;
    }
}

on_every_engine! {
    // There, each test has its server, and so its registry, for itself.
    [sqlite]
    /// A template counts as unfinished only when nobody is found who uses it.
    async fn what_is_looked_at_is_complete(database: &TestDatabase) {
        let one = pool(database).await;
        let template = one.template();
        one.close().await.unwrap();
        let registry = registry(database);
        let killed = "CREATE TRIGGER killed BEFORE UPDATE ON freshdb_databases WHEN NEW.state = 'making'
                      BEGIN SELECT RAISE(ABORT, 'killed'); END";
        execute(&registry, killed).await;
        Garbage::everything().checkout(database.url()).collect(&server(database)).await.unwrap_err();
        execute(&registry, "DROP TRIGGER killed").await;
        assert_eq!(rows(&registry, "freshdb_databases WHERE state = 'doubted'").await, 1);
        let another = pool(database).await;
        assert_eq!(another.template(), template);
        clean(database, [another]).await;
    }
}

on_every_engine! {
    [sqlite]
    /// Whoever was not there when users were listed, and has the template by the time that it is doubted, is seen.
    async fn who_begins_to_use_a_template_meanwhile_keeps_it(database: &TestDatabase) {
        let pool = pool(database).await;
        let registry = registry(database);
        execute(&registry, "CREATE TABLE late AS SELECT * FROM freshdb_databases WHERE role = 'user'").await;
        execute(&registry, "DELETE FROM freshdb_databases WHERE role = 'user'").await;
        let late = "CREATE TRIGGER late AFTER UPDATE ON freshdb_databases WHEN NEW.state = 'doubted'
                    BEGIN INSERT INTO freshdb_databases SELECT * FROM late; END";
        execute(&registry, late).await;
        let collected = Garbage::everything().checkout(database.url()).collect(&server(database)).await.unwrap();
        execute(&registry, "DROP TRIGGER late").await;
        assert!(collected.dropped.is_empty() && collected.in_use.len() == 1, "{collected:?}");
        assert_eq!(rows(&registry, "freshdb_databases WHERE role = 'template' AND state = 'ready'").await, 1);
        let lease = pool.lease().await.unwrap();
        assert_eq!(rows(lease.url(), "words").await, 1);
        drop(lease);
        clean(database, [pool]).await;
    }
}

on_every_engine! {
    [sqlite]
    /// The other half of it: whoever has put himself down as a user looks whether the template is still there for him.
    async fn a_template_that_is_retired_meanwhile_is_not_used(database: &TestDatabase) {
        let one = pool(database).await;
        let template = one.template();
        one.close().await.unwrap();
        let registry = registry(database);
        // Of that template, and not of the one that is made in its place.
        execute(&registry, "CREATE TABLE retiring AS SELECT name FROM freshdb_databases WHERE role = 'template'").await;
        let retire = "CREATE TRIGGER retire AFTER INSERT ON freshdb_databases WHEN NEW.role = 'user' BEGIN
                      UPDATE freshdb_databases SET state = 'retired' WHERE name = NEW.template AND name IN (SELECT name FROM retiring);
                      END";
        execute(&registry, retire).await;
        let another = pool(database).await;
        assert_ne!(another.template(), template);
        clean(database, [another]).await;
    }
}

on_every_engine! {
    [sqlite]
    /// Between the list of what there is and the lock of each.
    async fn what_is_kept_while_others_are_collected_stays(database: &TestDatabase) {
        let pool = builder(database, tables()).limit(2).open().await.unwrap();
        let leases = [pool.lease().await.unwrap(), pool.lease().await.unwrap()];
        for lease in leases {
            lease.give_back().await.unwrap();
        }
        pool.close().await.unwrap();
        let registry = registry(database);
        let kept = "CREATE TRIGGER kept AFTER DELETE ON freshdb_databases WHEN OLD.role = 'slot'
                    BEGIN UPDATE freshdb_databases SET role = 'kept' WHERE role = 'slot'; END";
        execute(&registry, kept).await;
        let everything = || Garbage::everything().checkout(database.url());
        let collected = everything().collect(&server(database)).await.unwrap();
        execute(&registry, "DROP TRIGGER kept").await;
        assert_eq!(collected.in_use.len(), 1, "{collected:?}");
        assert_eq!(rows(&registry, "freshdb_databases WHERE role = 'kept'").await, 1);
        let collected = everything().collect(&server(database)).await.unwrap();
        assert_eq!(collected.dropped.len(), 1, "{collected:?}");
    }
}

on_every_engine! {
    [postgres]
    /// Between the list of those that were left behind and the lock of one of them.
    async fn what_is_kept_while_another_is_looked_for_stays(database: &TestDatabase) {
        let one = pool(database).await;
        let lease = one.lease().await.unwrap();
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'to be looked at')").await;
        let (name, url) = (lease.name().to_owned(), lease.url().clone());

        let proxy = Proxy::before(database.server_address()).await;
        let through = server_at(database, &database.url_through(proxy.port));
        let other = Pool::builder(through, tables()).checkout(database.url()).patience(DEADLINE).open().await.unwrap();
        // The server has been asked before it has answered.
        proxy.set(Weather::Delay(Duration::from_millis(200)));
        let looking = tokio::spawn(other.lease());
        let mut admin = Client::connect(database.url()).await;
        let asked = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'freshdb_registry'
              AND query LIKE 'SELECT name, role, %WHERE template = ''{}'' %'",
            one.template().database().unwrap()
        );
        eventually("it has asked which there are", async || admin.number(&asked).await > 0).await;
        proxy.set(Weather::Stall);
        lease.keep("to be looked at").await.unwrap();
        proxy.set(FAIR);
        let lease = looking.await.unwrap().unwrap();
        assert_ne!(lease.name(), name);
        assert_eq!(rows(&url, "notes").await, 1);
        drop(lease);
        admin.close().await;
        clean(database, [one, other]).await;
    }
}

on_every_engine! {
    async fn nothing_is_collected_that_is_in_use(database: &TestDatabase) {
        let pool = pool(database).await;
        let lease = pool.lease().await.unwrap();
        execute(lease.url(), "INSERT INTO notes VALUES (1, 'here')").await;
        let everything = || Garbage::everything().checkout(database.url());
        let collected = everything().collect(&server(database)).await.unwrap();
        assert!(collected.dropped.is_empty(), "{collected:?}");
        assert_eq!(rows(lease.url(), "notes").await, 1);
        drop(lease);
        drop(pool);

        let mut dropped = Vec::new();
        eventually("the pool has let go", async || {
            let collected = everything().collect(&server(database)).await.unwrap();
            assert!(collected.failed.is_empty(), "{collected:?}");
            dropped.extend(collected.dropped);
            collected.in_use.is_empty()
        })
        .await;
        assert!(dropped.len() >= 2, "the template and a database: {dropped:?}");
        // Nothing is left, and nothing of that is an error.
        let collected = everything().unused_for(Duration::ZERO).collect(&server(database)).await.unwrap();
        assert!(collected.dropped.is_empty(), "{collected:?}");
    }
}
