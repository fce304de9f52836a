//! What happens when clients go away, get in each other's way, or are too many, and when the database does.

use std::io::Write as _;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tags_api::database::Options;
use tags_api::http::Limits;
use test_support::{DEADLINE, FAIR, Proxy, Weather, eventually, warned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, LONG, Setup, TestApp, TestServer, schema};

/// Holds that no transaction is open on the server, that every connection of the pool is back, and that what is stored
/// through each of them is stored for others to see: none is inside a transaction that nobody will commit.
async fn check_pool_is_whole(app: &TestApp) {
    eventually("every connection is back in the pool", async || app.database.stats().in_use == 0).await;
    eventually("no transaction is open", async || app.elsewhere.open_transactions().await == 0).await;
    let (rounds, limit) = (4, app.database.stats().limit);
    for round in 0..rounds {
        let bodies: Vec<_> =
            (0..limit).map(|number| json!({ "tags": [{ "tag_id": format!("after-{round}-{number}") }] })).collect();
        for answer in join_all(bodies.iter().map(|body| app.post_tags(body))).await {
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        }
    }
    let seen = app.elsewhere.observer().await.number("SELECT COUNT(*) FROM tags WHERE tag_id LIKE 'after-%'").await;
    assert_eq!(usize::try_from(seen), Ok(rounds * limit), "what was answered with 201 is stored");
    assert_eq!(app.elsewhere.open_transactions().await, 0);
}

/// For ten seconds, four clients post sets that overlap, two in one order and two in the other, with tags that are
/// new each time among them.
#[freshdb::test(schema = schema(), on = [mysql, mariadb, postgres], flavor = "multi_thread", timeout = LONG)]
async fn overlapping_upserts_in_opposite_order_all_succeed(app: TestApp) {
    const DURATION: Duration = Duration::from_secs(10);

    async fn post_until(app: &TestApp, end: Instant, client: usize) -> u64 {
        let mut rounds = 0;
        while Instant::now() < end {
            let mut tags: Vec<Value> = (client * 15..client * 15 + 60)
                .map(|number| json!({ "tag_id": format!("shared-{number:03}"), "description": format!("{client}/{rounds}") }))
                .collect();
            tags.insert(30, json!({ "tag_id": format!("new-{rounds:06}-{client}") }));
            if client % 2 == 1 {
                tags.reverse();
            }
            let answer = app.post_tags(&json!({ "tags": tags })).await;
            assert_eq!(answer.status, StatusCode::CREATED, "client {client}, round {rounds}: {answer:?}");
            rounds += 1;
        }
        rounds
    }

    let end = Instant::now() + DURATION;
    let rounds = join_all((0..4).map(|client| post_until(&app, end, client))).await;

    let new = app.tag_ids("?prefix=new-").await;
    assert_eq!(new.len() as u64, rounds.iter().sum::<u64>(), "nothing is lost");
    let shared = app.get("/api/tag?prefix=shared-").await.json;
    let shared = shared["tags"].as_array().expect("a list");
    assert_eq!(shared.len(), 105);
    for tag in shared {
        let (client, round) = tag["description"].as_str().and_then(|text| text.split_once('/')).expect("a description");
        let last = rounds[client.parse::<usize>().expect("a client")] - 1;
        assert_eq!(
            round.parse::<u64>().expect("a round"),
            last,
            "a client's last word on a tag is that of its last post: {tag}"
        );
    }
    assert!(rounds.iter().all(|rounds| *rounds > 10), "every client gets its turn: {rounds:?}");
}

/// Posts that describe some tags and not others lock the tags that they share in one order too.
#[freshdb::test(schema = schema(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn who_describes_what_others_do_not_meets_no_deadlock(app: TestApp) {
    for round in 0..100 {
        let (first, second) = (format!("{round}-a"), format!("{round}-b"));
        let one = json!({ "tags": [{ "tag_id": first, "description": "one" }, { "tag_id": second }] });
        let other = json!({ "tags": [{ "tag_id": first }, { "tag_id": second, "description": "other" }] });
        // Twice: the tags are new at first, and then they are there.
        for _ in 0..2 {
            let (one, other) = tokio::join!(app.post_tags(&one), app.post_tags(&other));
            assert_eq!((one.status, other.status), (StatusCode::CREATED, StatusCode::CREATED));
        }
        assert_eq!(app.find(&first).await.json["description"], "one");
        assert_eq!(app.find(&second).await.json["description"], "other");
    }
    assert_eq!(app.database.stats().conflicts, 0);
}

/// The tag is gone, and the connection was lost before the server said so: whoever deleted it does not hear that there was none.
///
/// On PostgreSQL, because there a COMMIT can be made to wait: for a constraint that is checked last.
#[freshdb::test(schema = schema(), on = [postgres], flavor = "multi_thread")]
async fn a_deletion_whose_end_was_not_heard_is_one(setup: Setup) {
    let proxy = Proxy::before(setup.elsewhere.server_address()).await;
    let app = setup.app_at(&setup.elsewhere.url_through(proxy.port), &setup.options(), Limits::default()).await;
    app.store(&["gone"]).await;
    app.elsewhere
        .execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER waits AFTER DELETE ON tags DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION wait()",
        )
        .await;
    let mut lock = test_support::Client::connect(app.elsewhere.url()).await;
    lock.execute("SELECT pg_advisory_lock(1)").await;
    let lost = async {
        eventually("COMMIT waits", async || app.elsewhere.waiting_transactions().await == 1).await;
        proxy.drop_connections();
        eventually("it is tried again", async || app.elsewhere.waiting_transactions().await == 2).await;
        lock.close().await;
    };
    let (answer, ()) = tokio::join!(app.delete("gone"), lost);
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    assert_eq!(app.find("gone").await.status, StatusCode::NOT_FOUND);
}

/// A thousand clients close their socket somewhere in their request: in its head, in its body, or after it.
#[freshdb::test(schema = schema(), flavor = "multi_thread", timeout = LONG)]
async fn clients_that_go_away_leave_nothing_behind(server: TestServer) {
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..1000_u32 {
        let tags: Vec<Value> = (0..random.u32(1..50))
            .map(|tag| json!({ "tag_id": format!("gone-{}", (number * 31 + tag) % 200), "description": format!("{number}") }))
            .collect();
        let body = json!({ "tags": tags }).to_string();
        let request = format!(
            "POST /api/tags HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = if random.bool() { request.len() } else { random.usize(1..request.len()) };
        let mut socket = TcpStream::connect(server.address).await.expect("a connection");
        socket.write_all(&request.as_bytes()[..sent]).await.expect("sent");
        if sent == request.len() {
            // Somewhere between at once and after the answer.
            tokio::time::sleep(Duration::from_micros(random.u64(0..4000))).await;
        }
    }
    check_pool_is_whole(&server.app).await;
}

/// On a slow network, requests are dropped at every stage: while a connection is made, between BEGIN and its answer,
/// in the statement, in COMMIT.
#[freshdb::test(schema = schema(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn a_request_dropped_at_any_moment_leaves_no_transaction(setup: Setup) {
    let proxy = Proxy::before(setup.elsewhere.server_address()).await;
    let options = Options { pool_size: 3, ..setup.options() };
    let server = setup.server_at(&setup.elsewhere.url_through(proxy.port), &options, Limits::default()).await;
    proxy.set(Weather::Delay(Duration::from_millis(10)));
    for moment in 0..120 {
        let body = json!({ "tags": [{ "tag_id": format!("dropped-{moment}") }] });
        let dropped = tokio::time::timeout(Duration::from_millis(moment), server.post_tags(&body)).await;
        drop(dropped);
    }
    proxy.set(FAIR);
    check_pool_is_whole(&server.app).await;
}

/// Gone, the service says so and lives; back, it works, and nobody had to restart it.
#[freshdb::test(schema = schema(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn a_database_that_goes_away_and_comes_back_needs_no_restart(setup: Setup) {
    let proxy = Proxy::before(setup.elsewhere.server_address()).await;
    let app = setup.app_at(&setup.elsewhere.url_through(proxy.port), &setup.options(), Limits::default()).await;
    app.store(&["before"]).await;

    proxy.set(Weather::Cut);
    for _ in 0..3 {
        let answer = app.get("/api/tag").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json, json!({ "detail": "The database is not available" }));
    }
    let answer = app.post_tags(&json!({ "tags": [{ "tag_id": "during" }] })).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.get("/healthz").await.status, StatusCode::OK);

    proxy.set(FAIR);
    assert_eq!(app.tag_ids("").await, ["before"], "the very next request is answered");
    assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
    check_pool_is_whole(&app).await;
}

/// A server that restarts closes every connection: requests afterwards do not see it.
#[freshdb::test(schema = schema(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn a_restart_between_two_requests_is_not_seen(setup: Setup) {
    let proxy = Proxy::before(setup.elsewhere.server_address()).await;
    let app = setup.app_at(&setup.elsewhere.url_through(proxy.port), &setup.options(), Limits::default()).await;
    for round in 0..10 {
        let tags: Vec<String> = (0..10).map(|number| format!("{round}-{number}")).collect();
        let bodies: Vec<Value> = tags.iter().map(|tag| json!({ "tags": [{ "tag_id": tag }] })).collect();
        for answer in join_all(bodies.iter().map(|body| app.post_tags(body))).await {
            assert_eq!(answer.status, StatusCode::CREATED, "round {round}: {answer:?}");
        }
        proxy.drop_connections();
    }
    assert_eq!(app.tag_ids("").await.len(), 100);
}

/// A network that swallows everything: the request ends at its limit, and the service recovers.
#[freshdb::test(schema = schema(), on = [mysql, mariadb, postgres], flavor = "multi_thread")]
async fn a_database_that_falls_silent_holds_no_request_beyond_its_limit(setup: Setup) {
    let proxy = Proxy::before(setup.elsewhere.server_address()).await;
    let limits = Limits::new(1 << 20, Duration::from_millis(400), 100);
    let app = setup.app_at(&setup.elsewhere.url_through(proxy.port), &setup.options(), limits).await;
    app.store(&["before"]).await;
    proxy.set(Weather::Stall);
    let started = Instant::now();
    let answers = join_all((0..20).map(|_| app.get("/api/tag"))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE));
    assert!(started.elapsed() < DEADLINE / 2, "{:?}", started.elapsed());
    let answer = app.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json["detail"], "the database did not answer within 1s");
    // The connections that were caught in it are dead: the network forgets them.
    proxy.set(Weather::Cut);
    proxy.set(FAIR);
    eventually("the service answers again", async || app.get("/api/tag").await.status == StatusCode::OK).await;
}

/// One connection, held by a request that waits for a lock: the next request is told to come back.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn an_exhausted_pool_turns_requests_away(setup: Setup) {
    let options = Options { pool_size: 1, pool_wait: Duration::from_secs(1), ..setup.options() };
    let app = setup.app(&options, Limits::default()).await;
    let lock = app.elsewhere.lock_tags().await;
    let body = json!({ "tags": [{ "tag_id": "waits" }] });
    let waiting = app.post_tags(&body);
    let turned_away = async {
        eventually("the connection is in use", async || app.database.stats().in_use == 1).await;
        let answer = app.get("/api/tag").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json, json!({ "detail": "Every database connection is in use" }));
        let metrics = app.get("/metrics").await.text;
        assert!(metrics.contains("\ndb_pool_connections{state=\"in_use\"} 1\n"), "{metrics}");
        assert!(metrics.contains("\ndb_pool_exhaustions_total 1\n"), "{metrics}");
        lock.release().await;
    };
    let (answer, ()) = tokio::join!(waiting, turned_away);
    assert_eq!(answer.status, StatusCode::CREATED, "who waited is served");
    assert_eq!(app.tag_ids("").await, ["waits"]);
}

/// Whoever asks whether the service is ready learns whether that is the database's fault.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn an_exhausted_pool_is_told_from_a_silent_database(setup: Setup) {
    let app = setup.app(&Options { pool_size: 1, ..setup.options() }, Limits::default()).await;
    let lock = app.elsewhere.lock_tags().await;
    let body = json!({ "tags": [{ "tag_id": "waits" }] });
    let asked = async {
        eventually("the connection is in use", async || app.database.stats().in_use == 1).await;
        let answer = app.get("/readyz").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json["detail"], "no connection became free within 1s");
        lock.release().await;
    };
    let (answer, ()) = tokio::join!(app.post_tags(&body), asked);
    assert_eq!(answer.status, StatusCode::CREATED);
}

/// Writers queue up for SQLite's one place, and not for ever.
#[freshdb::test(schema = schema(), on = [sqlite], flavor = "multi_thread")]
async fn sqlites_writers_are_turned_away_too(setup: Setup) {
    let options = Options { pool_wait: Duration::from_millis(200), ..setup.options() };
    let app = setup.app(&options, Limits::default()).await;
    let lock = app.elsewhere.lock_tags().await;
    let body = json!({ "tags": [{ "tag_id": "waits" }] });
    let turned_away = async {
        eventually("the first writes", async || app.database.stats().in_use == 1).await;
        let answer = app.post_tags(&body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(app.get("/api/tag").await.status, StatusCode::OK, "readers do not wait");
        lock.release().await;
    };
    let (answer, ()) = tokio::join!(app.post_tags(&body), turned_away);
    assert_eq!(answer.status, StatusCode::CREATED);
}

/// What the log tells of it is the server's sentence, and not where in the server's own source that stands.
#[freshdb::test(schema = schema(), on = [postgres], flavor = "multi_thread")]
async fn the_log_shows_no_line_of_the_servers_source(setup: Setup) {
    let options = Options { statement_timeout: Duration::from_millis(700), ..setup.options() };
    let app = setup.app(&options, Limits::default()).await;
    let lock = app.elsewhere.lock_tags().await;
    let answer = app.post_tags(&json!({ "tags": [{ "tag_id": "waits" }] })).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json, json!({ "detail": "The database took too long" }));
    lock.release().await;
    let said = "canceling statement due to statement timeout";
    assert!(warned(&[answer.header("x-request-id").expect("an id"), said]));
    assert!(!warned(&[said, "at line"]));
}

/// At its limit of requests the service says so at once, and its health can still be asked for.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn one_request_too_many_is_turned_away(setup: Setup) {
    let limits = Limits::new(1 << 20, DEADLINE, 1);
    let app = setup.app(&setup.options(), limits).await;
    let lock = app.elsewhere.lock_tags().await;
    let body = json!({ "tags": [{ "tag_id": "waits" }] });
    let turned_away = async {
        eventually("the first request is in", async || app.database.stats().in_use == 1).await;
        let answer = app.get("/api/tag").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json, json!({ "detail": "The service is at its limit of requests" }));
        assert_eq!(app.get("/healthz").await.status, StatusCode::OK);
        assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
        lock.release().await;
    };
    let (answer, ()) = tokio::join!(app.post_tags(&body), turned_away);
    assert_eq!(answer.status, StatusCode::CREATED);
}

/// Sends the head of a post whose body has so many bytes.
async fn begin_post(server: &TestServer, length: usize) -> TcpStream {
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let head = "POST /api/tags HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    socket.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await.expect("sent");
    socket
}

/// Sends the rest of a post and another request, and holds that both are answered: the post with 503 and this sentence.
async fn check_refused_and_served(mut socket: TcpStream, rest: usize, sentence: &str) {
    socket.write_all(&vec![b'x'; rest]).await.expect("sent");
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answers = String::new();
    socket.read_to_string(&mut answers).await.expect("answers");
    assert!(answers.starts_with("HTTP/1.1 503 ") && answers.contains(sentence), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 "), "{answers}");
}

/// A body that does not get through between two looks at it.
const LARGE: usize = 8 << 20;

/// A client that sends all of its body before it reads is told so too, and not cut off in the middle.
#[freshdb::test(schema = schema(), on = [sqlite], flavor = "multi_thread")]
async fn who_is_turned_away_while_it_sends_learns_it(setup: Setup) {
    let server = setup.server(&setup.options(), Limits::new(2 * LARGE, DEADLINE, 1)).await;
    let lock = server.app.elsewhere.lock_tags().await;
    let body = json!({ "tags": [{ "tag_id": "waits" }] });
    let turned_away = async {
        eventually("the first request is in", async || server.app.database.stats().in_use == 1).await;
        let socket = begin_post(&server, LARGE).await;
        check_refused_and_served(socket, LARGE, "The service is at its limit of requests").await;
        lock.release().await;
    };
    let (answer, ()) = tokio::join!(server.app.post_tags(&body), turned_away);
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[freshdb::test(schema = schema(), on = [sqlite], flavor = "multi_thread")]
async fn whose_time_is_up_while_it_sends_learns_it(setup: Setup) {
    let limits = Limits::new(2 * LARGE, Duration::from_millis(200), 1);
    let server = setup.server(&setup.options(), limits).await;
    let socket = begin_post(&server, LARGE).await;
    socket.readable().await.expect("an answer");
    check_refused_and_served(socket, LARGE, "The request was not done within 200ms").await;
}

/// An answer that is not read stays in memory: it counts for as long as it does.
#[freshdb::test(schema = schema(), on = [sqlite], flavor = "multi_thread")]
async fn an_answer_that_is_not_read_takes_a_place(setup: Setup) {
    let server = setup.server(&setup.options(), Limits::new(64 << 20, DEADLINE, 1)).await;
    // More than the system takes for a socket that nobody reads.
    let tags = "INSERT INTO tags (tag_id, description) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 32000)
                SELECT printf('%06d', i), hex(zeroblob(500)) FROM n";
    setup.elsewhere.execute(tags).await;
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    socket.write_all(b"GET /api/tag HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    socket.readable().await.expect("an answer");
    let answer = server.app.find("none").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    drop(socket);
    eventually("the place is free", async || server.app.find("none").await.status == StatusCode::NOT_FOUND).await;
}

/// A lock that someone else does not let go of ends the statement, and the request with it.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn a_statement_over_its_time_is_ended_by_the_server(setup: Setup) {
    let options = Options { statement_timeout: Duration::from_secs(1), ..setup.options() };
    let app = setup.app(&options, Limits::default()).await;
    let lock = app.elsewhere.lock_tags().await;
    let answer = app.post_tags(&json!({ "tags": [{ "tag_id": "late" }] })).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json, json!({ "detail": "The database took too long" }));
    lock.release().await;
    check_pool_is_whole(&app).await;
    assert_eq!(app.tag_ids("?prefix=late").await, Vec::<String>::new());
}

/// A request over its time is told so; what it did is undone, and its connection comes back.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn a_request_over_its_time_is_undone(setup: Setup) {
    let limits = Limits::new(1 << 20, Duration::from_secs(3), 100);
    let app = setup.app(&setup.options(), limits).await;
    let lock = app.elsewhere.lock_tags().await;
    let answer = app.post_tags(&json!({ "tags": [{ "tag_id": "late" }] })).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json, json!({ "detail": "The request was not done within 3s" }));
    lock.release().await;
    check_pool_is_whole(&app).await;
    assert_eq!(app.tag_ids("?prefix=late").await, Vec::<String>::new(), "it was rolled back");
}

/// Asked to stop, the service takes no new connection and finishes what is under way.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn what_is_under_way_is_finished(app: TestApp) {
    let server = app.listen(DEADLINE);
    let lock = app.elsewhere.lock_tags().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("http://{}/api/tags", server.address)).header("content-type", "application/json");
    let request = tokio::spawn(request.body(r#"{"tags":[{"tag_id":"in time"}]}"#).send());
    eventually("the request is in", async || app.database.stats().in_use == 1).await;
    server.stop.send(()).expect("the service runs");
    eventually("nobody listens", async || TcpStream::connect(server.address).await.is_err()).await;
    assert!(!request.is_finished());
    lock.release().await;
    let answer = request.await.expect("the request ends").expect("an answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(!server.served.await.expect("the service ends"), "nothing was cut off");
}

/// So it does with what was sent over connections that the system has made and the service has not accepted yet.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn who_was_let_in_before_is_answered(app: TestApp) {
    let server = app.listen(DEADLINE);
    // On the only thread: the service has not begun.
    let mut clients: Vec<_> = (0..200)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(server.address).expect("a connection");
            client.write_all(b"GET /api/tag HTTP/1.1\r\nhost: x\r\n\r\n").expect("it is taken");
            client.set_nonblocking(true).expect("a setting");
            TcpStream::from_std(client).expect("a socket")
        })
        .collect();
    server.stop.send(()).expect("the service runs");
    for client in &mut clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    }
    assert!(!server.served.await.expect("the service ends"), "nothing was cut off");
}

/// Who has just connected has a second to say what for, and who has been silent for longer is not waited for.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn who_has_just_connected_is_heard(app: TestApp) {
    loop {
        let server = app.listen(DEADLINE);
        let begun = Instant::now();
        let mut silent = TcpStream::connect(server.address).await.expect("a connection");
        let mut client = TcpStream::connect(server.address).await.expect("a connection");
        server.stop.send(()).expect("the service runs");
        eventually("nobody listens", async || TcpStream::connect(server.address).await.is_err()).await;
        client.write_all(b"GET /api/tag HTTP/1.1\r\nhost: x\r\n\r\n").await.ok();
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer).await;
        let too_late = begun.elapsed() >= Duration::from_secs(1);
        assert_eq!(silent.read(&mut [0]).await.expect("an end"), 0);
        assert!(!server.served.await.expect("the service ends"), "nothing was cut off");
        if answer.starts_with("HTTP/1.1 200 OK\r\n") {
            return;
        }
        // A busy machine let the second pass.
        assert!(too_late, "{read:?}: {answer:?}");
    }
}

/// And not for ever.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn what_does_not_end_is_cut_off(app: TestApp) {
    let server = app.listen(Duration::from_millis(300));
    let lock = app.elsewhere.lock_tags().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("http://{}/api/tags", server.address)).header("content-type", "application/json");
    let request = tokio::spawn(request.body(r#"{"tags":[{"tag_id":"late"}]}"#).send());
    eventually("the request is in", async || app.database.stats().in_use == 1).await;
    server.stop.send(()).expect("the service runs");
    assert!(server.served.await.expect("the service ends"), "it says so");
    lock.release().await;
    request.abort();
}
