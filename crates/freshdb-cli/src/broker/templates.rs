//! What databases are made from: the command line's schema, or what a client fills.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freshdb_databases::schema::{BoxFuture, Fingerprint, SchemaError, Target};
use freshdb_databases::{DatabaseUrl, Error, Kind, Pool, Schema};
use tokio::sync::{OnceCell, oneshot, watch};

use super::leases::Owner;
use crate::servers::Servers;

pub(super) struct Templates {
    servers: Arc<Servers>,
    start: Start,
    own: Mutex<HashMap<Kind, Arc<OnceCell<Pool>>>>,
    clients: Mutex<HashMap<(Kind, String), Arc<Template>>>,
}

/// How pools start, as the command line says.
#[derive(Debug)]
pub(crate) struct Start {
    /// What databases have that are not made from a client's template.
    pub(crate) schema: Arc<dyn Schema>,
    /// Whether templates are made anew.
    pub(crate) rebuild: bool,
    /// How many connections a lease may open.
    pub(crate) connections: u32,
}

/// What a client fills, and what becomes of it.
pub(super) struct Template {
    state: watch::Sender<State>,
    /// How whoever fills it says that it is done, or not.
    filled: Mutex<Option<oneshot::Sender<Result<(), String>>>>,
    filler: Option<Owner>,
    given_up: AtomicBool,
}

#[derive(Clone)]
enum State {
    /// It is looked for, and made if it is not there.
    Opening,
    /// Somebody fills it.
    Empty(DatabaseUrl),
    Ready(Pool),
    Failed(Arc<Error>),
    Discarded,
}

/// What somebody who asks for a template is told.
pub(super) enum Asked {
    Ready,
    /// It is his to fill.
    Empty(DatabaseUrl),
}

/// Why there is no pool.
pub(super) enum Missing {
    Unknown,
    /// It is looked for, or made.
    Opening,
    Unfinished,
    Failed(Arc<Error>),
}

impl Templates {
    pub(super) fn new(servers: Arc<Servers>, start: Start) -> Self {
        Self { servers, start, own: Mutex::default(), clients: Mutex::default() }
    }

    /// The databases of the command line's schema.
    pub(super) async fn own(&self, kind: Kind) -> Result<Pool, Error> {
        let cell = lock(&self.own).entry(kind).or_default().clone();
        let open = || async {
            let server = self.servers.get(kind).await?;
            let Start { schema, rebuild, connections } = &self.start;
            Pool::builder(server, schema.clone()).connections(*connections).rebuild(*rebuild).open().await
        };
        cell.get_or_try_init(open).await.cloned()
    }

    /// Finds a client's template, or has whoever asks first fill it, and the others wait.
    pub(super) async fn ask(&self, kind: Kind, hash: &str, filler: Option<Owner>) -> Result<Asked, Arc<Error>> {
        loop {
            let (template, is_new) = self.find_or_open(kind, hash, filler);
            let mut states = template.state.subscribe();
            let decided = |state: &State| match state {
                State::Opening => false,
                State::Empty(_) => is_new,
                _ => true,
            };
            let mut opener = Opener(is_new.then_some(&*template));
            // Whoever opens it has the sender.
            let state = states.wait_for(decided).await.map_or(State::Discarded, |state| state.clone());
            opener.0 = None;
            match state {
                State::Ready(_) => return Ok(Asked::Ready),
                State::Empty(url) => return Ok(Asked::Empty(url)),
                State::Failed(error) if is_new => return Err(error),
                // Another one's failure: this one tries by itself.
                State::Failed(_) | State::Discarded | State::Opening => {}
            }
        }
    }

    /// What was asked for is filled.
    pub(super) async fn finish(&self, kind: Kind, hash: &str) -> Result<(), Missing> {
        let template = self.find(kind, hash).ok_or(Missing::Unknown)?;
        // Nobody was told where it is, and so nobody has filled it.
        if matches!(*template.state.borrow(), State::Opening) {
            return Err(Missing::Opening);
        }
        match template.ended(Ok(())).await {
            State::Failed(error) => Err(Missing::Failed(error)),
            State::Discarded => Err(Missing::Unknown),
            State::Ready(_) | State::Opening | State::Empty(_) => Ok(()),
        }
    }

    /// Forgets a template. The next who asks for it fills another one.
    pub(super) async fn discard(&self, kind: Kind, hash: &str) -> Result<(), Missing> {
        let template = self.find(kind, hash).ok_or(Missing::Unknown)?;
        if let State::Ready(pool) = template.ended(Err("it was discarded".to_owned())).await {
            // A later run would find it, or another broker of the same server.
            pool.retire().await.map_err(|error| Missing::Failed(Arc::new(error)))?;
        }
        let key = (kind, hash.to_owned());
        let mut clients = lock(&self.clients);
        // Somebody who waited may have opened another one meanwhile, which is not to be discarded.
        if clients.get(&key).is_some_and(|now| Arc::ptr_eq(now, &template)) {
            clients.remove(&key);
            // Its pool closes when the last request that has it is answered, and what is leased of it is given back.
            template.state.send_replace(State::Discarded);
        }
        Ok(())
    }

    /// The databases of a client's template: at once, or when it is filled.
    pub(super) async fn pool(&self, kind: Kind, hash: &str, wait: bool) -> Result<Pool, Missing> {
        let template = self.find(kind, hash).ok_or(Missing::Unknown)?;
        let mut states = template.state.subscribe();
        let over = |state: &State| !wait || !matches!(state, State::Opening | State::Empty(_));
        let state = states.wait_for(over).await.map_or(State::Discarded, |state| state.clone());
        match state {
            State::Ready(pool) => Ok(pool),
            State::Opening | State::Empty(_) => Err(Missing::Unfinished),
            State::Failed(error) => Err(Missing::Failed(error)),
            State::Discarded => Err(Missing::Unknown),
        }
    }

    /// A client's connection is closed: what it was filling will never be filled.
    pub(super) fn end(&self, owner: Owner) {
        for template in lock(&self.clients).values().filter(|template| template.filler == Some(owner)) {
            template.end(Err("the connection of whoever filled it was closed".to_owned()));
        }
    }

    /// Forgets what clients filled.
    pub(super) async fn discard_all(&self) {
        let all: Vec<(Kind, String)> = lock(&self.clients).keys().cloned().collect();
        for (kind, hash) in all {
            // One that is gone meanwhile is gone.
            if let Err(Missing::Failed(error)) = self.discard(kind, &hash).await {
                tracing::warn!("{error:?}");
            }
        }
    }

    /// Engine, template and pool of all that is there.
    pub(super) fn list(&self) -> Vec<(Kind, Option<String>, Pool)> {
        let own = lock(&self.own);
        let own = own.iter().filter_map(|(kind, cell)| Some((*kind, None, cell.get()?.clone())));
        let clients = lock(&self.clients);
        let clients = clients.iter().filter_map(|((kind, hash), template)| match &*template.state.borrow() {
            State::Ready(pool) => Some((*kind, Some(hash.clone()), pool.clone())),
            _ => None,
        });
        own.chain(clients).collect()
    }

    pub(super) async fn close(&self) {
        let pools: Vec<Pool> = self.list().into_iter().map(|(.., pool)| pool).collect();
        lock(&self.own).clear();
        lock(&self.clients).clear();
        for pool in pools {
            if let Err(error) = pool.close().await {
                tracing::debug!(%error, "a pool was closed under its leases");
            }
        }
    }

    /// Whether somebody has asked for it, and it is there or will be.
    pub(super) fn is_known(&self, kind: Kind, hash: &str) -> bool {
        self.find(kind, hash).is_some_and(|template| match &*template.state.borrow() {
            // One that was given up is gone in a moment. Whoever asks for it waits for that.
            State::Opening | State::Empty(_) => !template.given_up.load(Ordering::Relaxed),
            State::Ready(_) => true,
            State::Failed(_) | State::Discarded => false,
        })
    }

    fn find(&self, kind: Kind, hash: &str) -> Option<Arc<Template>> {
        lock(&self.clients).get(&(kind, hash.to_owned())).cloned()
    }

    fn find_or_open(&self, kind: Kind, hash: &str, filler: Option<Owner>) -> (Arc<Template>, bool) {
        let mut clients = lock(&self.clients);
        let key = (kind, hash.to_owned());
        if let Some(template) = clients.get(&key)
            && !matches!(*template.state.borrow(), State::Failed(_) | State::Discarded)
        {
            return (template.clone(), false);
        }
        let (done, is_filled) = oneshot::channel();
        let template = Arc::new(Template {
            state: watch::Sender::new(State::Opening),
            filled: Mutex::new(Some(done)),
            given_up: AtomicBool::new(false),
            filler,
        });
        clients.insert(key, template.clone());
        let schema =
            ByClient { hash: hash.to_owned(), template: template.clone(), is_filled: Mutex::new(Some(is_filled)) };
        let (servers, opened) = (self.servers.clone(), template.clone());
        let Start { rebuild, connections, .. } = self.start;
        tokio::spawn(async move {
            let open = async {
                let server = servers.get(kind).await?;
                Pool::builder(server, schema).connections(connections).rebuild(rebuild).open().await
            };
            let state = match open.await {
                Ok(pool) => State::Ready(pool),
                Err(_) if opened.given_up.load(Ordering::Relaxed) => State::Discarded,
                Err(error) => State::Failed(Arc::new(error)),
            };
            opened.state.send_replace(state);
        });
        (template, true)
    }
}

impl Template {
    /// What whoever fills it has to say. The first word counts.
    fn end(&self, done: Result<(), String>) {
        if let Some(filled) = lock(&self.filled).take() {
            self.given_up.store(done.is_err(), Ordering::Relaxed);
            // Without a receiver, the making of it has failed meanwhile.
            drop(filled.send(done));
        }
    }

    /// The same, and what became of it.
    async fn ended(&self, done: Result<(), String>) -> State {
        self.end(done);
        let over = |state: &State| !matches!(state, State::Opening | State::Empty(_));
        let mut states = self.state.subscribe();
        states.wait_for(over).await.map_or(State::Discarded, |state| state.clone())
    }
}

/// Whoever has opened a template, until he is told where it is. When he goes away before that, nobody else will fill it.
struct Opener<'a>(Option<&'a Template>);

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        if let Some(template) = self.0 {
            template.end(Err("whoever asked for it went away before it could be filled".to_owned()));
        }
    }
}

/// A schema that a client makes, in whichever language.
struct ByClient {
    hash: String,
    template: Arc<Template>,
    is_filled: Mutex<Option<oneshot::Receiver<Result<(), String>>>>,
}

impl Schema for ByClient {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        fingerprint.add("filled by a client", &self.hash);
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            let is_filled = lock(&self.is_filled).take().ok_or("it was asked for twice")?;
            self.template.state.send_replace(State::Empty(target.url().clone()));
            is_filled.await.unwrap_or_else(|_| Err("the broker has ended".to_owned())).map_err(SchemaError::from)
        })
    }
}

impl std::fmt::Debug for ByClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ByClient").field(&self.hash).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use freshdb_databases::{Config, schema};
    use tempfile::TempDir;

    use super::*;

    /// On a server of their own: those of one configuration share one, and each test stops it.
    fn no_templates(cache: &TempDir) -> (Arc<Servers>, Templates) {
        let config = Config::from_env().expect("a configuration").without_run().with_cache_dir(cache.path());
        let servers = Arc::new(Servers::new(config, &[Kind::Sqlite]));
        let start = Start { schema: Arc::new(schema::sql("")), rebuild: false, connections: 1 };
        (servers.clone(), Templates::new(servers, start))
    }

    /// An empty one would be taken for the template.
    #[tokio::test]
    async fn what_nobody_was_told_of_is_not_filled() {
        let cache = tempfile::tempdir().expect("a directory");
        let (servers, templates) = no_templates(&cache);
        let (_, is_new) = templates.find_or_open(Kind::Sqlite, "a hash", None);
        assert!(is_new);
        // Nothing else runs on this thread meanwhile.
        assert!(matches!(templates.finish(Kind::Sqlite, "a hash").await, Err(Missing::Opening)));
        templates.discard_all().await;
        servers.stop().await.expect("it stops");
    }

    #[tokio::test]
    async fn whoever_goes_away_before_it_is_there_has_given_it_up() {
        let cache = tempfile::tempdir().expect("a directory");
        let (servers, templates) = no_templates(&cache);
        let gone = tokio::time::timeout(Duration::ZERO, templates.ask(Kind::Sqlite, "a hash", None)).await;
        assert!(gone.is_err(), "it is not there at once");
        assert!(!templates.is_known(Kind::Sqlite, "a hash"));
        let next = tokio::time::timeout(test_support::DEADLINE, templates.ask(Kind::Sqlite, "a hash", None)).await;
        let next = next.expect("it is opened in time").unwrap_or_else(|error| panic!("{error:?}"));
        assert!(matches!(next, Asked::Empty(_)), "the next fills it");
        templates.discard_all().await;
        servers.stop().await.expect("it stops");
    }
}
