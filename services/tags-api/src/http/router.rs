//! Which request goes where, and what it passes on its way.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, any, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::limits::Limits;
use super::metrics::Metrics;
use super::{docs, fallback, health, limits, metrics, observe, problem, tags};
use crate::database::Database;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    database: Database,
    metrics: Arc<Metrics>,
    limits: Limits,
}

impl App {
    /// A service over this database.
    pub fn new(database: Database, limits: Limits) -> Self {
        let metrics = Arc::new(Metrics::of(&database));
        Self { database, metrics, limits }
    }
}

impl FromRef<App> for Database {
    fn from_ref(app: &App) -> Self {
        app.database.clone()
    }
}

impl FromRef<App> for Limits {
    fn from_ref(app: &App) -> Self {
        app.limits.clone()
    }
}

impl FromRef<App> for Arc<Metrics> {
    fn from_ref(app: &App) -> Self {
        app.metrics.clone()
    }
}

/// The service's routes. Those under `/api` are bounded in number and time; health and metrics answer under any load.
pub fn router(app: App) -> Router {
    let api = Router::new()
        .route("/api/tags", only("POST", post(tags::upsert)))
        .route("/api/tag", only("GET", get(tags::list)))
        .route("/api/tag/{tag_id}", only("GET, DELETE", get(tags::find).delete(tags::remove)))
        .route("/api/tag/", any(fallback::redirect_slash).delete(tags::remove_empty))
        .layer(from_fn_with_state(app.limits.clone(), limits::hold_to));
    Router::new()
        .merge(api)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .route("/docs/{asset}", get(docs::asset))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(from_fn_with_state(app.metrics.clone(), metrics::count))
        .layer(from_fn(observe::with_request_id))
        .with_state(app)
}

/// A route with just these methods. axum answers HEAD where it answers GET; the original does not, and says so in
/// `Allow`.
fn only(allow: &'static str, route: MethodRouter<App>) -> MethodRouter<App> {
    let refuse = move || async move { problem::method_not_allowed(allow) };
    route.head(refuse).fallback(refuse)
}
