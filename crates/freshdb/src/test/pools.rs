//! One source of databases for each engine and schema, for all tests of this process.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use freshdb_databases::schema::Fingerprint;
use freshdb_databases::{Config, Error, Kind, Pool, Schema, Server};
use tokio::sync::OnceCell;

use super::case::Case;
use super::leased::{self, Leased, Source};

/// Why there is no database: the same for all who wait for that pool.
pub(super) type NoDatabase = Arc<Error>;

/// What the environment says, once for the process.
pub(super) fn config() -> Result<&'static Config, NoDatabase> {
    static CONFIG: OnceLock<Result<Config, NoDatabase>> = OnceLock::new();

    CONFIG.get_or_init(|| Config::from_env().map_err(Arc::new)).as_ref().map_err(Clone::clone)
}

/// A pristine database of this schema.
///
/// The first who asks opens the pool, for which the others wait. Where that fails it does so for all: what is missing for one test
/// will be missing for the next.
pub(super) async fn lease(case: &Case, schema: Box<dyn Schema>) -> Result<Leased, NoDatabase> {
    let shelf = shelf(case.kind, fingerprint(&*schema)?);
    let opened = shelf.get_or_init(|| open(case.kind, schema));
    let source = opened.await.as_ref().map_err(Clone::clone)?;
    Ok(source.lease(&case.name, case.place).await?)
}

async fn open(kind: Kind, schema: Box<dyn Schema>) -> Result<Source, NoDatabase> {
    let config = config()?;
    if let Some(broker) = leased::broker(config)
        && broker.has(kind).await?
    {
        return Ok(Source::Broker(broker.template(kind, schema.into()).await?));
    }
    let server = Server::of(kind, config).await?;
    Ok(Source::Pool(Pool::builder(server, schema).rebuild(config.rebuild()).open().await?))
}

fn fingerprint(schema: &dyn Schema) -> Result<Fingerprint, NoDatabase> {
    let mut fingerprint = Fingerprint::new();
    schema.fingerprint(&mut fingerprint).map_err(Error::of_fingerprint)?;
    Ok(fingerprint)
}

/// A source that is being opened, or is open.
type Shelf = Arc<OnceCell<Result<Source, NoDatabase>>>;

fn shelf(kind: Kind, fingerprint: Fingerprint) -> Shelf {
    static SHELVES: Mutex<Vec<(Kind, Fingerprint, Shelf)>> = Mutex::new(Vec::new());

    let mut shelves = SHELVES.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |(other, of, _): &&(Kind, Fingerprint, Shelf)| *other == kind && *of == fingerprint;
    if let Some((.., shelf)) = shelves.iter().find(same) {
        return shelf.clone();
    }
    let shelf = Shelf::default();
    shelves.push((kind, fingerprint, shelf.clone()));
    shelf
}
