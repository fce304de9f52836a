//! Numbers for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::problem;
use super::router::ROUTES;
use crate::database::Database;

/// What is counted.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
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

/// What the database's engine has counted, asked for when the numbers are read.
#[derive(Debug)]
struct Sessions(Database);

impl Collector for Sessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.0.stats();
        let help = "Database connections: idle, in_use, and the limit of both together";
        let connections = Family::<Connections, Gauge>::default();
        for (state, count) in [("idle", stats.idle), ("in_use", stats.in_use), ("limit", stats.limit)] {
            connections.get_or_create(&Connections { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        connections.encode(encoder.encode_descriptor(
            "db_pool_connections",
            help,
            None,
            connections.metric_type(),
        )?)?;
        for (name, help, count) in [
            ("db_conflicts", "Transactions run again because they lost against others", stats.conflicts),
            ("db_losses", "Attempts that met a dead database connection, or none", stats.losses),
            ("db_pool_exhaustions", "Requests that found no free database connection in time", stats.exhaustions),
            (
                "db_cancellations",
                "Statements ended on the database because nobody waited for them",
                stats.cancellations,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

/// The status that stands for no answer, as nginx has it.
pub(super) const CLIENT_WENT_AWAY: u16 = 499;

/// From half a millisecond to half a minute.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

impl Metrics {
    pub(super) fn of(database: &Database) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let help = "Requests answered, and with status 499 those whose client went away before";
        registry.register("http_requests", help, requests.clone());
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
        registry.register_collector(Box::new(Sessions(database.clone())));
        Self { registry, requests, durations, in_flight }
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

    /// Counts a request whose client has not waited for the answer.
    pub(super) fn given_up(&self, method: &Method, route: Option<&MatchedPath>) {
        let (method, route) = (known_method(method), known_route(route));
        self.requests.get_or_create(&Answer { method, route, status: CLIENT_WENT_AWAY }).inc();
    }

    fn encode(&self) -> Result<String, fmt::Error> {
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
