//! The broker's own interface: docs/broker.md.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use freshdb_databases::{Changes, ErrorKind, Kind, Lease, Pool, ResetReport, ServerSession};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Broker;
use super::answer::Refusal;
use super::document;
use super::leases::{Fate, Held, Owner, StaysOpen};
use super::location::Location;
use super::templates::{Asked, Missing};
use crate::report::{Begun, Outcome, Told};

const MOST_BODY: usize = 64 * 1024;
const MOST_HASH: usize = 200;
const MOST_NOTE: usize = 1000;
const HOW_TO_HOLD: &str =
    "for as long as the database is in use, or take the lease with `\"hold\": \"until_given_back\"`";
const HOW_TO_HAVE_MORE: &str = "a database is free again when its lease is given back; where all of them are at work, a server has room for more \
    with fewer connections for each, by `--connections`";
/// A test that failed with a lock on a table would hold up its runner.
const COMPARISON_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn router() -> Router<Arc<Broker>> {
    Router::new()
        .route("/v1/leases", post(take_lease))
        .route("/v1/leases/{id}", delete(give_back))
        .route("/v1/leases/{id}/outcome", put(tell_outcome))
        .route("/v1/leases/{id}/changes", get(changes))
        .route("/v1/leases/{id}/sessions", get(sessions))
        .route("/v1/templates", post(ask_for_template))
        .route("/v1/templates/{engine}/{hash}", put(finish_template).delete(discard_template))
        .route("/v1/status", get(status))
        .route("/v1/openapi.json", get(async || Json(document::document())))
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, "there is nothing under this path")
                .hint("GET /v1/openapi.json says what there is")
        })
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method")
        })
        .layer(DefaultBodyLimit::max(MOST_BODY))
}

/// Which database is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `sqlite`, `mysql`, `mariadb` or `postgres`. May be left out where the broker has one engine.
    engine: Option<String>,
    /// The hash of a template that is ready. Without it: the schema of the command line.
    template: Option<String>,
    /// Any text of 1000 bytes at the most, such as a test's name.
    #[serde(default)]
    note: String,
    #[serde(default)]
    hold: Hold,
    /// Whatever tells one process from others, in 1000 bytes at the most. It may get a database to which sessions of its own are
    /// [staying](give_back) connected.
    process: Option<String>,
}

/// When a lease ends that nobody gives back.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hold {
    /// With the connection over which it was taken.
    #[default]
    Connection,
    /// With the broker.
    UntilGivenBack,
}

/// A database that is leased.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Leased {
    id: String,
    #[serde(flatten)]
    database: Location,
    /// How many connections it may open.
    connections: u32,
    /// Whether its server ends with the broker.
    private: bool,
    waited_ms: f64,
}

/// Take a lease
#[utoipa::path(post, path = "/v1/leases", request_body = Wanted, responses(
    (status = 201, body = Leased), (status = 400, body = Refusal), (status = 404, body = Refusal), (status = 409, body = Refusal),
    (status = 422, body = Refusal, description = "The schema could not be applied"),
    (status = 503, body = Refusal, description = "No database became free, or the server does not answer")))]
pub(super) async fn take_lease(
    State(broker): State<Arc<Broker>>,
    Extension(connection): Extension<Owner>,
    Extension(StaysOpen(stays_open)): Extension<StaysOpen>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Leased>), Refusal> {
    let Json(wanted) = wanted?;
    let kind = broker.engine(wanted.engine.as_deref())?;
    if wanted.note.len() > MOST_NOTE {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("`note` has more than {MOST_NOTE} bytes")));
    }
    if wanted.hold == Hold::Connection && !stays_open {
        let fact = "the request closes its connection, and the lease would end with that";
        return Err(
            Refusal::new(StatusCode::BAD_REQUEST, fact).hint(format!("leave the connection open {HOW_TO_HOLD}"))
        );
    }
    let started = Instant::now();
    let process = wanted.process;
    if process.as_ref().is_some_and(|process| process.len() > MOST_NOTE) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("`process` has more than {MOST_NOTE} bytes")));
    }
    let (lease, private) = broker.lease(kind, wanted.template.as_deref(), process.as_deref()).await?;
    let (database, connections) = (Location::of(lease.url()), lease.connections());
    let owner = (wanted.hold == Hold::Connection).then_some(connection);
    let elapsed = started.elapsed();
    let number = broker.recorder.as_ref().map(|recorder| {
        recorder.begin(Begun {
            engine: kind.name(),
            database: lease.name().to_owned(),
            worker: Some(connection.0),
            note: wanted.note.clone(),
            asked: started,
            waited: elapsed,
        })
    });
    let held = Held { process, ..Held::new(lease, owner, wanted.note, number) };
    let id = broker.leases.add(held).to_string();
    let waited_ms = milliseconds(elapsed);
    Ok((StatusCode::CREATED, Json(Leased { id, database, connections, private, waited_ms })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HowGivenBack {
    #[serde(default)]
    wait: bool,
    #[serde(default)]
    keep: bool,
    outcome: Option<Outcome>,
    /// `12,13`
    #[serde(default)]
    staying: String,
}

/// How a database was put back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PutBack {
    /// How many tables had been touched.
    touched: Option<usize>,
    /// Why it could not be put back, so that it was dropped.
    changed: Option<String>,
    kept: bool,
    /// Who was still connected, and was ended.
    sessions: Vec<String>,
    elapsed_ms: f64,
}

impl PutBack {
    fn of(report: &ResetReport) -> Self {
        Self {
            touched: report.touched(),
            changed: report.changed().map(ToOwned::to_owned),
            kept: report.is_kept(),
            sessions: report.sessions().iter().map(ToString::to_string).collect(),
            elapsed_ms: milliseconds(report.elapsed()),
        }
    }
}

/// Give a lease back
#[utoipa::path(delete, path = "/v1/leases/{id}", params(
    ("id" = String, Path), ("wait" = Option<bool>, Query, description = "Answer when the database is put back"),
    ("keep" = Option<bool>, Query, description = "Leave the database as it is"),
    ("staying" = Option<String>, Query, description = "The server's numbers of idle sessions that stay connected, with commas between them: the \
        next lease is of the same process, or they are ended"),
    ("outcome" = Option<Outcome>, Query, description = "How the test ended, unless that was told before; one that failed has failed")), responses(
    (status = 204, description = "It is being put back"), (status = 200, body = PutBack), (status = 400, body = Refusal),
    (status = 404, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn give_back(
    State(broker): State<Arc<Broker>>,
    id: Result<Path<String>, PathRejection>,
    how: Result<Query<HowGivenBack>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (Path(id), Query(how)) = (id?, how?);
    let staying = how.staying.split(',').filter(|number| !number.is_empty()).map(str::parse).collect::<Result<_, _>>();
    let staying = staying.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "`staying` is no list of numbers"))?;
    let held = id.parse().ok().and_then(|number| broker.leases.take(number));
    let held = held.ok_or_else(|| broker.no_such_lease(&id))?;
    if let (Some(recorder), Some(number), Some(outcome)) = (&broker.recorder, held.number, how.outcome) {
        recorder.tell_at_last(number, outcome);
    }
    let fate = if how.keep { Fate::Keep } else { Fate::Reset { staying } };
    let given_back = broker.give_back(held, fate);
    if !how.wait {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(PutBack::of(&given_back.await?)).into_response())
}

/// What a test that has ended did to its database.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Heard {
    /// Of one that failed, and did something: `tags: 2 inserted, 1 changed`. `freshdb diff` shows the rows, also when the database is gone.
    changes: Option<String>,
}

/// Tell how the test ended
///
/// Before the lease is given back. What a failed test did to its database is compared with the template and written down.
#[utoipa::path(put, path = "/v1/leases/{id}/outcome", params(("id" = String, Path)), request_body = Told, responses(
    (status = 200, body = Heard), (status = 400, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn tell_outcome(
    State(broker): State<Arc<Broker>>,
    id: Result<Path<String>, PathRejection>,
    told: Result<Json<Told>, JsonRejection>,
) -> Result<Json<Heard>, Refusal> {
    let (Path(id), Json(told)) = (id?, told?);
    let outcome = told.outcome;
    let found = broker.with_lease(&id, |held| {
        if let (Some(recorder), Some(number)) = (&broker.recorder, held.number) {
            recorder.tell(number, &told);
        }
        (held.lease.kind(), held.lease.name().to_owned(), held.note.clone(), held.number)
    });
    let (kind, name, note, number) = found.ok_or_else(|| broker.no_such_lease(&id))?;
    if outcome != Outcome::Failed {
        return Ok(Json(Heard { changes: None }));
    }
    let server = broker.servers.get(kind).await?;
    let changes = tokio::time::timeout(COMPARISON_LIMIT, Changes::of(&server, &name)).await.map_err(|_| {
        let fact = format!("`{name}` was not compared with its template within {COMPARISON_LIMIT:?}");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, fact)
    })?;
    let changes = changes?.noted(note);
    let told = (!changes.is_empty()).then(|| changes.to_string());
    if let (Some(recorder), Some(number), Some(told)) = (&broker.recorder, number, &told) {
        recorder.wrote(number, told);
    }
    changes.store(broker.config()).map_err(|error| {
        let told = told.as_deref().unwrap_or("nothing");
        Refusal::from(error).add(&format!("\n  what was to be written: {told}"))
    })?;
    Ok(Json(Heard { changes: told }))
}

/// What was done to a database that is leased
#[utoipa::path(get, path = "/v1/leases/{id}/changes", params(("id" = String, Path)), responses(
    (status = 200, body = Object, description = "What `freshdb diff --json` prints"), (status = 400, body = Refusal),
    (status = 404, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn changes(
    State(broker): State<Arc<Broker>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Changes>, Refusal> {
    let Path(id) = id?;
    let found = broker.with_lease(&id, |held| (held.lease.kind(), held.lease.name().to_owned(), held.note.clone()));
    let (kind, name, note) = found.ok_or_else(|| broker.no_such_lease(&id))?;
    Ok(Json(Changes::of(&broker.servers.get(kind).await?, &name).await?.noted(note)))
}

/// Who is connected to a database that is leased
#[utoipa::path(get, path = "/v1/leases/{id}/sessions", params(("id" = String, Path)), responses(
    (status = 200, body = [Object], description = "As the server says; of SQLite, which has none, nobody"),
    (status = 400, body = Refusal), (status = 404, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn sessions(
    State(broker): State<Arc<Broker>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Vec<ServerSession>>, Refusal> {
    let Path(id) = id?;
    let asked = broker.with_lease(&id, |held| held.lease.sessions());
    Ok(Json(asked.ok_or_else(|| broker.no_such_lease(&id))?.await?))
}

/// Which template is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedTemplate {
    engine: Option<String>,
    /// 1 to 200 bytes that change whenever what is filled in would.
    hash: String,
}

/// Whether a template is there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum TemplateState {
    /// It is there: take leases.
    Ready,
    /// It is the caller's to fill.
    Empty(Location),
}

/// Ask for a template, and fill it if it is empty
#[utoipa::path(post, path = "/v1/templates", request_body = WantedTemplate, responses(
    (status = 200, body = TemplateState), (status = 201, body = TemplateState), (status = 400, body = Refusal),
    (status = 503, body = Refusal)))]
pub(super) async fn ask_for_template(
    State(broker): State<Arc<Broker>>,
    Extension(owner): Extension<Owner>,
    Extension(StaysOpen(stays_open)): Extension<StaysOpen>,
    wanted: Result<Json<WantedTemplate>, JsonRejection>,
) -> Result<(StatusCode, Json<TemplateState>), Refusal> {
    let Json(wanted) = wanted?;
    let kind = broker.engine(wanted.engine.as_deref())?;
    check_hash(&wanted.hash)?;
    match broker.templates.ask(kind, &wanted.hash, Some(owner)).await {
        Ok(Asked::Ready) => Ok((StatusCode::OK, Json(TemplateState::Ready))),
        // It is discarded when the connection is closed, which is now.
        Ok(Asked::Empty(_)) if !stays_open => {
            let fact =
                "the request closes its connection, and the template, which is empty, would be discarded with that";
            Err(Refusal::new(StatusCode::BAD_REQUEST, fact)
                .hint("leave the connection open until the template is filled"))
        }
        Ok(Asked::Empty(url)) => Ok((StatusCode::CREATED, Json(TemplateState::Empty(Location::of(&url))))),
        Err(error) => Err(Refusal::from(&*error)),
    }
}

/// Say that a template is filled
#[utoipa::path(put, path = "/v1/templates/{engine}/{hash}", params(("engine" = String, Path), ("hash" = String, Path)), responses(
    (status = 204, description = "It is ready"), (status = 400, body = Refusal), (status = 404, body = Refusal),
    (status = 409, body = Refusal, description = "Nobody was told yet where it is"), (status = 422, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn finish_template(
    State(broker): State<Arc<Broker>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Path((engine, hash)) = path?;
    let kind = broker.engine(Some(&engine))?;
    broker.templates.finish(kind, &hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Discard a template, filled or not
#[utoipa::path(delete, path = "/v1/templates/{engine}/{hash}", params(("engine" = String, Path), ("hash" = String, Path)), responses(
    (status = 204, description = "The next who asks fills another one"), (status = 400, body = Refusal), (status = 404, body = Refusal),
    (status = 503, body = Refusal)))]
pub(super) async fn discard_template(
    State(broker): State<Arc<Broker>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Path((engine, hash)) = path?;
    let kind = broker.engine(Some(&engine))?;
    broker.templates.discard(kind, &hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What there is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    version: &'static str,
    engines: Vec<EngineStatus>,
    pools: Vec<PoolStatus>,
    leases: Vec<LeaseStatus>,
}

/// An engine that databases can be had of.
#[derive(Debug, Serialize, ToSchema)]
struct EngineStatus {
    engine: &'static str,
    /// Where its server is, without the password; nothing while nobody has needed it.
    url: Option<String>,
}

/// Databases of one schema.
#[derive(Debug, Serialize, ToSchema)]
struct PoolStatus {
    engine: &'static str,
    /// The hash that a client gave; nothing for the schema of the command line.
    template: Option<String>,
    limit: usize,
}

/// A lease that is out.
#[derive(Debug, Serialize, ToSchema)]
struct LeaseStatus {
    /// Nothing of one that was taken over IntegreSQL's interface, and is given back there.
    id: Option<String>,
    engine: &'static str,
    database: String,
    /// What its client said of it; over IntegreSQL's interface, where none says anything, its test and template.
    note: String,
    held_ms: f64,
}

/// What there is
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(broker): State<Arc<Broker>>) -> Json<Status> {
    let engine = |kind: &Kind| EngineStatus {
        engine: kind.name(),
        url: broker.servers.started_one(*kind).map(|server| server.url().to_string()),
    };
    let pool = |(kind, template, pool): (Kind, Option<String>, Pool)| PoolStatus {
        engine: kind.name(),
        template,
        limit: pool.limit(),
    };
    let lease = |told: super::leases::Told| LeaseStatus {
        id: told.number.map(|number| number.to_string()),
        engine: told.engine,
        database: told.database,
        note: told.note,
        held_ms: milliseconds(told.held),
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        engines: broker.servers.engines().iter().map(engine).collect(),
        pools: broker.templates.list().into_iter().map(pool).collect(),
        leases: broker.leased().into_iter().map(lease).collect(),
    })
}

impl Broker {
    /// The engine that is meant.
    pub(super) fn engine(&self, name: Option<&str>) -> Result<Kind, Refusal> {
        let engines = self.servers.engines();
        let names = || engines.iter().map(|kind| format!("`{}`", kind.name())).collect::<Vec<_>>().join(", ");
        match (name, engines) {
            (None, [kind]) => Ok(*kind),
            (None, _) => {
                Err(Refusal::new(StatusCode::BAD_REQUEST, "`engine` is missing")
                    .hint(format!("it is one of {}", names())))
            }
            (Some(name), _) => engines.iter().find(|kind| kind.name() == name).copied().ok_or_else(|| {
                let shown: String = name.chars().take(20).collect();
                Refusal::new(StatusCode::BAD_REQUEST, format!("this broker has no engine `{shown}`"))
                    .hint(format!("it has {}", names()))
            }),
        }
    }

    /// A database, and whether its server ends with the broker.
    async fn lease(&self, kind: Kind, template: Option<&str>, process: Option<&str>) -> Result<(Lease, bool), Refusal> {
        let pool = match template {
            None => self.templates.own(kind).await?,
            Some(hash) => self.templates.pool(kind, hash, false).await?,
        };
        let private = pool.server().is_throwaway();
        match self.lease_of(&pool, process).await {
            Ok(lease) => Ok((lease, private)),
            // All of them were taken at one place of this program: whose they are, the notes say.
            Err(error) if error.kind() == ErrorKind::Exhausted => {
                Err(Refusal::from(&error).add(&self.holders(kind)).hint(HOW_TO_HAVE_MORE))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why there is none of this id.
    fn no_such_lease(&self, id: &str) -> Refusal {
        match id.parse() {
            Ok(number) if self.leases.is_lost(number) => {
                let fact = format!("lease {number} has ended, for the connection over which it was taken was closed");
                Refusal::new(StatusCode::NOT_FOUND, fact).hint(format!("leave that open {HOW_TO_HOLD}"))
            }
            _ => Refusal::new(StatusCode::NOT_FOUND, "there is no such lease, or it has ended"),
        }
    }

    /// A look at a lease.
    fn with_lease<T>(&self, id: &str, look: impl FnOnce(&Held) -> T) -> Option<T> {
        self.leases.with(id.parse().ok()?, look)
    }

    /// A database to which nobody is connected but this process.
    pub(super) async fn lease_of(&self, pool: &Pool, process: Option<&str>) -> Result<Lease, freshdb_databases::Error> {
        loop {
            let lease = pool.lease().await?;
            if !self.leases.is_anothers(lease.name(), process) {
                return Ok(lease);
            }
            drop(lease.give_back());
        }
    }

    /// What is out, over whichever interface.
    fn leased(&self) -> Vec<super::leases::Told> {
        self.leases.list().into_iter().chain(self.integresql.list()).collect()
    }

    fn holders(&self, kind: Kind) -> String {
        let leases = self.leased();
        let told = leases.iter().filter(|told| told.engine == kind.name()).take(20);
        let lines: Vec<String> =
            told.map(|told| format!("\n  {:?}, for {:.1} s", told.note, told.held.as_secs_f64())).collect();
        lines.concat()
    }
}

pub(super) fn check_hash(hash: &str) -> Result<(), Refusal> {
    if hash.is_empty() || hash.len() > MOST_HASH {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the hash of a template has 1 to {MOST_HASH} bytes"),
        ));
    }
    Ok(())
}

impl From<Missing> for Refusal {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Unknown => Self::new(StatusCode::NOT_FOUND, "there is no such template")
                .hint("ask for it with POST /v1/templates first"),
            Missing::Opening => Self::new(StatusCode::CONFLICT, "the template is not there to be filled yet")
                .hint("wait for the answer that says where it is"),
            Missing::Unfinished => Self::new(StatusCode::CONFLICT, "the template is not ready yet")
                .hint("say that it is filled with PUT /v1/templates/{engine}/{hash}"),
            Missing::Failed(error) => Self::from(&*error),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
