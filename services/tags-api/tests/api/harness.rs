//! How a test runs: on its own database, against a service of its own that listens on a socket.

use std::net::SocketAddr;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tags_api::database::{Database, DatabaseUrl, Options};
use tags_api::http::{App, Limits, router};
use tags_api::server;
use test_support::{DEADLINE, TestDatabase, eventually};

use crate::openapi;

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

/// A service of its own for a test's database.
pub trait Serve {
    /// A service with default settings.
    async fn app(&self) -> TestApp;

    /// A service with these settings, that reaches the database by this URL.
    async fn app_with(&self, url: &str, options: &Options, limits: Limits) -> TestApp;
}

impl Serve for TestDatabase {
    async fn app(&self) -> TestApp {
        self.app_with(self.url(), &patient(), Limits::default()).await
    }

    async fn app_with(&self, url: &str, options: &Options, limits: Limits) -> TestApp {
        let url = DatabaseUrl::parse(url).expect("a URL");
        let database = Database::open(url, options).await.expect("the database opens");
        self.engine.confirm(database.server());
        database.migrate().await.expect("the schema is made");
        // What migrated is back in the pool: whoever waits for a connection to be in use means a request's.
        eventually("the pool is at rest", async || database.stats().in_use == 0).await;
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
