//! The API's description: valid, complete, and true of every answer that any test gets.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use axum::http::{Method, Request, StatusCode};
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, TestApp, schema};

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&tags_api::http::openapi()).expect("the document is JSON"));

/// The schema of OpenAPI 3.1 documents, from <https://spec.openapis.org/oas/3.1/schema/2022-10-07>.
const OPENAPI_SCHEMA: &str = include_str!("../data/openapi-3.1.schema.json");

/// A schema that was found valid.
struct JsonSchema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl JsonSchema {
    fn of(schema: Value) -> Self {
        const NAME: &str = "https://freshdb.invalid/schema.json";
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.add_resource(NAME, schema).expect("a name of its own");
        let index = compiler.compile(NAME, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    /// One that refers to the document's components.
    fn within_the_document(schema: &Value) -> Self {
        let mut schema = schema.clone();
        schema["components"] = DOCUMENT["components"].clone();
        Self::of(schema)
    }

    fn error_of(&self, value: &Value) -> Option<String> {
        self.schemas.validate(value, self.index).err().map(|error| format!("{error:#}"))
    }
}

/// Fails if the description says something else of this answer, or nothing where it must.
pub fn check_answer(method: &Method, path: &str, answer: &Answer) {
    static SCHEMAS: LazyLock<Mutex<HashMap<String, JsonSchema>>> = LazyLock::new(Mutex::default);

    let route = match path.strip_prefix("/api/tag/") {
        Some("") => return,
        Some(_) => "/api/tag/{tag_id}",
        None => path,
    };
    let operation = &DOCUMENT["paths"][route][method.as_str().to_lowercase()];
    if operation.is_null() {
        return;
    }
    let response = &operation["responses"][answer.status.as_str()];
    assert!(!response.is_null(), "{method} {route} answers {}, which is not described", answer.status);
    let content = &response["content"]["application/json"]["schema"];
    if content.is_null() {
        assert_eq!(answer.text, "", "{method} {route} {} is described without a body", answer.status);
        return;
    }
    let key = format!("{method} {route} {}", answer.status);
    let mut schemas = SCHEMAS.lock().expect("no test panics in here");
    let schema = schemas.entry(key).or_insert_with(|| JsonSchema::within_the_document(content));
    let error = schema.error_of(&answer.json);
    drop(schemas);
    assert_eq!(error, None, "{method} {route} {}: {}", answer.status, answer.text);
}

#[test]
fn the_document_is_valid_openapi() {
    assert_eq!(DOCUMENT["openapi"], "3.1.0");
    let schema: Value = serde_json::from_str(OPENAPI_SCHEMA).expect("the schema is JSON");
    assert_eq!(JsonSchema::of(schema).error_of(&DOCUMENT), None);
    // To that schema, what stands under the names is anything.
    for schema in DOCUMENT["components"]["schemas"].as_object().expect("schemas").values() {
        JsonSchema::within_the_document(schema);
    }
}

/// Programs that make requests of the document make none that is refused, and none for another path.
#[test]
fn what_is_refused_is_described() {
    let refused = |schema: Value, value: Value| JsonSchema::within_the_document(&schema).error_of(&value).is_some();
    let parameter = |path: &str, method: &str, name: &str| {
        let parameters = DOCUMENT["paths"][path][method]["parameters"].as_array().expect("parameters");
        parameters.iter().find(|one| one["name"] == name).expect("it is described")["schema"].clone()
    };
    let body = &DOCUMENT["paths"]["/api/tags"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert!(!refused(body.clone(), json!({ "tags": [{ "tag_id": "a\nb", "description": null }] })));
    assert!(refused(body.clone(), json!({ "tags": [{ "tag_id": "a\0b" }] })));
    assert!(refused(body.clone(), json!({ "tags": [{ "tag_id": "", "description": "\0" }] })));
    for name in ["prefix", "after"] {
        assert!(refused(parameter("/api/tag", "get", name), json!("\0")), "{name}");
        assert!(!refused(parameter("/api/tag", "get", name), json!("")), "{name}");
    }
    assert!(!refused(parameter("/api/tag", "get", "limit"), json!(u64::MAX)));
    assert_ne!(parameter("/api/tag", "get", "limit")["format"], "int64");
    for method in ["get", "delete"] {
        assert!(refused(parameter("/api/tag/{tag_id}", method, "tag_id"), json!("")), "{method}");
    }
}

/// What `/openapi.json` serves is what `tags-api openapi` prints.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn the_document_is_served(app: TestApp) {
    let answer = app.get("/openapi.json").await;
    assert_eq!((answer.status, answer.media_type()), (StatusCode::OK, Some("application/json")));
    assert_eq!(answer.json, *DOCUMENT);
}

/// Every path and method of the description is there, and says 422 or better to an empty request.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn what_is_described_exists(app: TestApp) {
    for (path, operations) in DOCUMENT["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("methods").keys() {
            app.store(&["x"]).await;
            let request = Request::builder().method(&*method.to_uppercase()).uri(path.replace("{tag_id}", "x"));
            let answer = app.send(request.body("")).await;
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_ne!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
        }
    }
}

/// The page and everything that it refers to come from the service itself.
#[freshdb::test(schema = schema(), on = [sqlite])]
async fn the_page_needs_nothing_from_elsewhere(app: TestApp) {
    let page = app.get("/docs").await;
    assert_eq!((page.status, page.media_type()), (StatusCode::OK, Some("text/html")));
    assert!(!page.text.contains("://"), "{}", page.text);
    let references: Vec<&str> = page.text.split(['"']).filter(|part| part.starts_with("docs/")).collect();
    assert_eq!(references.len(), 5, "{references:?}");
    for reference in references {
        assert_eq!(app.get(&format!("/{reference}")).await.status, StatusCode::OK, "{reference}");
    }
    assert_eq!(app.get("/docs/nothing.js").await.json, json!({ "detail": "Not Found" }));
}
