//! The contract: what the original service answers, black box, and what this one answers instead where the original
//! behaves badly.
//!
//! `data/contract.json` was recorded from the original. `data/quirks.json` has, for each case that is marked a `quirk`
//! there, the better answers, one for each step.

#![expect(clippy::option_option, reason = "the contract tells absent from null")]

use std::collections::BTreeMap;

use axum::http::header::CONTENT_TYPE;
use axum::http::{self, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, LONG, TestServer, schema};

#[derive(Deserialize)]
struct Contract {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    quirk: Option<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    request: Request,
    response: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    text: Option<String>,
    b64: Option<String>,
    r#gen: Option<String>,
    #[serde(default, deserialize_with = "present")]
    content_type: Option<Option<String>>,
    #[serde(default)]
    status_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: u16,
    #[serde(default, deserialize_with = "present")]
    media_type: Option<Option<String>>,
    json: Option<Value>,
    text: Option<String>,
    big: Option<Big>,
    allow: Option<String>,
    location: Option<String>,
}

/// A long list, by its length, its first tag, and a digest over its form in Python, which stands in for the rest.
#[derive(Deserialize)]
struct Big {
    tags: usize,
    first: String,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// Every case, on an empty table each; all that fail are named.
#[freshdb::test(schema = schema(), timeout = LONG)]
async fn every_case_is_answered_as_recorded_or_better(server: TestServer) {
    let contract: Contract = serde_json::from_str(include_str!("../data/contract.json")).expect("the contract");
    let mut quirks: BTreeMap<String, Vec<Expected>> =
        serde_json::from_str(include_str!("../data/quirks.json")).expect("the quirks");
    let mut failures = Vec::new();
    let count = contract.cases.len();
    for case in contract.cases {
        server.app.elsewhere.execute("DELETE FROM tags").await;
        let better = case.quirk.as_ref().map(|quirk| {
            quirks.remove(&case.name).unwrap_or_else(|| panic!("no better answer to {}: {quirk}", case.name))
        });
        if let Err(failure) = play(&server, case.steps, better).await {
            failures.push(format!("{}: {failure}", case.name));
        }
    }
    assert_eq!(count, 60);
    assert_eq!(quirks.into_keys().collect::<Vec<_>>(), Vec::<String>::new(), "answers to no case");
    assert!(failures.is_empty(), "{} of {count} cases fail:\n{}", failures.len(), failures.join("\n"));
}

async fn play(server: &TestServer, steps: Vec<Step>, better: Option<Vec<Expected>>) -> Result<(), String> {
    let expected: Vec<Expected> = match better {
        Some(better) if better.len() != steps.len() => return Err("not one better answer for each step".into()),
        Some(better) => better,
        None => Vec::new(),
    };
    let mut better = expected.into_iter();
    for step in steps {
        let status_only = step.request.status_only;
        let answer = ask(server, step.request).await;
        let expected = better.next().unwrap_or(step.response);
        compare(&expected, &answer, status_only, &server.base())?;
    }
    Ok(())
}

async fn ask(server: &TestServer, request: Request) -> Answer {
    let mut builder = http::Request::builder().method(&*request.method).uri(&request.path);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let default_type = request.json.is_some().then(|| "application/json".to_owned());
    if let Some(content_type) = request.content_type.unwrap_or(default_type) {
        builder = builder.header(CONTENT_TYPE, content_type);
    }
    let body = match (request.json, request.text, request.b64, request.r#gen.as_deref()) {
        (Some(json), ..) => json.to_string().into_bytes(),
        (_, Some(text), ..) => text.into_bytes(),
        (_, _, Some(text), _) => from_base64(&text),
        (.., Some(what)) => generate(what),
        _ => Vec::new(),
    };
    server.send(builder.body(body)).await
}

fn generate(what: &str) -> Vec<u8> {
    let tags: Vec<Value> = match what {
        "tags_10000" => (0..10_000).map(|number| json!({ "tag_id": format!("tag-{number:05}") })).collect(),
        "one_tag_5mb" => vec![json!({ "tag_id": "x".repeat(5_000_000) })],
        "one_tag_20mb" => vec![json!({ "tag_id": "x".repeat(20_000_000) })],
        _ => panic!("nothing is called {what}"),
    };
    json!({ "tags": tags }).to_string().into_bytes()
}

/// The contract holds one short text in this form.
fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|digit| *digit == byte));
    let bits: Vec<bool> = digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1 == 1)).collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

fn compare(expected: &Expected, answer: &Answer, status_only: bool, base: &str) -> Result<(), String> {
    let same = |what: &str, expected: String, found: String| {
        if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected}, found {found}")) }
    };
    same("status", expected.status.to_string(), answer.status.as_u16().to_string())?;
    if let Some(media_type) = &expected.media_type {
        same("media type", format!("{media_type:?}"), format!("{:?}", answer.media_type()))?;
    }
    if let Some(allow) = &expected.allow {
        same("Allow", allow.clone(), answer.header("allow").unwrap_or_default().to_owned())?;
    }
    if let Some(location) = &expected.location {
        let location = location.replace("{base}", base);
        same("Location", location, answer.header("location").unwrap_or_default().to_owned())?;
    }
    if status_only {
        return Ok(());
    }
    if let Some(text) = &expected.text {
        same("text", text.clone(), answer.text.clone())?;
    }
    if let Some(json) = &expected.json {
        same("body", in_order(json).to_string(), in_order(&answer.json).to_string())?;
    }
    if let Some(big) = &expected.big {
        let tags = in_order(&answer.json);
        let generated: Value = serde_json::from_slice(&generate("tags_10000")).expect("JSON");
        if tags != in_order(&generated) || tags["tags"].as_array().map(Vec::len) != Some(big.tags) {
            return Err("the long list is not the one that was posted".into());
        }
        same("first tag", json!(big.first).to_string(), answer.json["tags"][0]["tag_id"].to_string())?;
    }
    Ok(())
}

/// Lists of tags compare without order.
fn in_order(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(tags) = body.get_mut("tags").and_then(Value::as_array_mut) {
        tags.sort_by_key(ToString::to_string);
    }
    body
}

/// `Allow` and the redirections hold for whatever method or query asks.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn what_the_contract_says_once_holds_everywhere(server: TestServer) {
    for (method, path, allow) in [
        (Method::HEAD, "/api/tag", "GET"),
        (Method::PUT, "/api/tags", "POST"),
        (Method::HEAD, "/api/tags", "POST"),
        (Method::PATCH, "/api/tag/x", "GET, DELETE"),
        (Method::POST, "/healthz", "GET, HEAD"),
    ] {
        let answer = server.send(http::Request::builder().method(&method).uri(path).body("")).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    for (method, path, location) in [
        (Method::GET, "/api/tag/?limit=1&x=%2F", "/api/tag?limit=1&x=%2F"),
        (Method::POST, "/api/tag/", "/api/tag"),
        (Method::POST, "/api/tags/", "/api/tags"),
        (Method::GET, "/docs/", "/docs"),
        (Method::GET, "/openapi.json/", "/openapi.json"),
    ] {
        let answer = server.send(http::Request::builder().method(&method).uri(path).body("")).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{method} {path}");
        assert_eq!(answer.header("location"), Some(format!("{}{location}", server.base()).as_str()), "{method} {path}");
        assert_eq!(answer.header("allow"), None, "{method} {path}");
    }
    for path in ["//", "/api/tag//", "/nope/", "/api/tag/x/", "//evil.example/"] {
        assert_eq!(server.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
