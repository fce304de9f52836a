//! The REST interface of IntegreSQL v1, so that its clients work: <https://github.com/allaboutapps/integresql>.
//!
//! Its clients keep no connection, and most never give a database back. So leases that were taken here end with the broker; and
//! when all databases are out, those that nobody is connected to any more are put back, the oldest first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use freshdb_databases::{DatabaseUrl, Kind};
use serde::{Deserialize, Serialize};

use super::Broker;
use super::answer::Refusal;
use super::api::check_hash;
use super::leases::{Fate, Held, Told};
use super::location::Location;
use super::templates::Asked;
use crate::report::Begun;

/// How long a client waits for a database.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long one is left to whoever has it, connected or not yet.
const LEAST_HOLD: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(20);

/// What is out, by template.
#[derive(Default)]
pub(super) struct Tests(Mutex<HashMap<Key, OfTemplate>>);

/// The engine and hash of a template.
type Key = (Kind, String);

#[derive(Default)]
struct OfTemplate {
    /// By numbers that count up, so that the oldest is first. None is used twice: whoever unlocks a database after it was taken from
    /// him does not unlock what is another's by then.
    out: BTreeMap<usize, Held>,
    next_id: usize,
    /// How many places are kept for those who are about to get a database.
    kept: usize,
}

/// A place among the databases of a template, which nobody else gets until this is dropped.
struct Place<'a> {
    tests: &'a Tests,
    key: &'a Key,
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
        let location = Location::of(url);
        let (host, port) = location.address();
        let Location { user, password, database, .. } = location;
        let config = Connection {
            host,
            port,
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
    broker.forget_tests(Some(&(kind, route.hash)));
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
    let place = broker.make_room(&key, pool.limit(), deadline).await?;
    let lease = broker.lease_of(&pool, None).await?;
    let database = Described::of(&key.1, lease.url());
    let number = broker.recorder.as_ref().map(|recorder| {
        let (database, note) = (lease.name().to_owned(), String::new());
        recorder.begin(Begun { engine: kind.name(), database, worker: None, note, asked, waited: asked.elapsed() })
    });
    let held = Held::new(lease, None, String::new(), number);
    Ok(Json(Test { id: place.fill(held), database }))
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
    /// Waits until one more database can be had.
    async fn make_room<'a>(&'a self, key: &'a Key, limit: usize, deadline: Instant) -> Result<Place<'a>, Refusal> {
        loop {
            if let Some(place) = self.integresql.place(key, limit) {
                return Ok(place);
            }
            if let Some((left, place)) = self.integresql.take_one_left(key).await {
                drop(self.give_back(left, Fate::RESET));
                return Ok(place);
            }
            if Instant::now() > deadline {
                let fact = format!("all {limit} databases of the template are in use");
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, fact)
                    .hint("unlock what is not needed any more, and close its connections"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives back the databases of one template, or of all.
    pub(super) fn forget_tests(&self, key: Option<&Key>) {
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
    /// Nothing where all databases are out, or as good as that.
    fn place<'a>(&'a self, key: &'a Key, limit: usize) -> Option<Place<'a>> {
        let mut tests = self.lock();
        let of_template = tests.entry(key.clone()).or_default();
        (of_template.out.len() + of_template.kept < limit).then(|| Place::keep(self, key, of_template))
    }

    /// The oldest to which nobody is connected any more, and its place.
    async fn take_one_left<'a>(&'a self, key: &'a Key) -> Option<(Held, Place<'a>)> {
        for id in self.old_enough(key) {
            // It stays where it is meanwhile: whoever asks for this may go away, and whoever has it may unlock it.
            let Some(sessions) = self.lock().get(key)?.out.get(&id).map(|held| held.lease.sessions()) else { continue };
            if !sessions.await.is_ok_and(|sessions| sessions.is_empty()) {
                continue;
            }
            let mut tests = self.lock();
            let of_template = tests.get_mut(key)?;
            if let Some(held) = of_template.out.remove(&id) {
                return Some((held, Place::keep(self, key, of_template)));
            }
        }
        None
    }

    fn old_enough(&self, key: &Key) -> Vec<usize> {
        let tests = self.lock();
        let out = tests.get(key).into_iter().flat_map(|of_template| &of_template.out);
        out.filter(|(_, held)| held.since.elapsed() >= LEAST_HOLD).map(|(id, _)| *id).collect()
    }

    fn take(&self, key: &Key, id: usize) -> Option<Held> {
        self.lock().get_mut(key)?.out.remove(&id)
    }

    /// Of one template, or of all.
    fn take_all_of(&self, key: Option<&Key>) -> Vec<Held> {
        let mut tests = self.lock();
        let forgotten = tests.iter_mut().filter(|(each, _)| key.is_none_or(|key| key == *each));
        forgotten.flat_map(|(_, of_template)| std::mem::take(&mut of_template.out).into_values()).collect()
    }

    pub(super) fn list(&self) -> Vec<Told> {
        let tests = self.lock();
        let out = tests
            .iter()
            .flat_map(|((_, hash), of_template)| of_template.out.iter().map(move |(id, held)| (hash, id, held)));
        let mut told: Vec<Told> =
            out.map(|(hash, id, held)| held.told(None, format!("IntegreSQL: test {id} of template {hash}"))).collect();
        told.sort_by_key(|told| std::cmp::Reverse(told.held));
        told
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, OfTemplate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Place<'a> {
    fn keep(tests: &'a Tests, key: &'a Key, of_template: &mut OfTemplate) -> Self {
        of_template.kept += 1;
        Self { tests, key }
    }

    /// The database is there. Gives its id.
    fn fill(self, held: Held) -> usize {
        let mut tests = self.tests.lock();
        let of_template = tests.entry(self.key.clone()).or_default();
        let id = of_template.next_id;
        of_template.next_id += 1;
        of_template.out.insert(id, held);
        // Not while it is locked: what drops this locks it, too.
        drop(tests);
        id
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(of_template) = self.tests.lock().get_mut(self.key) {
            of_template.kept -= 1;
        }
    }
}
