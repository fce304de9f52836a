//! The API's description, and a page to browse it.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};
use utoipa_swagger_ui::Config;

use super::{problem, tags};

#[derive(OpenApi)]
#[openapi(
    info(title = "tags-api", description = "Tags over HTTP, in SQLite, MySQL, MariaDB or PostgreSQL."),
    paths(tags::upsert, tags::list, tags::find, tags::remove),
    components(schemas(Detail, Violations)),
    tags((name = "tags", description = "Tags, each told apart by its exact code points"))
)]
struct Api;

/// Why a request was not carried out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `problem` writes")]
pub(super) struct Detail {
    /// A sentence.
    detail: String,
}

/// Everything that is wrong with a request.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `problem` writes")]
pub(super) struct Violations {
    detail: Vec<ViolationView>,
}

/// One thing that is wrong with a request.
#[derive(ToSchema)]
#[schema(as = Violation)]
#[expect(dead_code, reason = "it describes what `problem` writes")]
struct ViolationView {
    /// What is wrong, in one word.
    #[schema(examples("missing", "string_type", "string_too_long", "json_invalid"))]
    r#type: String,
    /// Where: names and indexes, from the outside in. Of text that is not JSON, the offset of the first character that
    /// does not fit.
    #[schema(examples(json!(["body", "tags", 0, "tag_id"])))]
    loc: Vec<Value>,
    /// What is wrong, in a sentence.
    msg: String,
    /// What was sent there.
    input: Value,
    /// More about it.
    ctx: Option<Value>,
}

/// The API's description, as an OpenAPI 3.1 document.
pub fn openapi() -> String {
    // Of plain data only, which always has a JSON form.
    Api::openapi().to_pretty_json().unwrap_or_default()
}

pub(super) async fn document() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(openapi);
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Everything comes from this service: the page works offline and tells nobody that it was opened.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tags-api</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/swagger-ui-standalone-preset.js"></script>
<script src="docs/swagger-initializer.js"></script>
</body>
</html>
"#;

const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'";

pub(super) async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let config = Arc::new(Config::from("openapi.json").use_base_layout().try_it_out_enabled(true));
    match utoipa_swagger_ui::serve(&name, config) {
        Ok(Some(file)) => ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response(),
        Ok(None) => problem::not_found(),
        Err(_) => problem::detail(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be configured"),
    }
}
