//! The server restarts.

use freshdb_databases::{Error, ErrorKind, Kind, Pool, schema};
use test_support::{Client, eventually};

use super::harness::{
    CHECKOUT, End, Neighbour, OwnServer, assert_all_can_go, assert_pristine, execute, tables, use_pool,
};

/// Where a server's user may write.
pub(crate) fn place() -> tempfile::TempDir {
    let place =
        tempfile::tempdir_in(if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.path(), open_to_all).unwrap();
    place
}

async fn the_server_restarts(kind: Kind) {
    let place = place();
    let mut server = OwnServer::start(kind, place.path()).await;
    let neighbour = Neighbour::make(&server).await;
    for how in [End::InOrder, End::Killed] {
        let pool = Pool::builder(server.server.clone(), tables()).checkout(CHECKOUT).limit(3).open().await.unwrap();
        use_pool(&pool).await;
        let (idle, busy, going) =
            (pool.lease().await.unwrap(), pool.lease().await.unwrap(), pool.lease().await.unwrap());
        let mut client = Client::connect(&busy.url().reveal()).await;
        client.execute("BEGIN; INSERT INTO notes VALUES (1, 'never committed')").await;
        execute(going.url(), "INSERT INTO notes VALUES (1, 'going'); DELETE FROM words").await;
        execute(idle.url(), "INSERT INTO notes VALUES (1, 'here')").await;

        let going_name = going.name().to_owned();
        let going = going.give_back();
        server.end(how);
        // It may have been put back before the server ended.
        if let Err(error) = going.await {
            assert_clear(&error, &going_name);
        }
        let busy_name = busy.name().to_owned();
        assert_clear(&busy.give_back().await.unwrap_err(), &busy_name);
        client.try_execute("COMMIT").await.unwrap_err();

        // Until then a database that was ready before can still be handed out.
        eventually("the loss is noticed", async || idle.sessions().await.is_err()).await;
        let waiting = tokio::spawn(pool.lease());
        server.start_again().await;
        let idle_name = idle.name().to_owned();
        assert_clear(&idle.give_back().await.unwrap_err(), &idle_name);
        let lease = waiting.await.unwrap().unwrap();
        assert_pristine(&lease).await;
        lease.give_back().await.unwrap();
        use_pool(&pool).await;
        neighbour.assert_unharmed().await;
        pool.close().await.unwrap();
    }
    assert_all_can_go(&server).await;
    neighbour.assert_unharmed().await;
    server.stop().await;
}

/// It says what became of which database, that it was the server, and repeats no password.
fn assert_clear(error: &Error, name: &str) {
    let text = format!("{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{text}");
    assert!(text.contains(name), "{text}");
}

mod the_pool_lives_through_a_restart {
    use super::{Kind, the_server_restarts};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mysql() {
        the_server_restarts(Kind::Mysql).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        the_server_restarts(Kind::Mariadb).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        the_server_restarts(Kind::Postgres).await;
    }
}

/// A crash empties them, in the template too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_postgres_loses_in_a_crash_are_missed() {
    let place = place();
    let mut server = OwnServer::start(Kind::Postgres, place.path()).await;
    let (url, existing) = (server.server.url().clone(), server.server.clone());
    let open = |rebuild| {
        let unlogged = "CREATE UNLOGGED TABLE words (id serial, word text); INSERT INTO words (word) VALUES ('fresh')";
        Pool::builder(existing.clone(), schema::sql(unlogged)).checkout(CHECKOUT).limit(1).rebuild(rebuild).open()
    };
    let look = async |pool: Pool| {
        let lease = pool.lease().await?;
        let mut client = Client::connect(&lease.url().reveal()).await;
        assert_eq!(client.number("SELECT COUNT(*) FROM words").await, 1);
        assert_eq!(client.number("SELECT nextval('words_id_seq')").await, 2);
        client.close().await;
        lease.give_back().await?;
        pool.close().await
    };
    for how in [End::InOrder, End::Killed] {
        look(open(false).await.unwrap()).await.unwrap();
        // The server does not write down each commit at once, and one that is killed has lost the last ones.
        execute(&url, "CHECKPOINT").await;
        server.end(how);
        server.start_again().await;
    }
    // Neither a database that was left pristine is handed out, nor a new copy.
    let pool = open(false).await.unwrap();
    assert_missed(&pool.lease().await.unwrap_err());
    pool.close().await.unwrap();
    // Nor is a template read that has lost them.
    execute(&url.with_database("freshdb_registry"), "DELETE FROM freshdb_contents").await;
    assert_missed(&open(false).await.unwrap_err());
    look(open(true).await.unwrap()).await.unwrap();
    look(open(false).await.unwrap()).await.unwrap();
    server.stop().await;
}

fn assert_missed(error: &Error) {
    let text = format!("{error:?}");
    assert!(text.contains("public.words") && text.contains("FRESHDB_REBUILD=1"), "{text}");
}

/// The server writes down the counter of a sequence ahead of its values, and after a crash goes on from there, in the template too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_that_postgres_moves_on_in_a_crash_are_where_the_schema_left_them() {
    let place = place();
    let mut server = OwnServer::start(Kind::Postgres, place.path()).await;
    let (url, existing) = (server.server.url().clone(), server.server.clone());
    let open = || {
        let schema = "CREATE TABLE words (id serial, word text); INSERT INTO words (word) VALUES ('fresh')";
        Pool::builder(existing.clone(), schema::sql(schema)).checkout(CHECKOUT).limit(1).open()
    };
    // One that was started by this test can be killed without waiting for whoever takes note of it.
    server.end(End::InOrder);
    server.start_again().await;
    // No copy is made, for which the server may write out all that it has.
    open().await.unwrap().close().await.unwrap();
    // It does not write down each commit at once, and one that is killed has lost the last ones.
    execute(&url, "SELECT pg_switch_wal()").await;
    server.end(End::Killed);
    server.start_again().await;
    let pool = open().await.unwrap();
    let lease = pool.lease().await.unwrap();
    let mut client = Client::connect(&lease.url().reveal()).await;
    assert_eq!(client.number("SELECT nextval('words_id_seq')").await, 2);
    client.close().await;
    lease.give_back().await.unwrap();
    pool.close().await.unwrap();
    server.stop().await;
}
