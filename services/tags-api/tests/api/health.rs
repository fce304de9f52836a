//! Health, metrics and request ids.

use axum::http::{Request, StatusCode};
use serde_json::json;
use test_support::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, TestApp, TestServer, schema};

#[freshdb::test(schema = schema())]
async fn a_service_whose_database_answers_is_ready(app: TestApp) {
    assert_eq!(app.get("/healthz").await.json, json!({ "status": "alive" }));
    let answer = app.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json, json!({ "status": "ready", "database": app.database.server() }));
}

#[freshdb::test(schema = schema())]
async fn requests_are_counted_by_route(app: TestApp) {
    app.store(&["a", "b"]).await;
    app.find("a").await;
    app.find("b").await;
    app.find("none").await;
    app.get("/nowhere").await;
    app.send(Request::builder().method("BREW").uri("/api/tag").body("")).await;
    eventually("every connection is back", async || app.database.stats().in_use == 0).await;
    let limit = format!("db_pool_connections{{state=\"limit\"}} {}", app.database.stats().limit);
    let answer = app.get("/metrics").await;
    assert_eq!(answer.media_type(), Some("application/openmetrics-text"));
    for line in [
        "# TYPE http_requests counter",
        "http_requests_total{method=\"POST\",route=\"/api/tags\",status=\"201\"} 1",
        "http_requests_total{method=\"GET\",route=\"/api/tag/{tag_id}\",status=\"200\"} 2",
        "http_requests_total{method=\"GET\",route=\"/api/tag/{tag_id}\",status=\"404\"} 1",
        "http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "http_requests_total{method=\"other\",route=\"/api/tag\",status=\"405\"} 1",
        "http_request_duration_seconds_count{method=\"GET\",route=\"/api/tag/{tag_id}\"} 3",
        "http_requests_in_flight 1",
        "db_pool_connections{state=\"in_use\"} 0",
        &limit,
        "db_conflicts_total 0",
        "# EOF",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "no line {line:?} in:\n{}", answer.text);
    }
    assert!(!answer.text.contains("none\" ,") && !answer.text.contains("/nowhere"), "{}", answer.text);
}

/// Nobody has seen an answer; the log and the numbers say so.
#[freshdb::test(schema = schema(), flavor = "multi_thread")]
async fn a_request_whose_client_goes_away_is_counted(server: TestServer) {
    let lock = server.app.elsewhere.lock_tags().await;
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let body = r#"{"tags":[{"tag_id":"gone"}]}"#;
    let head = "POST /api/tags HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.expect("sent");
    eventually("the request is in", async || server.app.database.stats().in_use == 1).await;
    drop(socket);
    let line = "http_requests_total{method=\"POST\",route=\"/api/tags\",status=\"499\"} 1";
    eventually("it is counted", async || server.app.get("/metrics").await.text.lines().any(|found| found == line))
        .await;
    lock.release().await;
}

/// So is one whose client has not sent all of its body; one whose body is wrong has an answer.
#[freshdb::test(schema = schema(), on = [sqlite], flavor = "multi_thread")]
async fn a_client_that_goes_away_in_its_body_is_counted(server: TestServer) {
    let head = "POST /api/tags HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    let counted = async |status: u16, count: usize| {
        let line = format!("http_requests_total{{method=\"POST\",route=\"/api/tags\",status=\"{status}\"}} {count}");
        let metrics = || async { server.app.get("/metrics").await.text };
        eventually("it is counted", async || metrics().await.lines().any(|found| found == line)).await;
    };
    for (count, rest) in [
        "content-length: 100\r\n\r\n{\"tags\":",
        "transfer-encoding: chunked\r\n\r\n8\r\n{\"tags\":\r\n",
        "transfer-encoding: chunked\r\n\r\n9\r\n{\"ta",
        "transfer-encoding: chunked\r\n\r\n9",
    ]
    .into_iter()
    .enumerate()
    {
        let mut socket = TcpStream::connect(server.address).await.expect("a connection");
        socket.write_all(format!("{head}\r\n{rest}").as_bytes()).await.expect("sent");
        eventually("the request is in", async || {
            server.app.get("/metrics").await.text.contains("\nhttp_requests_in_flight 2\n")
        })
        .await;
        drop(socket);
        counted(499, count + 1).await;
    }
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let request = format!("{head}\r\ntransfer-encoding: chunked\r\n\r\nno length\r\n{{}}\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 13];
    socket.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 400 ");
    counted(400, 1).await;
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn each_answer_has_its_requests_id(app: TestApp) {
    let first = app.get("/healthz").await;
    let second = app.get("/nowhere").await;
    assert_ne!(first.header("x-request-id").expect("an id"), second.header("x-request-id").expect("an id"));

    let with_id = async |id: &str| {
        let answer = app.send(Request::get("/healthz").header("x-request-id", id).body("")).await;
        answer.header("x-request-id").expect("an id").to_owned()
    };
    assert_eq!(with_id("from-a-proxy_1").await, "from-a-proxy_1");
    // What is no id does not get into the log.
    for id in ["", "a b", "x\"y", &"x".repeat(129)] {
        assert_ne!(with_id(id).await, id);
    }
}
