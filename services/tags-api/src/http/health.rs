//! Whether the service lives, and whether it can do its work.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::observe::Cause;
use crate::database::Database;

/// How long the database may take to answer before the service counts as not ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// The process answers. Says nothing of the database: restarting the service would not mend that.
pub(super) async fn alive() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

/// The database answers, within a second, and takes writes.
pub(super) async fn ready(State(database): State<Database>) -> Response {
    let (detail, cause) = match tokio::time::timeout(PATIENCE, database.ping()).await {
        Ok(Ok(())) => return Json(json!({ "status": "ready", "database": database.server() })).into_response(),
        Ok(Err(error)) => (error.to_string(), Cause::of(&error)),
        Err(_elapsed) => {
            let stats = database.stats();
            // Each session has a connection; that of this question, if it came to have one, is not among them any more.
            let all_in_use = stats.sessions >= stats.limit;
            let fact = if all_in_use { "no connection became free" } else { "the database did not answer" };
            let detail = format!("{fact} within {}", humantime::format_duration(PATIENCE));
            (detail.clone(), Cause(detail.into()))
        }
    };
    let answer = Json(json!({ "status": "unavailable", "detail": detail }));
    (StatusCode::SERVICE_UNAVAILABLE, Extension(cause), answer).into_response()
}
