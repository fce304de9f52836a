//! Data directories are made once, by whoever comes first, and only what is complete is used.

use std::fs;
use std::time::Instant;

use freshdb_databases::{Kind, Server};
use test_support::Client;

use crate::harness::{Other, Place, lives, names, until};

/// What is in the cache and is no lock.
fn cached(place: &Place) -> Vec<String> {
    names(&place.cache())
        .into_iter()
        .filter(|name| std::path::Path::new(name).extension().is_none_or(|end| end != "lock"))
        .collect()
}

#[tokio::test]
async fn what_was_interrupted_is_not_used() {
    let place = Place::new();
    let config = place.cold_config();
    let mut other = Other::start(Kind::Postgres, &config, &place);
    // One directory for the server that is to come, and one for the data that are being made, already with something in it.
    let begun = || names(&place.run()).iter().any(|name| place.run().join(name).join("data/base").is_dir());
    until("a data directory is begun", begun);
    assert_eq!(cached(&place), [""; 0]);
    other.child.kill().unwrap();
    place.await_empty("nothing is left of it");
    assert_eq!(cached(&place), [""; 0]);

    // Another was interrupted while it copied.
    let lock = names(&place.cache()).pop().expect("a lock");
    let name = lock.strip_suffix(".lock").unwrap();
    let part = place.cache().join(format!("{name}.part"));
    fs::create_dir(&part).unwrap();
    fs::write(part.join("PG_VERSION"), "8.0").unwrap();

    let start = Instant::now();
    let server = Server::of(Kind::Postgres, &config).await.unwrap();
    eprintln!("PostgreSQL: ready without a cache in {:?}", start.elapsed());
    assert_eq!(cached(&place), [name]);
    server.stop().await.unwrap();
    assert!(place.is_empty());
}

#[test]
fn two_processes_share_an_empty_cache() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let place = Place::new();
        let config = place.cold_config();
        let mut others = [(); 2].map(|()| Other::start(kind, &config, &place));
        let servers = others.each_mut().map(Other::server);
        assert!(servers.iter().all(|server| lives(*server)));
        assert_ne!(servers[0], servers[1]);
        assert_eq!(cached(&place).len(), 1);
        drop(others);
        place.await_empty("nothing is left of them");
    }
}

#[tokio::test]
async fn one_that_is_not_wanted_is_made_anew() {
    let place = Place::new();
    let config = place.cold_config();
    Server::of(Kind::Mariadb, &config).await.unwrap().stop().await.unwrap();
    let path = place.cache().join(&cached(&place)[0]);
    fs::write(path.join("mark"), "").unwrap();
    Server::of(Kind::Mariadb, &config).await.unwrap().stop().await.unwrap();
    assert!(path.join("mark").exists());
    Server::of(Kind::Mariadb, &config.with_rebuild(true)).await.unwrap().stop().await.unwrap();
    assert!(!path.join("mark").exists());
    assert_eq!(cached(&place).len(), 1);
}

/// initdb writes it down, and the server heeds no other one.
#[tokio::test]
async fn a_server_has_the_time_zone_of_whoever_starts_it() {
    let place = Place::new();
    let config = place.cold_config();
    for zone in ["Asia/Tokyo", "America/New_York"] {
        let mut other = Other::in_zone(zone, Kind::Postgres, &config, &place);
        let (_, url) = other.server_and_url();
        let mut client = Client::connect(&url.reveal()).await;
        // The driver sets another one for its session.
        let of_server =
            "SELECT COUNT(*) FROM pg_file_settings WHERE lower(name) = 'timezone' AND applied AND setting = ";
        assert_eq!(client.number(&format!("{of_server}'{zone}'")).await, 1, "{zone}");
        client.close().await;
        other.end();
    }
    assert_eq!(cached(&place).len(), 2);
    place.await_empty("nothing is left of them");
}
