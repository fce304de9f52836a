//! One pool of databases for each engine and schema, for all tests of this process.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use freshdb_databases::schema::Fingerprint;
use freshdb_databases::{Config, Error, Kind, Lease, Pool, Schema, Server};
use tokio::sync::OnceCell;

use crate::registry::Place;

/// Why there is no database: the same for all who wait for that pool.
pub(super) type NoDatabase = Arc<Error>;

/// What the environment says, once for the process.
pub(super) fn config() -> Result<&'static Config, NoDatabase> {
    static CONFIG: OnceLock<Result<Config, NoDatabase>> = OnceLock::new();

    CONFIG.get_or_init(|| Config::from_env().map_err(Arc::new)).as_ref().map_err(Clone::clone)
}

/// A pristine database of this schema, and the pool that it is from.
///
/// The first who asks opens the pool, for which the others wait. Where that fails it does so for all: what is missing for one test
/// will be missing for the next.
pub(super) async fn lease<S: Schema + 'static>(
    kind: Kind,
    schema: S,
    place: Place,
) -> Result<(Pool, Lease), NoDatabase> {
    let config = config()?;
    let shelf = shelf(kind, fingerprint(&schema)?);
    let opened = shelf.get_or_init(|| async move {
        let server = Server::of(kind, config).await?;
        Ok(Pool::builder(server, schema).rebuild(config.rebuild()).open().await?)
    });
    let pool = opened.await.as_ref().map_err(Clone::clone)?;
    Ok((pool.clone(), pool.lease_at(place).await?))
}

fn fingerprint(schema: &dyn Schema) -> Result<Fingerprint, NoDatabase> {
    let mut fingerprint = Fingerprint::new();
    schema.fingerprint(&mut fingerprint).map_err(Error::of_fingerprint)?;
    Ok(fingerprint)
}

/// A pool that is being opened, or is open.
type Shelf = Arc<OnceCell<Result<Pool, NoDatabase>>>;

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
