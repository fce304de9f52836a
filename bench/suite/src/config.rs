//! What `freshdb-bench` tells the suite, by the environment.

use std::env;
use std::path::PathBuf;
use std::sync::LazyLock;

/// What the suite is run on.
#[derive(Clone, Debug)]
pub struct Config {
    /// `FRESHDB_BENCH_ENGINE`: `sqlite`, `mysql`, `mariadb` or `postgres`.
    pub engine: String,
    /// `FRESHDB_BENCH_TABLES`: how many tables the schema has.
    pub tables: usize,
    /// `FRESHDB_BENCH_SCHEMA`: a directory with the schema, as one migration.
    pub schema: PathBuf,
    /// `FRESHDB_BENCH_DIRECTORY`: where files of SQLite may be made.
    pub directory: PathBuf,
    /// `DATABASE_URL`: the server, or the database that the contender shares out. SQLite has none.
    pub database_url: Option<String>,
}

impl Config {
    /// The schema, as statements that are separated by semicolons.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn schema_text(&self) -> String {
        std::fs::read_to_string(self.schema.join("1_schema.sql")).expect("the schema can be read")
    }

    /// The URL of the server, or of the database that the contender shares out.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn url(&self) -> &str {
        self.database_url.as_deref().expect("DATABASE_URL is set: run the suite by `freshdb-bench isolation`")
    }
}

/// What the environment says.
///
/// # Panics
///
/// If it does not say all of it.
pub fn config() -> &'static Config {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| {
        let set = |name: &str| {
            env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the suite by `freshdb-bench isolation`"))
        };
        Config {
            engine: set("FRESHDB_BENCH_ENGINE"),
            tables: set("FRESHDB_BENCH_TABLES").parse().expect("FRESHDB_BENCH_TABLES is a number"),
            schema: set("FRESHDB_BENCH_SCHEMA").into(),
            directory: set("FRESHDB_BENCH_DIRECTORY").into(),
            database_url: env::var("DATABASE_URL").ok(),
        }
    });
    &CONFIG
}
