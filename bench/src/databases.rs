//! Databases made for a benchmark, and dropped after it.

use std::path::Path;

use freshdb_databases::{DatabaseUrl, Garbage, Server};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use url::Url;

use crate::engine::Place;
use crate::failure::{Failure, OrFail, both};

/// Databases that are dropped by [`Self::close`]. Their names begin with `bench_load_` and the number of this process.
pub(crate) struct Databases<'a> {
    place: &'a Place,
    directory: &'a Path,
    names: Vec<String>,
}

impl<'a> Databases<'a> {
    /// None yet. Those that are files will be made in `directory`.
    pub(crate) fn new(place: &'a Place, directory: &'a Path) -> Self {
        Self { place, directory, names: Vec::new() }
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Cancellation
    ///
    /// Safe: [`Self::close`] drops the database whether or not it came to be.
    pub(crate) async fn create(&mut self, purpose: &str) -> Result<Url, Failure> {
        let name = format!("bench_load_{}_{purpose}", std::process::id());
        self.names.push(name.clone());
        match self.place {
            Place::Files => self.file_url(&name),
            Place::MySql(server) => {
                execute(server.as_str(), &format!("CREATE DATABASE `{name}`")).await?;
                Ok(url_of(server, &name))
            }
            Place::Postgres(server) => {
                execute(server.as_str(), &format!("CREATE DATABASE \"{name}\"")).await?;
                Ok(url_of(server, &name))
            }
        }
    }

    /// Drops them all, those that are in use too.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for name in &self.names {
            let dropped = match self.place {
                // The file goes with its directory.
                Place::Files => Ok(()),
                Place::MySql(server) => execute(server.as_str(), &format!("DROP DATABASE IF EXISTS `{name}`")).await,
                Place::Postgres(server) => {
                    execute(server.as_str(), &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await
                }
            };
            outcome = both(outcome, dropped);
        }
        outcome
    }

    fn file_url(&self, name: &str) -> Result<Url, Failure> {
        let path = self.directory.join(format!("{name}.db"));
        let unusable = || Failure::new(format!("cannot name `{}` in a URL", path.display()));
        // A file's URL has the path escaped; with the scheme exchanged it is what both contenders take.
        let url = Url::from_file_path(&path).map_err(|()| unusable())?;
        Url::parse(&url.as_str().replacen("file:", "sqlite:", 1)).map_err(|error| unusable().because(error))
    }
}

fn url_of(server: &Url, database: &str) -> Url {
    let mut url = server.clone();
    url.set_path(database);
    url
}

/// Drops what freshdb made on a server from within `checkout`.
pub(crate) async fn collect(place: &Place, checkout: &Path) -> Result<(), Failure> {
    // SQLite's are in a directory of each process, and gone with it.
    let Some(url) = place.server() else { return Ok(()) };
    let url = DatabaseUrl::parse(url.as_str()).or_fail(|| "cannot use the server's URL".into())?;
    let checkout = checkout.to_string_lossy().into_owned();
    let collected = Garbage::everything().checkout(&checkout).collect(&Server::existing(url)).await;
    collected.map(drop).or_fail(|| "cannot drop freshdb's databases".into())
}

/// Connects, executes, and closes the connection.
pub(crate) async fn execute(url: &str, statements: &str) -> Result<(), Failure> {
    match url.split(':').next() {
        Some("sqlite") => on::<SqliteConnection>(url, statements).await,
        Some("postgres" | "postgresql") => on::<PgConnection>(url, statements).await,
        _ => on::<MySqlConnection>(url, statements).await,
    }
}

async fn on<C>(url: &str, statements: &str) -> Result<(), Failure>
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c>,
{
    let run = async {
        let mut connection = C::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await?;
        connection.close().await
    };
    run.await.or_fail(|| {
        // A schema can be longer than anybody wants to read here.
        let first: String = statements.chars().take(200).collect();
        format!("failed: {first}")
    })
}
