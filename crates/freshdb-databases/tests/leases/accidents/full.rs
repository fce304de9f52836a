//! The disk is full.

use std::time::{Duration, Instant};

use freshdb_databases::schema;
use freshdb_databases::{Error, ErrorKind, Kind, Lease, Pool};
use test_support::{Client, DEADLINE};
use tokio::time::timeout;

use super::disk::Disk;
use super::harness::{CHECKOUT, Neighbour, OwnServer, assert_all_can_go, assert_pristine, execute, tables, use_pool};

/// More than fit into what a server may free meanwhile.
const LEASES: usize = 12;

/// Some servers wait a minute for somebody to make room before they give up.
const LONG: Duration = Duration::from_mins(3);

async fn the_disk_fills_up(kind: Kind, mebibytes: u32) {
    let disk = match Disk::mount(mebibytes) {
        Ok(disk) => disk,
        Err(why) => {
            let sentence = "a full disk was NOT tested, for no file system can be mounted";
            test_support::say(&format!("warning: {kind}: {sentence}: {why}"));
            return;
        }
    };
    let mut server = OwnServer::start(kind, disk.path()).await;
    let neighbour = Neighbour::make(&server).await;
    let pool = Pool::builder(server.server.clone(), tables()).checkout(CHECKOUT).limit(LEASES).open().await.unwrap();
    use_pool(&pool).await;
    let hit = pool.lease().await.unwrap();

    disk.fill();
    write_until_refused(&hit).await;
    let hit_name = hit.name().to_owned();
    // What is only deleted may need no room.
    if let Err(error) = timeout(LONG, hit.give_back()).await.expect("an answer") {
        assert_clear(&error, Some(&hit_name));
    }
    // What the server has just dropped makes room, for a moment.
    let started = Instant::now();
    let refused = loop {
        disk.fill();
        // A new template has to be written.
        let other = schema::sql("CREATE TABLE other (id INTEGER PRIMARY KEY); INSERT INTO other VALUES (1)");
        let other = Pool::builder(server.server.clone(), other).checkout(CHECKOUT).rebuild(true).open();
        match timeout(LONG, other).await.expect("an answer") {
            Ok(pool) => pool.close().await.unwrap(),
            Err(error) => break error,
        }
        assert!(started.elapsed() < DEADLINE, "there is always room for a template");
    };
    assert_clear(&refused, None);
    // So has a copy, once those that were made before are in use.
    let mut leases = Vec::new();
    let refused = loop {
        disk.fill();
        match timeout(LONG, pool.lease()).await.expect("an answer") {
            Ok(lease) => leases.push(lease),
            Err(error) => break error,
        }
        assert!(leases.len() < LEASES, "there was room for all of them");
    };
    assert_clear(&refused, None);

    disk.make_room();
    if !server.lives() {
        server.start_again().await;
    }
    for lease in leases {
        let name = lease.name().to_owned();
        if let Err(error) = timeout(LONG, lease.give_back()).await.expect("an answer") {
            assert_clear(&error, Some(&name));
        }
    }
    let started = Instant::now();
    let lease = loop {
        match timeout(LONG, pool.lease()).await.expect("an answer") {
            Ok(lease) => break lease,
            Err(error) => assert!(started.elapsed() < DEADLINE, "the pool does not recover: {error:?}"),
        }
    };
    assert_pristine(&lease).await;
    lease.give_back().await.unwrap();
    use_pool(&pool).await;
    neighbour.assert_unharmed().await;
    pool.close().await.unwrap();
    assert_all_can_go(&server).await;
    neighbour.assert_unharmed().await;
    server.stop().await;
}

/// As a test would that writes a lot.
async fn write_until_refused(lease: &Lease) {
    let text = "x".repeat(1900);
    let writing = async {
        let mut client = Client::try_connect(&lease.url().reveal()).await?;
        for some in 0..400 {
            let rows: Vec<String> = (0..100).map(|one| format!("({}, '{text}')", some * 100 + one)).collect();
            client.try_execute(&format!("INSERT INTO notes VALUES {}", rows.join(", "))).await?;
        }
        Ok::<(), sqlx::Error>(())
    };
    // Otherwise it is refused, or still waits for room.
    if let Ok(Ok(())) = timeout(Duration::from_secs(5), writing).await {
        panic!("there was room for 80 MB");
    }
}

/// The disk is named, by the server's words or ours, or the server that did not survive it.
fn assert_clear(error: &Error, name: Option<&str>) {
    let text = format!("{error:?}");
    let of_disk =
        ["hint: make room", "No space left on device", "disk is full"].iter().any(|words| text.contains(words));
    assert!(of_disk || error.kind() == ErrorKind::Unreachable, "{text}");
    assert!(name.is_none_or(|name| text.contains(name)), "{text}");
}

mod the_pool_lives_through_a_full_disk {
    use super::{Kind, the_disk_fills_up};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        the_disk_fills_up(Kind::Sqlite, 8).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mysql() {
        the_disk_fills_up(Kind::Mysql, 300).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        the_disk_fills_up(Kind::Mariadb, 300).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        the_disk_fills_up(Kind::Postgres, 200).await;
    }
}

/// A server that writes its log for replicas waits for room there without end, and tells nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_room_is_not_waited_for_without_end() {
    let kind = Kind::Mysql;
    let disk = match Disk::mount(300) {
        Ok(disk) => disk,
        Err(why) => {
            test_support::say(&format!(
                "warning: {kind}: a full disk was NOT tested, for no file system can be mounted: {why}"
            ));
            return;
        }
    };
    let server = OwnServer::start(kind, disk.path()).await;
    // Without a number it has no replica, and what freshdb does is not logged.
    execute(server.server.url(), "SET GLOBAL server_id = 1").await;
    let pool = Pool::builder(server.server.clone(), tables()).checkout(CHECKOUT).open().await.unwrap();
    pool.close().await.unwrap();
    disk.fill();
    // In the last page of the log there is room still, for less than that.
    let names: Vec<String> = (0..200).map(|number| format!("mysql.{}{number}", "x".repeat(50))).collect();
    let statement = format!("DROP TABLE IF EXISTS {}", names.join(","));
    let mut client = Client::connect(&server.server.url().reveal()).await;
    let waits = timeout(Duration::from_secs(5), client.try_execute(&statement)).await;
    assert!(waits.is_err(), "{waits:?}");
    let other = schema::sql("CREATE TABLE other (id INTEGER PRIMARY KEY); INSERT INTO other VALUES (1)");
    let other = Pool::builder(server.server.clone(), other).checkout(CHECKOUT).open();
    let refused = timeout(LONG, other).await.expect("an answer").unwrap_err();
    let text = format!("{refused:?}");
    assert!(text.contains("disk is full") || text.contains("hint: make room"), "{text}");
    disk.make_room();
    server.stop().await;
}
