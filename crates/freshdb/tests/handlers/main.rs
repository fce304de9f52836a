//! Sessions as arguments of axum's handlers, over a real socket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::routing::{get, post};
use freshdb::axum::{SessionRejection, Then};
use freshdb::test::{Lease, Schema, schema};
use freshdb::{EngineOptions, OrmEngine, OrmSession, OrmTx};
use sea_orm::ConnectionTrait;
use test_support::{DEADLINE, Engine, TestDatabase, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[derive(Clone)]
struct App {
    engine: OrmEngine,
    /// A statement that takes half a minute.
    sleep: String,
}

impl FromRef<App> for OrmEngine {
    fn from_ref(app: &App) -> Self {
        app.engine.clone()
    }
}

impl FromRef<App> for String {
    fn from_ref(app: &App) -> Self {
        app.sleep.clone()
    }
}

/// The text that was posted is the new name; `no` is refused after it was written.
async fn rename(Then(name, tx): Then<String, OrmTx>) -> StatusCode {
    tx.execute_unprepared(&format!("UPDATE items SET name = '{name}'")).await.expect("it is executed");
    if name == "no" {
        return StatusCode::CONFLICT;
    }
    tx.commit().await.expect("it commits");
    StatusCode::NO_CONTENT
}

async fn name(session: OrmSession) -> String {
    let statement = sea_orm::Statement::from_string(session.backend(), "SELECT name FROM items");
    let row = session.query_one_raw(statement).await.expect("it is executed").expect("a row");
    row.try_get_by_index(0).expect("a name")
}

async fn linger(axum::extract::State(sleep): axum::extract::State<String>, tx: OrmTx) -> StatusCode {
    tx.execute_unprepared("UPDATE items SET name = 'lingers'").await.expect("it is executed");
    tx.execute_unprepared(&sleep).await.expect("it is executed");
    StatusCode::NO_CONTENT
}

async fn refuse(session: Result<OrmSession, SessionRejection>) -> String {
    session.map_or_else(|rejection| rejection.error().to_string(), |_| "a session".into())
}

async fn purpose(axum::extract::State(engine): axum::extract::State<OrmEngine>, _session: OrmSession) -> String {
    engine.open_sessions()[0].label().expect("a label").to_owned()
}

fn items() -> impl Schema {
    schema::sql("CREATE TABLE items (id INTEGER PRIMARY KEY, name VARCHAR(20)); INSERT INTO items VALUES (1, 'first');")
}

/// The database of a lease, as others see it.
fn elsewhere(lease: &Lease) -> TestDatabase {
    TestDatabase::at(Engine::named(lease.kind().name()), &lease.url().reveal())
}

/// A service that listens, until it is dropped.
struct Server {
    app: App,
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

async fn serve(lease: &Lease, options: EngineOptions) -> Server {
    let engine = options.lazy_orm(&lease.url().reveal()).expect("an engine");
    let app = App { engine, sleep: elsewhere(lease).sleep(30) };
    let router = Router::new()
        .route("/name", get(name).post(rename))
        .route("/linger", post(linger))
        .route("/refuse", get(refuse))
        .nest("/nested", Router::new().route("/purpose", get(purpose)))
        .with_state(app.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
    tokio::spawn(async move { serving.await.expect("it serves") });
    Server { app, address, _stop: stop }
}

async fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.write_all(request(method, path, body).as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    answer
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn patient() -> EngineOptions {
    EngineOptions::new().acquire_timeout(DEADLINE / 2)
}

#[freshdb::test(schema = items())]
async fn a_handler_has_its_session_and_commits_explicitly(lease: Lease) {
    let Server { app, address, _stop } = serve(&lease, patient()).await;
    assert!(send(address, "GET", "/name", "").await.ends_with("\r\n\r\nfirst"));
    assert!(send(address, "POST", "/name", "second").await.starts_with("HTTP/1.1 204"));
    assert!(send(address, "POST", "/name", "no").await.starts_with("HTTP/1.1 409"));
    assert!(send(address, "GET", "/name", "").await.ends_with("\r\n\r\nsecond"));
    app.engine.close(DEADLINE).await.expect("nothing leaks");
    let refused = send(address, "GET", "/name", "").await;
    assert!(refused.starts_with("HTTP/1.1 500"), "{refused}");
    assert!(send(address, "GET", "/refuse", "").await.contains("is closed"));
}

/// A client that goes away while its statement runs leaves no open transaction, and nobody waits for its locks.
#[freshdb::test(schema = items())]
async fn a_client_that_goes_away_takes_its_transaction_with_it(lease: Lease) {
    let Server { app, address, _stop } = serve(&lease, patient()).await;
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.write_all(request("POST", "/linger", "").as_bytes()).await.expect("sent");
    eventually("the handler is in its statement", async || {
        app.engine
            .open_sessions()
            .iter()
            .any(|session| session.last_statement().is_some_and(|statement| statement == app.sleep))
    })
    .await;
    let open = app.engine.open_sessions();
    assert_eq!(open[0].label(), Some("POST /linger"));
    drop(socket);
    let gone = Instant::now();
    assert!(send(address, "POST", "/name", "others").await.starts_with("HTTP/1.1 204"));
    assert!(gone.elapsed() < Duration::from_secs(20), "it waited for the statement: {:?}", gone.elapsed());
    assert!(send(address, "GET", "/name", "").await.ends_with("\r\n\r\nothers"));
    eventually("no transaction is open", async || elsewhere(&lease).open_transactions().await == 0).await;
}

/// Routers in one another may have the same routes.
#[freshdb::test(schema = items(), on = [sqlite])]
async fn a_session_is_for_what_the_client_asked(lease: Lease) {
    let Server { address, _stop, .. } = serve(&lease, patient()).await;
    assert!(send(address, "GET", "/nested/purpose?of=it", "").await.ends_with("\r\n\r\nGET /nested/purpose"));
}

/// A body that comes slowly holds no connection, where the handler asks for the body first.
#[freshdb::test(schema = items())]
async fn a_slow_body_holds_no_session(lease: Lease) {
    let Server { address, _stop, .. } = serve(&lease, patient().max_connections(1)).await;
    let mut slow = TcpStream::connect(address).await.expect("a connection");
    slow.write_all(b"POST /name HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nsl")
        .await
        .expect("sent");
    assert!(send(address, "GET", "/name", "").await.ends_with("\r\n\r\nfirst"));
    slow.write_all(b"ow").await.expect("sent");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(send(address, "GET", "/name", "").await.ends_with("\r\n\r\nslow"));
}

/// Exhausted, the answer is to come back later.
#[freshdb::test(schema = items())]
async fn without_a_session_the_answer_is_to_come_back(lease: Lease) {
    let options = EngineOptions::new().max_connections(1).acquire_timeout(Duration::from_millis(300));
    let Server { app, address, _stop } = serve(&lease, options).await;
    let mut held = app.engine.session().await;
    while held.is_err() {
        // Unoptimised, a first connection can take longer than that.
        held = app.engine.session().await;
    }
    let answer = send(address, "GET", "/name", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    drop(held);
    // Not at once: before it has come back, its place may be missed for longer than that.
    eventually("it is answered", async || send(address, "GET", "/name", "").await.ends_with("\r\n\r\nfirst")).await;
}
