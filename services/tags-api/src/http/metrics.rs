//! Numbers for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use axum::extract::{MatchedPath, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::problem;
use super::router::ROUTES;
use crate::database::Database;

/// What is counted.
pub(super) struct Metrics {
    database: Database,
    registry: Registry,
    requests: Family<Answer, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    connections: Family<Connections, Gauge<i64, AtomicI64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connections {
    state: &'static str,
}

/// From half a millisecond to half a minute.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

impl Metrics {
    pub(super) fn of(database: &Database) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let durations: Family<Route, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "Time from a request's head to the head of its answer";
        registry.register_with_unit(
            "http_request_duration",
            help,
            prometheus_client::registry::Unit::Seconds,
            durations.clone(),
        );
        let in_flight = Gauge::default();
        registry.register("http_requests_in_flight", "Requests that are not answered yet", in_flight.clone());
        let connections = Family::default();
        let help = "Database connections: idle, in_use, and the limit of both together";
        registry.register("db_pool_connections", help, connections.clone());
        let counters = database.counters();
        let help = "Transactions run again because they lost against others";
        registry.register("db_conflicts", help, counters.conflicts.clone());
        let help = "Attempts that met a dead database connection, or none";
        registry.register("db_losses", help, counters.losses.clone());
        let help = "Requests that found no free database connection in time";
        registry.register("db_pool_exhaustions", help, counters.exhaustions.clone());
        Self { database: database.clone(), registry, requests, durations, in_flight, connections }
    }

    /// Counts a request that begins; what it gives counts its end.
    pub(super) fn enter(&self) -> InFlight {
        InFlight::enter(&self.in_flight)
    }

    /// Counts a request that was answered.
    pub(super) fn answered(&self, method: &Method, route: Option<&MatchedPath>, status: StatusCode, took: Duration) {
        let (method, route) = (known_method(method), known_route(route));
        self.durations.get_or_create(&Route { method, route }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answer { method, route, status: status.as_u16() }).inc();
    }

    fn encode(&self) -> Result<String, fmt::Error> {
        let pool = self.database.pool();
        for (state, count) in [("idle", pool.idle), ("in_use", pool.in_use), ("limit", pool.limit)] {
            self.connections.get_or_create(&Connections { state }).set(i64::from(count));
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Counts down however the request ends, a client that goes away included.
pub(super) struct InFlight(Gauge);

impl InFlight {
    fn enter(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A client may send any word as a method; each would be a series of its own.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The route and not the path, whose values have no end.
fn known_route(route: Option<&MatchedPath>) -> &'static str {
    let route = route.map(MatchedPath::as_str);
    ROUTES.iter().find(|known| route == Some(known)).copied().unwrap_or("none")
}

/// The numbers, in OpenMetrics' text format.
pub(super) async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.encode() {
        Ok(text) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(_) => problem::detail(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written"),
    }
}
