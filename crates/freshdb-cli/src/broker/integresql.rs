//! The REST interface of IntegreSQL v1, so that its clients work: <https://github.com/allaboutapps/integresql>.
//!
//! Its clients keep no connection, and most never give a database back. So leases that were taken here end with the broker; and
//! when all databases are out, those that nobody is connected to any more are put back, the oldest first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use freshdb_databases::{DatabaseUrl, Kind, Pool};
use serde::{Deserialize, Serialize};

use super::Broker;
use super::answer::Refusal;
use super::api::check_hash;
use super::leases::{Fate, Held};
use super::location::Location;
use super::templates::Asked;
use crate::report::Begun;

/// How long a client waits for a database.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long one is left to whoever has it, connected or not yet.
const LEAST_HOLD: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(20);

/// What is out, by the engine and hash of its template.
#[derive(Default)]
pub(super) struct Tests(Mutex<HashMap<(Kind, String), Numbered>>);

/// Databases have small numbers, each always the same.
#[derive(Default)]
struct Numbered {
    names: Vec<String>,
    out: HashMap<usize, Held>,
}

pub(super) fn router() -> Router<Arc<Broker>> {
    let routes = Router::new()
        .route("/templates", post(initialize))
        .route("/templates/{hash}", put(finalize).delete(discard))
        .route("/templates/{hash}/tests", get(test))
        .route("/templates/{hash}/tests/{id}", delete(unlock))
        .route("/templates/{hash}/tests/{id}/unlock", post(unlock))
        .route("/templates/{hash}/tests/{id}/recreate", post(unlock))
        .route("/admin/templates", delete(discard_all));
    // PostgreSQL is what its clients expect; the others have a path of their own.
    Router::new().nest("/api/v1", routes.clone()).nest("/{engine}/api/v1", routes)
}

#[derive(Debug, Deserialize)]
struct Hash {
    #[serde(default)]
    hash: String,
}

impl Hash {
    /// Some clients send JSON, and some a form, which `IntegreSQL` takes as well.
    fn of(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return serde_json::from_slice(body).ok();
        }
        let hash =
            url::form_urlencoded::parse(body).find(|(name, _)| name == "hash").map(|(_, hash)| hash.into_owned());
        Some(Self { hash: hash.unwrap_or_default() })
    }
}

/// Which engine and template, and which test. With an engine in front of the path there is one more.
#[derive(Debug, Deserialize)]
struct Route {
    engine: Option<String>,
    #[serde(default)]
    hash: String,
    #[serde(default)]
    id: String,
}

/// As its clients read a template.
#[derive(Debug, Serialize)]
struct Template {
    database: Described,
}

/// As its clients read a test database.
#[derive(Debug, Serialize)]
struct Test {
    id: usize,
    database: Described,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    template_hash: String,
    config: Connection,
}

#[derive(Debug, Serialize)]
struct Connection {
    host: String,
    port: u16,
    username: String,
    password: String,
    database: String,
}

impl Described {
    fn of(hash: &str, url: &DatabaseUrl) -> Self {
        let Location { host, port, user, password, database, .. } = Location::of(url);
        let config = Connection {
            host: host.unwrap_or_default(),
            port: port.unwrap_or_default(),
            username: user.unwrap_or_default(),
            password: password.unwrap_or_default(),
            database: database.unwrap_or_default(),
        };
        Self { template_hash: hash.to_owned(), config }
    }
}

async fn initialize(
    State(broker): State<Arc<Broker>>,
    Path(route): Path<Route>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Template>, Refusal> {
    let kind = broker.engine_of(&route)?;
    let Some(Hash { hash }) = Hash::of(&headers, &body) else {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the body is neither a JSON object nor a form with a `hash`",
        ));
    };
    check_hash(&hash)?;
    if broker.templates.is_known(kind, &hash) {
        return Err(Refusal::new(StatusCode::LOCKED, "template is already initialized"));
    }
    match broker.templates.ask(kind, &hash, None).await {
        Ok(Asked::Empty(url)) => Ok(Json(Template { database: Described::of(&hash, &url) })),
        // An earlier run has made it.
        Ok(Asked::Ready) => Err(Refusal::new(StatusCode::LOCKED, "template is already initialized")),
        Err(error) => Err(Refusal::from(&*error)),
    }
}

async fn finalize(State(broker): State<Arc<Broker>>, Path(route): Path<Route>) -> Result<StatusCode, Refusal> {
    let kind = broker.engine_of(&route)?;
    broker.templates.finish(kind, &route.hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn discard(State(broker): State<Arc<Broker>>, Path(route): Path<Route>) -> Result<StatusCode, Refusal> {
    let kind = broker.engine_of(&route)?;
    broker.templates.discard(kind, &route.hash).await?;
    broker.forget_tests(Some((kind, route.hash)));
    Ok(StatusCode::NO_CONTENT)
}

async fn discard_all(State(broker): State<Arc<Broker>>) -> StatusCode {
    broker.forget_tests(None);
    broker.templates.discard_all().await;
    StatusCode::NO_CONTENT
}

async fn test(State(broker): State<Arc<Broker>>, Path(route): Path<Route>) -> Result<Json<Test>, Refusal> {
    let kind = broker.engine_of(&route)?;
    let deadline = Instant::now() + PATIENCE;
    let filled = tokio::time::timeout(PATIENCE, broker.templates.pool(kind, &route.hash, true)).await;
    let pool = match filled {
        Ok(Ok(pool)) => pool,
        Ok(Err(missing)) => return Err(missing.into()),
        Err(_) => {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the template was not finalized within a minute",
            )
            .hint("if whoever initialized it is gone, DELETE /api/v1/templates/{hash} discards it"));
        }
    };
    let key = (kind, route.hash);
    let asked = Instant::now();
    broker.make_room(&key, &pool, deadline).await?;
    let lease = broker.lease_of(&pool, None).await?;
    let database = Described::of(&key.1, lease.url());
    let number = broker.recorder.as_ref().map(|recorder| {
        let (database, note) = (lease.name().to_owned(), String::new());
        recorder.begin(Begun { engine: kind.name(), database, worker: None, note, asked, waited: asked.elapsed() })
    });
    let held = Held::new(lease, None, String::new(), number);
    Ok(Json(Test { id: broker.integresql.add(key, held), database }))
}

/// The database is put back in any case: whoever says that it need not be may be wrong, and does not wait for it.
async fn unlock(State(broker): State<Arc<Broker>>, Path(route): Path<Route>) -> Result<StatusCode, Refusal> {
    let kind = broker.engine_of(&route)?;
    let id = route.id.parse().map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the id of a test is a number"))?;
    let held = broker.integresql.take(&(kind, route.hash), id);
    let held = held.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such test database"))?;
    drop(broker.give_back(held, Fate::RESET));
    Ok(StatusCode::NO_CONTENT)
}

impl Broker {
    fn engine_of(&self, route: &Route) -> Result<Kind, Refusal> {
        let engines = self.servers.engines();
        match &route.engine {
            Some(name) if name == Kind::Sqlite.name() => Err(no_server()),
            Some(name) => self.engine(Some(name)),
            None if engines.contains(&Kind::Postgres) => Ok(Kind::Postgres),
            None => engines.iter().copied().find(|kind| *kind != Kind::Sqlite).ok_or_else(no_server),
        }
    }
}

impl Broker {
    /// Waits until a database of the pool can be had.
    async fn make_room(&self, key: &(Kind, String), pool: &Pool, deadline: Instant) -> Result<(), Refusal> {
        loop {
            let Some(oldest) = self.integresql.oldest_if_full(key, pool.limit()) else { return Ok(()) };
            for id in oldest {
                let Some(held) = self.integresql.take(key, id) else { continue };
                // Out of the map meanwhile: nobody else takes it for idle.
                if held.lease.sessions().await.is_ok_and(|sessions| sessions.is_empty()) {
                    drop(self.give_back(held, Fate::RESET));
                    return Ok(());
                }
                self.integresql.put(key, id, held);
            }
            if Instant::now() > deadline {
                let fact = format!("all {} databases of the template are in use", pool.limit());
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, fact)
                    .hint("unlock what is not needed any more, and close its connections"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives back the databases of one template, or of all.
    pub(super) fn forget_tests(&self, key: Option<(Kind, String)>) {
        for held in self.integresql.take_all_of(key) {
            drop(self.give_back(held, Fate::RESET));
        }
    }
}

fn no_server() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "SQLite has no server whose databases could be told of here")
        .hint("take leases with POST /v1/leases")
}

impl Tests {
    /// Nothing while there is room.
    fn oldest_if_full(&self, key: &(Kind, String), limit: usize) -> Option<Vec<usize>> {
        let tests = self.lock();
        let numbered = tests.get(key).filter(|numbered| numbered.out.len() >= limit)?;
        let mut out: Vec<(usize, Instant)> = numbered.out.iter().map(|(id, held)| (*id, held.since)).collect();
        out.retain(|(_, since)| since.elapsed() >= LEAST_HOLD);
        out.sort_by_key(|(_, since)| *since);
        Some(out.into_iter().map(|(id, _)| id).collect())
    }

    fn add(&self, key: (Kind, String), held: Held) -> usize {
        let mut tests = self.lock();
        let numbered = tests.entry(key).or_default();
        let known = numbered.names.iter().position(|name| name == held.lease.name());
        let id = known.unwrap_or_else(|| {
            numbered.names.push(held.lease.name().to_owned());
            numbered.names.len() - 1
        });
        numbered.out.insert(id, held);
        id
    }

    fn put(&self, key: &(Kind, String), id: usize, held: Held) {
        self.lock().entry(key.clone()).or_default().out.insert(id, held);
    }

    fn take(&self, key: &(Kind, String), id: usize) -> Option<Held> {
        self.lock().get_mut(key)?.out.remove(&id)
    }

    /// Of one template, or of all.
    fn take_all_of(&self, key: Option<(Kind, String)>) -> Vec<Held> {
        let mut tests = self.lock();
        let taken: Vec<Numbered> = match key {
            Some(key) => tests.remove(&key).into_iter().collect(),
            None => tests.drain().map(|(_, numbered)| numbered).collect(),
        };
        taken.into_iter().flat_map(|numbered| numbered.out.into_values()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Kind, String), Numbered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
