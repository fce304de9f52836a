//! Which request goes where, and what it passes on its way.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, get, post};
use freshdb::OrmEngine;
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

impl FromRef<App> for OrmEngine {
    fn from_ref(app: &App) -> Self {
        app.database.engine().clone()
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

const TAGS: &str = "/api/tags";
const TAG_LIST: &str = "/api/tag";
const TAG: &str = "/api/tag/{tag_id}";
const EMPTY_TAG: &str = "/api/tag/";
const ALIVE: &str = "/healthz";
const READY: &str = "/readyz";
const METRICS: &str = "/metrics";
const OPENAPI: &str = "/openapi.json";
const DOCS: &str = "/docs";
const DOCS_ASSET: &str = "/docs/{asset}";

/// Every route.
pub(super) const ROUTES: [&str; 10] =
    [TAGS, TAG_LIST, TAG, EMPTY_TAG, ALIVE, READY, METRICS, OPENAPI, DOCS, DOCS_ASSET];

/// The service's routes. Those under `/api` are bounded in number and time; health and metrics answer under any load.
pub fn router(app: App) -> Router {
    let api = Router::new()
        .route(TAGS, only("POST", post(tags::upsert)))
        .route(TAG_LIST, only("GET", get(tags::list)))
        .route(TAG, only("GET, DELETE", get(tags::find).delete(tags::remove)))
        .route(EMPTY_TAG, any(fallback::redirect_slash).delete(tags::remove_empty))
        .layer(from_fn_with_state(app.limits.clone(), limits::hold_to));
    Router::new()
        .merge(api)
        .route(ALIVE, get(health::alive))
        .route(READY, get(health::ready))
        .route(METRICS, get(metrics::show))
        .route(OPENAPI, get(docs::document))
        .route(DOCS, get(docs::page))
        .route(DOCS_ASSET, get(docs::asset))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(from_fn_with_state(app.metrics.clone(), observe::follow))
        .with_state(app)
}

/// A route with just these methods. axum answers HEAD where it answers GET; the original does not, and says so in
/// `Allow`.
fn only(allow: &'static str, route: MethodRouter<App>) -> MethodRouter<App> {
    let refuse = move || async move { problem::method_not_allowed(allow) };
    route.head(refuse).fallback(refuse)
}
