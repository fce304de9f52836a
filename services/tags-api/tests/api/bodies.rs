//! Bodies that are hostile, broken or too much.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use serde_json::json;
use tags_api::http::Limits;
use test_support::DEADLINE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, LONG, Setup, TestApp, TestServer, schema};

/// A body that is not JSON gets 422 with the offset, in characters, and the decoder's words.
async fn check_invalid(app: &TestApp, body: impl Into<Bytes>, offset: usize, error: &str) {
    let answer = app.post_text(body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{error}");
    let expected = json!({ "detail": [{
        "type": "json_invalid",
        "loc": ["body", offset],
        "msg": "JSON decode error",
        "input": {},
        "ctx": { "error": error },
    }] });
    assert_eq!(answer.json, expected);
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn what_is_not_json_is_refused_with_its_place(app: TestApp) {
    check_invalid(&app, "\u{feff}[", 1, "Expecting value").await;
    check_invalid(&app, "\u{feff}\u{feff}{}", 0, "Expecting value").await;
    check_invalid(&app, "{\"tags\":[{\"tag_id\":\"日本語\"}", 25, "Expecting ',' delimiter").await;
    check_invalid(&app, "{\"tags\":[{\"tag_id\":Infinity}]}", 19, "Infinity is not a JSON value").await;
    check_invalid(&app, "[] []", 3, "Extra data").await;
    check_invalid(&app, "{\"tags\":[{\"tag_id\":\"a\nb\"}]}", 21, "Invalid control character at").await;
    check_invalid(&app, " ", 1, "Expecting value").await;
    // UTF-16 looks like text with a NUL in every other place.
    check_invalid(&app, &b"{\0}\0"[..], 1, "Expecting property name enclosed in double quotes").await;
    assert_eq!(app.tag_ids("").await, Vec::<String>::new());
}

/// Some programs write it before all that they write, and it is no part of that.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_byte_order_mark_is_passed_over(app: TestApp) {
    let answer = app.post_text("\u{feff}{\"tags\":[{\"tag_id\":\"x\"}]}").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let answer = app.post_text("\u{feff}{\"tags\":[{\"tag_id\":17}]}").await;
    assert_eq!(answer.violations(), [("string_type".to_owned(), json!(["body", "tags", 0, "tag_id"]))]);
    assert_eq!(answer.json["detail"][0]["input"], 17);
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_lone_surrogate_is_refused(app: TestApp) {
    for body in [r#"{"tags":[{"tag_id":"\ud800"}]}"#, r#"{"tags":[{"tag_id":"x","y":"\udc00"}]}"#] {
        let answer = app.post_text(body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.json["detail"][0]["type"], "json_invalid", "{body}");
    }
    // As bytes it is no UTF-8.
    let answer = app.post_text(&b"{\"tags\":[{\"tag_id\":\"\xed\xa0\x80\"}]}"[..]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json, json!({ "detail": "There was an error parsing the body" }));
    // A pair is a character.
    assert_eq!(app.post_text(r#"{"tags":[{"tag_id":"\ud83e\udd80"}]}"#).await.status, StatusCode::CREATED);
    assert_eq!(app.tag_ids("").await, ["🦀"]);
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn nesting_has_an_end(app: TestApp) {
    for body in ["[".repeat(1_000_000), "{\"a\":".repeat(300_000), format!("{{\"tags\":{}", "[".repeat(1000))] {
        let answer = app.post_text(body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.json["detail"][0]["type"], "json_invalid");
        assert!(answer.text.contains("nested too deeply"), "{}", answer.text);
    }
    let deep = format!("{{\"tags\":[],\"ignored\":{}{}}}", "[".repeat(100), "]".repeat(100));
    assert_eq!(app.post_text(deep).await.status, StatusCode::CREATED);
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn numbers_are_repeated_as_they_were_written(app: TestApp) {
    let answer =
        app.post_text(r#"{"tags":[{"tag_id":1.50},{"tag_id":123456789012345678901234567890},{"tag_id":-0}]}"#).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    for number in [r#""input":1.50}"#, r#""input":123456789012345678901234567890}"#, r#""input":-0}"#] {
        assert!(answer.text.contains(number), "{}", answer.text);
    }
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn of_a_repeated_member_the_last_counts(app: TestApp) {
    let body = r#"{"tags":[{"tag_id":"no"}],"tags":[{"tag_id":1,"t\u0061g_id":"yes"}]}"#;
    assert_eq!(app.post_text(body).await.json, json!({ "tags": [{ "tag_id": "yes" }] }));
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn every_fault_is_listed_in_the_order_of_the_body(app: TestApp) {
    let answer = app
        .post_tags(&json!({ "tags": [
            { "tag_id": 1, "description": 2 },
            "text",
            { "description": [] },
            { "tag_id": "x".repeat(256), "description": "y".repeat(1001) },
            { "tag_id": "fine" },
        ] }))
        .await;
    let at = |kind: &str, loc: serde_json::Value| (kind.to_owned(), loc);
    let expected = [
        at("string_type", json!(["body", "tags", 0, "tag_id"])),
        at("string_type", json!(["body", "tags", 0, "description"])),
        at("model_attributes_type", json!(["body", "tags", 1])),
        at("missing", json!(["body", "tags", 2, "tag_id"])),
        at("string_type", json!(["body", "tags", 2, "description"])),
        at("string_too_long", json!(["body", "tags", 3, "tag_id"])),
        at("string_too_long", json!(["body", "tags", 3, "description"])),
    ];
    assert_eq!(answer.violations(), expected);
}

/// Two megabytes of faults make an answer of a hundred, which is written piece by piece.
#[freshdb::test(schema = schema(), on = [sqlite], timeout = LONG)]
async fn a_million_faults_are_all_listed(app: TestApp) {
    const FAULT: &str = "\"type\":\"model_attributes_type\"";
    let count = 1_000_000;
    let body = format!("{{\"tags\":[{}0]}}", "0,".repeat(count - 1));
    let request = Request::post("/api/tags").header(CONTENT_TYPE, "application/json").body(Body::from(body));
    let response = app.call(request.expect("a request")).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let (mut listed, mut tail) = (0, String::new());
    let mut pieces = response.into_body().into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.expect("a piece");
        // A fault may be cut in two: the end of the last piece, too short for a whole one, belongs to this one.
        let text = std::mem::take(&mut tail) + std::str::from_utf8(&piece).expect("ASCII");
        listed += text.matches(FAULT).count();
        text[text.len().saturating_sub(FAULT.len() - 1)..].clone_into(&mut tail);
    }
    assert_eq!(listed, count);
    assert!(tail.ends_with("]}"), "the list is closed");
}

/// A valid body of so many bytes.
fn padded(length: usize) -> String {
    let body = json!({ "tags": [{ "tag_id": "x" }], "padding": "" }).to_string();
    let padding = "p".repeat(length - body.len());
    body.replace("\"padding\":\"\"", &format!("\"padding\":\"{padding}\""))
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_body_over_two_mebibytes_is_refused(app: TestApp) {
    let answer = app.post_text(padded(2 << 20)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let answer = app.post_text(padded((2 << 20) + 1)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.json, json!({ "detail": "The body is larger than 2097152 bytes" }));
}

/// Whatever limit is set is the one that is held to.
#[freshdb::test(schema = schema(), on = [sqlite], timeout = LONG)]
async fn a_limit_may_be_large(setup: Setup) {
    let app = setup.app(&setup.options(), Limits::new(66 << 20, DEADLINE, 1)).await;
    assert_eq!(app.post_text(padded(65 << 20)).await.status, StatusCode::CREATED);
}

/// Its sender learns that it is too large as soon as that is known, however slowly the rest of it would come.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_body_that_is_too_large_is_not_waited_for(setup: Setup) {
    let limits = Limits::new(1 << 10, DEADLINE / 2, 10);
    let server = setup.server(&setup.options(), limits).await;
    let chunk = format!("800\r\n{}\r\n", "x".repeat(0x800));
    for (header, begun) in [
        ("content-length: 1000000", "{\"tags\":["),
        ("transfer-encoding: chunked", &chunk),
        // This client has to be told first that it may send.
        ("content-length: 1000000\r\nexpect: 100-continue", ""),
    ] {
        let mut socket = TcpStream::connect(server.address).await.expect("a connection");
        let head = format!("POST /api/tags HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{header}\r\n\r\n");
        socket.write_all(format!("{head}{begun}").as_bytes()).await.expect("sent");
        let mut answer = vec![0; 13];
        socket.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413 ", "{header}");
    }
}

/// Without a Content-Length, and the connection serves the next request.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn a_chunked_body_is_held_to_the_same_limit(server: TestServer) {
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let head =
        "POST /api/tags HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..48 {
        socket.write_all(format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16)).as_bytes()).await.expect("sent");
    }
    socket.write_all(b"0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answers = String::new();
    socket.read_to_string(&mut answers).await.expect("answers");
    assert!(answers.starts_with("HTTP/1.1 413 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 "), "{answers}");
}

#[freshdb::test(schema = schema(), on = [sqlite])]
async fn only_json_is_taken_for_json(app: TestApp) {
    let body = r#"{"tags":[{"tag_id":"x"}]}"#;
    for (content_type, status) in [
        ("application/json", StatusCode::CREATED),
        ("Application/JSON;charset=utf-8", StatusCode::CREATED),
        ("application/vnd.api+json", StatusCode::CREATED),
        ("text/json", StatusCode::UNPROCESSABLE_ENTITY),
        ("application/jsonp", StatusCode::UNPROCESSABLE_ENTITY),
        ("json", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let request = Request::post("/api/tags").header(CONTENT_TYPE, content_type).body(body);
        assert_eq!(app.send(request).await.status, status, "{content_type}");
    }
    let request = Request::post("/api/tags").header(CONTENT_TYPE, "text/plain").body(&b"\xff\xfe"[..]);
    assert_eq!(app.send(request).await.json["detail"][0]["input"], "\u{fffd}\u{fffd}", "bytes that are no text");
}
