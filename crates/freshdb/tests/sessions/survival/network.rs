//! A network that is slow, or dead, in the wrong moment.

use std::net::Ipv4Addr;
use std::time::Duration;

use freshdb::Verdict;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use test_support::{FAIR, Proxy, Weather, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::{CLOSE, PlainPool, all_come_back, number, patient};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY)";
const INSERT: &str = "INSERT INTO items VALUES (1)";
const COUNT: &str = "SELECT COUNT(*) FROM items";

/// How long the network takes, each way.
const SLOW: Duration = Duration::from_millis(20);

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// `BEGIN` is on its way when its caller gives up: whoever gets the connection next is in a transaction and does not know.
    async fn plain_pool_hands_out_a_connection_in_a_transaction(database: &TestDatabase, open: Pool) {
        database.execute(CREATE).await;
        let proxy = Proxy::before(database.server_address()).await;
        let pool = open(PlainPool::of_one(), &database.url_through(proxy.port));
        let mut connection = pool.acquire().await.expect("a connection");
        // However late the machine is: no answer comes that could be there before the time is over.
        proxy.set(Weather::Stall);
        assert!(timeout(SLOW, connection.begin()).await.is_err(), "it is cancelled");
        proxy.set(FAIR);
        drop(connection);

        sqlx::query(INSERT).execute(&pool).await.expect("it says that the row is stored");
        let others = open(PlainPool::default(), database.url());
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&others).await.expect("a count");
        assert_eq!(count, 0, "nobody else will ever see it");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    /// At every moment from before `BEGIN` is sent to after its answer is there.
    async fn a_begin_that_is_cancelled_leaves_no_transaction(database: &TestDatabase, open: Open) {
        database.execute(CREATE).await;
        let proxy = Proxy::before(database.server_address()).await;
        let engine = open(&database.url_through(proxy.port), patient().max_connections(1));
        let others = open(database.url(), patient());
        for moment in 0..12_u32 {
            drop(engine.session().await.expect("a session"));
            proxy.set(Weather::Delay(SLOW));
            drop(timeout(SLOW * moment / 4, engine.begin()).await);
            proxy.set(FAIR);
            sqlx::query(INSERT).execute(&engine).await.expect("a row");
            let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&others).await.expect("a count");
            assert_eq!(count, 1, "moment {moment}: the row is there for others to see");
            sqlx::query("DELETE FROM items").execute(&others).await.expect("nobody holds it");
        }
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
        engine.close(CLOSE).await.expect("nothing leaks");
        others.close(CLOSE).await.expect("nothing leaks");
    }
}

#[derive(Clone, Copy)]
enum Greeted {
    Well,
    With1158,
    /// And then with 1158.
    Half,
    /// Of another one's TLS.
    WithOthersBytes,
}

with_every_driver! {
    [mysql, mariadb]
    /// As MySQL does now and then while another session is killed.
    async fn a_server_that_is_disturbed_while_it_greets_is_asked_again(database: &TestDatabase, open: Open) {
        const DISTURBED: &[u8] = b"\x33\0\0\0\xff\x86\x04#08S01Got an error reading communication packets";

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = database.url_through(listener.local_addr().expect("an address").port());
        let address = database.server_address();
        let network = tokio::spawn(async move {
            // The engine's first connection, and the one over which it ends sessions. Nobody else is let in.
            let mut weather =
                [Greeted::With1158, Greeted::Half, Greeted::Well, Greeted::WithOthersBytes, Greeted::Well].into_iter();
            loop {
                let (mut client, _) = listener.accept().await.expect("a connection");
                let mut server = TcpStream::connect(&address).await.expect("a server");
                match weather.next().unwrap_or(Greeted::With1158) {
                    Greeted::Well => {
                        tokio::spawn(async move { drop(copy_bidirectional(&mut client, &mut server).await) });
                    }
                    Greeted::Half => {
                        let mut buffer = [0; 1024];
                        let length = server.read(&mut buffer).await.expect("a greeting");
                        client.write_all(&buffer[..length]).await.expect("it listens");
                        let length = client.read(&mut buffer).await.expect("who it is, or that it wants TLS");
                        assert!(length > 0);
                        client.write_all(DISTURBED).await.expect("it listens");
                    }
                    Greeted::With1158 => client.write_all(DISTURBED).await.expect("it listens"),
                    Greeted::WithOthersBytes => client.write_all(b"\x17\x03\x03\0\x02ab").await.expect("it listens"),
                }
            }
        });
        let engine = open(&url, patient().max_connections(2));
        let mut session = engine.session().await.expect("the third attempt");
        let mut observer = database.observer().await;
        let sleep = database.sleep(30);
        let task = tokio::spawn(async move { session.execute(sqlx::raw_sql(AssertSqlSafe(sleep))).await.map(drop) });
        eventually("it sleeps", async || observer.statements_running().await == 1).await;
        task.abort();
        eventually("it was ended", async || observer.statements_running().await == 0).await;

        let error = engine.session().await.expect_err("three attempts and no more");
        assert_eq!(error.verdict(), Verdict::Lost, "{error}");
        assert!(format!("{error:?}").contains("1158"), "{error:?}");
        engine.close(CLOSE).await.expect("nothing leaks");
        network.abort();
    }
}

with_every_driver! {
    [mysql, mariadb]
    /// It is the fate of one connection, and another is tried besides.
    async fn a_server_that_says_nothing_to_one_connection_is_asked_by_another(database: &TestDatabase, open: Open) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = database.url_through(listener.local_addr().expect("an address").port());
        let address = database.server_address();
        let network = tokio::spawn(async move {
            let (silent, _) = listener.accept().await.expect("a connection");
            let (mut client, _) = listener.accept().await.expect("another connection");
            let mut server = TcpStream::connect(&address).await.expect("a server");
            drop(copy_bidirectional(&mut client, &mut server).await);
            drop(silent);
        });
        let engine = open(&url, patient().max_connections(1));
        let mut session = engine.session().await.expect("the other connection");
        assert_eq!(number(&mut session, "SELECT 1").await.expect("an answer"), 1);
        drop(session);
        all_come_back(&engine).await;
        engine.close(CLOSE).await.expect("nothing leaks");
        network.abort();
    }
}

with_every_plain_pool! {
    [mysql, mariadb, postgres]
    /// The connection is asked whether it lives before it is put back, and the answer never comes: its place is taken for
    /// good, though nobody has it. See <https://github.com/launchbadge/sqlx/issues/4349>.
    async fn plain_pool_loses_the_place_of_a_connection_whose_peer_is_dead(database: &TestDatabase, open: Pool) {
        let proxy = Proxy::before(database.server_address()).await;
        let settings = PlainPool { acquire_timeout: Duration::from_secs(4), ..PlainPool::of_one() };
        let pool = open(settings, &database.url_through(proxy.port));
        let connection = pool.acquire().await.expect("a connection");
        proxy.set(Weather::Stall);
        drop(connection);
        // The server itself is well, and can be reached.
        pool.set_connect_options((*open(settings, database.url()).connect_options()).clone());
        let result = pool.acquire().await.map(drop);
        assert!(matches!(result, Err(sqlx::Error::PoolTimedOut)), "{result:?}");
    }
}

with_every_driver! {
    [mysql, mariadb, postgres]
    async fn a_connection_whose_peer_is_dead_gives_its_place_back(database: &TestDatabase, open: Open) {
        let proxy = Proxy::before(database.server_address()).await;
        let engine = open(&database.url_through(proxy.port), patient().max_connections(3));
        let idle = engine.session().await.expect("a session");
        let mut lent = engine.session().await.expect("a session");
        let tx = engine.begin().await.expect("a transaction");
        (*lent).ping().await.expect("it lives");
        proxy.set(Weather::Stall);
        // What each of them needs before it can be used again is another thing: nothing, to be asked, to be rolled back.
        drop((idle, lent, tx));
        eventually("every place is free", async || engine.stats().in_use == 0).await;

        // What was idle when the network stalled is dead as well; the next three find that out.
        proxy.drop_connections();
        proxy.set(FAIR);
        let all = [engine.session().await, engine.session().await, engine.session().await];
        for session in all {
            sqlx::query("SELECT 1").execute(&mut session.expect("a session")).await.expect("it works");
        }
        engine.close(CLOSE).await.expect("nothing leaks");
        eventually("no transaction is open", async || database.open_transactions().await == 0).await;
    }
}

with_every_driver! {
    [postgres]
    /// A function may raise what the server says of a connection that is gone, and what cannot be sent is an error of the driver's. The
    /// same work on another connection would meet it again.
    async fn an_error_on_a_connection_that_lives_is_not_its_loss(database: &TestDatabase, open: Open) {
        let engine = open(database.url(), patient().max_connections(1));
        let mut session = engine.session().await.expect("a session");
        let id = session.connection_id();
        for state in ["08001", "57P01", "53300"] {
            let raise = format!("DO $$ BEGIN RAISE EXCEPTION 'another server is away' USING ERRCODE = '{state}'; END $$");
            let error = sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&mut session).await.expect_err("it is raised");
            assert_eq!(Verdict::of(&error), Verdict::Refused, "{error}");
        }
        drop(session);

        let mut session = engine.session().await.expect("a session");
        assert_eq!(session.connection_id(), id, "the connection is kept");
        let many: Vec<String> = (1..=70_000).map(|number| format!("${number}")).collect();
        let sql = format!("SELECT 1 WHERE 1 IN ({})", many.join(", "));
        let query = (0..70_000).fold(sqlx::query(sqlx::AssertSqlSafe(sql)), sqlx::query::Query::bind);
        let error = query.execute(&mut session).await.expect_err("there are too many");
        assert_eq!(Verdict::of(&error), Verdict::Refused, "{error}");
        drop(session);

        let mut session = engine.session().await.expect("a session");
        assert_eq!(session.connection_id(), id, "the connection is kept");
        sqlx::raw_sql("SELECT 1").execute(&mut session).await.expect("it works");
        drop(session);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}
