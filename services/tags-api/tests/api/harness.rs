//! How a test runs: on its own database, against a service of its own that listens on a socket.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tags_api::database::{Database, DatabaseUrl, Options};
use tags_api::http::{App, Limits, router};
use tags_api::server;

use crate::engines::{Engine, TestDatabase};
use crate::openapi;

/// Makes a test of each engine out of one function: `name::sqlite`, `name::mysql`, `name::mariadb`, `name::postgres`; or
/// of just those engines that stand in brackets before it.
macro_rules! on_every_engine {
    ([$($engine:ident),*] $(#[$meta:meta])* async fn $name:ident($database:ident: &TestDatabase) $body:block) => {
        $(#[$meta])*
        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)]
            use super::*;

            async fn case($database: std::sync::Arc<TestDatabase>) {
                let $database: &TestDatabase = &$database;
                $body
            }

            $(
                #[test]
                fn $engine() {
                    $crate::harness::run(stringify!($engine), case);
                }
            )*
        }
    };
    ($(#[$meta:meta])* async fn $($rest:tt)*) => {
        on_every_engine! { [sqlite, mysql, mariadb, postgres] $(#[$meta])* async fn $($rest)* }
    };
}

/// How long anything may take that a test waits for. Generous: it only ever passes in full when something is broken.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Runs one test on one engine, and drops its database whatever came of it.
pub fn run<Case>(engine: &str, case: impl FnOnce(Arc<TestDatabase>) -> Case)
where
    Case: Future<Output = ()>,
{
    let engine = match engine {
        "sqlite" => Engine::Sqlite,
        "mysql" => Engine::Mysql,
        "mariadb" => Engine::Mariadb,
        "postgres" => Engine::Postgres,
        _ => panic!("no engine is called {engine}"),
    };
    // The service's log stands beside the failure of the test that it explains; another test may have begun it already.
    let log = tracing_subscriber::fmt().with_env_filter("info,tags_api=debug").with_ansi(false).with_test_writer();
    drop(log.try_init());
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    };
    let during = runtime();
    let database = Arc::new(during.block_on(TestDatabase::create(engine)));
    let verdict = catch_unwind(AssertUnwindSafe(|| during.block_on(case(database.clone()))));
    // Ends the service with all its connections, so that nothing holds the database.
    during.shutdown_timeout(DEADLINE);
    let database = Arc::into_inner(database).expect("the test has ended");
    runtime().block_on(database.drop());
    if let Err(panic) = verdict {
        resume_unwind(panic);
    }
}

/// Settings of a service whose requests wait for a connection as long as it takes: on a busy machine, unoptimised, a dozen
/// new connections to a server take their seconds.
pub fn patient() -> Options {
    Options { pool_wait: DEADLINE / 2, ..Options::default() }
}

/// A service that listens on a socket.
pub struct TestApp {
    pub database: Database,
    pub address: SocketAddr,
    client: Client,
}

impl TestDatabase {
    /// A service with default settings.
    pub async fn app(&self) -> TestApp {
        self.app_with(self.url(), &patient(), Limits::default()).await
    }

    /// A service with these settings, that reaches the database by this URL.
    pub async fn app_with(&self, url: &str, options: &Options, limits: Limits) -> TestApp {
        let url = DatabaseUrl::parse(url).expect("a URL");
        let database = Database::open(url, options).await.expect("the database opens");
        self.engine.confirm(database.server());
        database.migrate().await.expect("the schema is made");
        // What migrated is back in the pool: whoever waits for a connection to be in use means a request's.
        eventually("the pool is at rest", async || database.pool().in_use == 0).await;
        let listener = server::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = router(App::new(database.clone(), limits));
        tokio::spawn(server::serve(listener, router, std::future::pending(), DEADLINE));
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .expect("a client");
        TestApp { database, address, client }
    }
}

impl TestApp {
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base()))
    }

    pub async fn post_tags(&self, body: &Value) -> Answer {
        self.post_text(body.to_string()).await
    }

    /// Posts a text, or bytes, as JSON.
    pub async fn post_text(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(Method::POST, "/api/tags").header(CONTENT_TYPE, "application/json").body(body);
        send(request).await
    }

    /// Stores tags of which nothing else is said.
    pub async fn store(&self, tag_ids: &[&str]) {
        let tags: Vec<Value> = tag_ids.iter().map(|tag_id| json!({ "tag_id": tag_id })).collect();
        let answer = self.post_tags(&json!({ "tags": tags })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// The tags of a list, by their identity.
    pub async fn tag_ids(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/api/tag{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let tags = answer.json["tags"].as_array().expect("a list").iter();
        tags.map(|tag| tag["tag_id"].as_str().expect("a text").to_owned()).collect()
    }

    /// One tag, whatever is in its name.
    pub async fn find(&self, tag_id: &str) -> Answer {
        self.get(&tag_path(tag_id)).await
    }

    pub async fn delete(&self, tag_id: &str) -> Answer {
        send(self.request(Method::DELETE, &tag_path(tag_id))).await
    }
}

fn tag_path(tag_id: &str) -> String {
    format!("/api/tag/{}", percent_encoding::utf8_percent_encode(tag_id, percent_encoding::NON_ALPHANUMERIC))
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

/// Sends a request, and holds the answer to the API's own description.
pub async fn send(request: RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let answer = read(response).await;
    openapi::check_answer(&method, &path, &answer);
    answer
}

async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let json = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, text, json }
}

/// Asks again and again until the answer is yes.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
