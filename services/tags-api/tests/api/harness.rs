//! How a test reaches the service: as an argument that is made from the database that is leased to it.
//!
//! [`TestApp`] is the service in this process, for most tests; [`TestServer`] listens, for those about sockets; [`Setup`] makes
//! either with settings of the test's own.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HOST, HeaderMap};
use axum::http::{Request, Response, StatusCode};
use freshdb::test::schema::SeaOrmMigrations;
use freshdb::test::{ArgumentError, Context, FromContext, Kind, Lease, Schema};
use freshdb_databases::{Config, Server};
use futures_util::future::LocalBoxFuture;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tags_api::database::{Database, DatabaseUrl, Options};
use tags_api::http::{App, Limits, router};
use tags_api::migration::Migrator;
use tags_api::server;
use tempfile::TempDir;
use test_support::{DEADLINE, Engine, TestDatabase};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::openapi;

/// How long a test may take that has a lot to do: on a busy machine, unoptimised, longer than the minute that the others have.
pub const LONG: Duration = Duration::from_mins(10);

/// What each test's database starts from.
pub fn schema() -> impl Schema {
    SeaOrmMigrations::<Migrator>::new()
}

/// The database of a lease, as others see it: past the service.
pub fn elsewhere(lease: &Lease) -> TestDatabase {
    TestDatabase::at(Engine::named(lease.kind().name()), &lease.url().reveal())
}

/// A server that nobody shares, with settings that all others on it would meet, and where its data are.
pub async fn own_server(kind: Kind) -> (Server, TempDir) {
    test_support::begin_log();
    let place = tempfile::tempdir().expect("a directory");
    // Root's servers run as another user.
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).expect("it is opened to all");
    let config = Config::from_env().expect("settings").without_urls().without_run().with_run_dir(place.path());
    (Server::of(kind, &config).await.expect("a server"), place)
}

/// A session that migrations of this database wait for, as another process's would be.
pub async fn hold_migrations(lease: &Lease) -> test_support::Client {
    let mut session = test_support::Client::connect(&lease.url().reveal()).await;
    let sql = match lease.kind() {
        Kind::Postgres => "SELECT pg_advisory_lock(8387794213964869)",
        _ => "SELECT GET_LOCK(LEFT(CONCAT('tags-api migrate ', DATABASE()), 64), 0)",
    };
    session.execute(sql).await;
    session
}

/// What others wait for who want to do this with the history of migrations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// A session that those wait for who want to read, or only those who want to write, which migrations were applied.
pub async fn hold_history(lease: &Lease, against: Access) -> test_support::Client {
    let mut session = test_support::Client::connect(&lease.url().reveal()).await;
    let sql = match (lease.kind(), against) {
        (Kind::Postgres, Access::Read) => "BEGIN; LOCK TABLE seaql_migrations",
        (Kind::Postgres, Access::Write) => "BEGIN; LOCK TABLE seaql_migrations IN SHARE MODE",
        (_, Access::Read) => "LOCK TABLES seaql_migrations WRITE",
        (_, Access::Write) => "LOCK TABLES seaql_migrations READ",
    };
    session.execute(sql).await;
    session
}

/// The service in this process: a request is a call.
pub struct TestApp {
    pub database: Database,
    pub elsewhere: TestDatabase,
    router: Router,
}

impl FromContext for TestApp {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        let setup: Setup = context.get().await?;
        Ok(setup.app(&setup.options(), Limits::default()).await)
    }
}

/// The service on a socket.
pub struct TestServer {
    /// The same service, past the socket.
    pub app: TestApp,
    pub address: SocketAddr,
    client: reqwest::Client,
}

impl FromContext for TestServer {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        let setup: Setup = context.get().await?;
        Ok(setup.server(&setup.options(), Limits::default()).await)
    }
}

/// A socket on which a service can be reached, until it is told to stop, or `stop` is dropped.
pub struct Listening {
    pub address: SocketAddr,
    pub stop: oneshot::Sender<()>,
    /// Whether anything had to be cut off.
    pub served: JoinHandle<bool>,
}

/// Makes services with settings of a test's own, and ends them when the test has ended.
pub struct Setup {
    pub elsewhere: TestDatabase,
    lease: Lease,
    started: Started,
}

/// What ends each of the things that were started, in their order.
type Started = Rc<RefCell<Vec<LocalBoxFuture<'static, Result<(), ArgumentError>>>>>;

impl FromContext for Setup {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        test_support::begin_log();
        let lease = context.lease().clone();
        let started = Started::default();
        context.on_end("the service", end(started.clone()));
        Ok(Self { elsewhere: elsewhere(&lease), lease, started })
    }
}

/// The last first, and each of them whatever became of the others.
async fn end(started: Started) -> Result<(), ArgumentError> {
    let mut ended = Ok(());
    for ending in started.take().into_iter().rev() {
        ended = ended.and(ending.await);
    }
    ended
}

impl Setup {
    /// Requests wait for a connection as long as it takes: on a busy machine, unoptimised, a dozen new connections to a server
    /// take their seconds.
    pub fn options(&self) -> Options {
        Options { pool_size: self.lease.connections(), pool_wait: DEADLINE / 2, ..Options::default() }
    }

    pub async fn app(&self, options: &Options, limits: Limits) -> TestApp {
        self.app_at(&self.lease.url().reveal(), options, limits).await
    }

    /// A service that reaches the database by this URL.
    pub async fn app_at(&self, url: &str, options: &Options, limits: Limits) -> TestApp {
        let url = DatabaseUrl::parse(url).expect("a URL");
        let database = Database::open(url, options).await.expect("the database opens");
        self.elsewhere.engine.confirm(database.server());
        let closed = database.clone();
        self.at_the_end(async move { Ok(closed.close(DEADLINE).await?) });
        TestApp::of(database, elsewhere(&self.lease), limits)
    }

    pub async fn server(&self, options: &Options, limits: Limits) -> TestServer {
        self.server_at(&self.lease.url().reveal(), options, limits).await
    }

    /// A service that reaches the database by this URL.
    pub async fn server_at(&self, url: &str, options: &Options, limits: Limits) -> TestServer {
        let app = self.app_at(url, options, limits).await;
        let Listening { address, stop, served } = app.listen(DEADLINE);
        self.at_the_end(async {
            drop(stop);
            if served.await? { Err("it cut requests off".into()) } else { Ok(()) }
        });
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .expect("a client");
        TestServer { app, address, client }
    }

    fn at_the_end(&self, ending: impl Future<Output = Result<(), ArgumentError>> + 'static) {
        self.started.borrow_mut().push(Box::pin(ending));
    }
}

/// What can be asked: the service in this process, or on a socket.
pub trait Client {
    async fn answer(&self, request: Request<Bytes>) -> Answer;

    /// Sends a request, and holds the answer to the API's own description.
    async fn send<B: Into<Bytes>>(&self, request: axum::http::Result<Request<B>>) -> Answer {
        let request = request.expect("a request").map(Into::into);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = self.answer(request).await;
        openapi::check_answer(&method, &path, &answer);
        answer
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body("")).await
    }

    /// Posts a text, or bytes, as JSON.
    async fn post_text(&self, body: impl Into<Bytes>) -> Answer {
        self.send(Request::post("/api/tags").header(CONTENT_TYPE, "application/json").body(body)).await
    }

    async fn post_tags(&self, body: &Value) -> Answer {
        self.post_text(body.to_string()).await
    }

    /// Stores tags of which nothing else is said.
    async fn store(&self, tag_ids: &[&str]) {
        let tags: Vec<Value> = tag_ids.iter().map(|tag_id| json!({ "tag_id": tag_id })).collect();
        let answer = self.post_tags(&json!({ "tags": tags })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }

    /// The tags of a list, by their identity.
    async fn tag_ids(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/api/tag{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let tags = answer.json["tags"].as_array().expect("a list").iter();
        tags.map(|tag| tag["tag_id"].as_str().expect("a text").to_owned()).collect()
    }

    /// One tag, whatever is in its name.
    async fn find(&self, tag_id: &str) -> Answer {
        self.get(&tag_path(tag_id)).await
    }

    async fn delete(&self, tag_id: &str) -> Answer {
        self.send(Request::delete(tag_path(tag_id)).body("")).await
    }
}

fn tag_path(tag_id: &str) -> String {
    format!("/api/tag/{}", percent_encoding::utf8_percent_encode(tag_id, percent_encoding::NON_ALPHANUMERIC))
}

impl TestApp {
    /// Over a database that was opened already.
    pub fn of(database: Database, elsewhere: TestDatabase, limits: Limits) -> Self {
        let router = router(App::new(database.clone(), limits));
        Self { database, elsewhere, router }
    }

    /// An answer whose body has yet to be read.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    /// Serves on a socket, too. Told to stop, it finishes what is under way, for `grace` at the most.
    pub fn listen(&self, grace: Duration) -> Listening {
        let listener = server::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = server::serve(listener, self.router.clone(), async { drop(stopped.await) }, grace);
        Listening { address, stop, served: tokio::spawn(served) }
    }
}

impl Client for TestApp {
    async fn answer(&self, mut request: Request<Bytes>) -> Answer {
        request.headers_mut().entry(HOST).or_insert_with(|| "tags.test".parse().expect("a host"));
        let (head, body) = self.call(request.map(Body::from)).await.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer::new(head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
    }
}

impl TestServer {
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Client for TestServer {
    async fn answer(&self, request: Request<Bytes>) -> Answer {
        let (head, body) = request.into_parts();
        let request = self.client.request(head.method, format!("{}{}", self.base(), head.uri)).headers(head.headers);
        let response = request.body(body).send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer::new(status, headers, response.text().await.expect("a body"))
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// The body, where it is JSON.
    pub json: Value,
}

impl Answer {
    fn new(status: StatusCode, headers: HeaderMap, text: String) -> Self {
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, json }
    }

    /// The media type without its parameters.
    pub fn media_type(&self) -> Option<&str> {
        let value = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        value.split(';').next()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The types and places of everything that it finds wrong.
    pub fn violations(&self) -> Vec<(String, Value)> {
        let detail = self.json["detail"].as_array().unwrap_or_else(|| panic!("no list of faults: {self:?}"));
        detail.iter().map(|one| (one["type"].as_str().expect("a type").to_owned(), one["loc"].clone())).collect()
    }
}
