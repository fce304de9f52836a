//! What the contenders need on an engine, for a schema of one size; and what is gone after them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};
use url::Url;

use super::case::Contender;
use crate::databases::{Databases, collect, execute};
use crate::engine::{Engine, Place};
use crate::failure::{Failure, OrFail, both};
use crate::tables::tables;

pub(super) struct House<'a> {
    pub(super) engine: Engine,
    pub(super) tables: usize,
    /// Where the tests are run, and their files are. freshdb takes it for the checkout, for it has a `Cargo.lock`.
    pub(super) directory: PathBuf,
    /// The schema as one migration.
    pub(super) schema: PathBuf,
    pub(super) place: &'a Place,
    databases: Databases<'a>,
    /// In which `sqlx::test` keeps its books.
    books: Option<Url>,
    /// In which `rollback` does all its work.
    floor: Option<Url>,
    /// Databases by the contenders' names that were there before we came.
    not_ours: BTreeSet<String>,
}

impl<'a> House<'a> {
    /// Nothing yet. `directory` is the run's.
    pub(super) fn new(engine: Engine, place: &'a Place, directory: &'a Path, tables: usize) -> Result<Self, Failure> {
        let schema = directory.join(format!("schema-{engine}-{tables}"));
        std::fs::create_dir_all(&schema).or_fail(|| format!("cannot create `{}`", schema.display()))?;
        let databases = Databases::new(place, directory);
        let directory = directory.to_owned();
        let (books, floor, not_ours) = (None, None, BTreeSet::new());
        Ok(Self { engine, tables, directory, schema, place, databases, books, floor, not_ours })
    }

    /// Makes the databases that are there for all tests, and the schema.
    ///
    /// # Cancellation
    ///
    /// Safe: [`Self::close`] drops what came to be.
    pub(super) async fn furnish(&mut self) -> Result<(), Failure> {
        let text = tables(self.engine, self.tables, 0);
        let file = self.schema.join("1_schema.sql");
        std::fs::write(&file, format!("{text};\n")).or_fail(|| format!("cannot write `{}`", file.display()))?;
        self.not_ours = left_behind(self.place).await?;
        if let Place::Files = self.place {
            let floor = self.directory.join("rollback.db");
            if floor.exists() {
                std::fs::remove_file(&floor).or_fail(|| format!("cannot remove `{}`", floor.display()))?;
            }
            return execute(&format!("sqlite://{}?mode=rwc", floor.display()), &text).await;
        }
        let floor = self.databases.create(&format!("floor_{}", self.tables)).await?;
        execute(floor.as_str(), &text).await?;
        self.floor = Some(floor);
        self.books = Some(self.databases.create(&format!("books_{}", self.tables)).await?);
        Ok(())
    }

    /// What the contender's tests connect to.
    pub(super) fn url(&self, contender: Contender) -> Option<&Url> {
        match contender {
            Contender::SqlxTest => self.books.as_ref(),
            Contender::Rollback => self.floor.as_ref(),
            Contender::Freshdb | Contender::FreshdbRun => None,
            Contender::DbPool | Contender::CreateAndDrop => self.place.server(),
        }
    }

    /// Drops what a contender has left behind, so that the next one finds the server as this one did. Only db-pool leaves
    /// anything when nothing goes wrong.
    pub(super) async fn tidy(&self, contender: Contender) -> Result<(), Failure> {
        if contender == Contender::DbPool { self.sweep().await } else { Ok(()) }
    }

    async fn sweep(&self) -> Result<(), Failure> {
        for name in left_behind(self.place).await?.difference(&self.not_ours) {
            match self.place {
                Place::Files => {}
                Place::MySql(server) => {
                    execute(server.as_str(), &format!("DROP DATABASE IF EXISTS `{name}`")).await?;
                    // MySQL takes no user of so long a name, not even to say that there is none.
                    if self.engine == Engine::Mariadb {
                        let host = server.host_str().unwrap_or("localhost");
                        execute(server.as_str(), &format!("DROP USER IF EXISTS `{name}`@`{host}`")).await?;
                    }
                }
                Place::Postgres(server) => {
                    // PostgreSQL drops no database among other statements.
                    execute(server.as_str(), &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await?;
                    execute(server.as_str(), &format!("DROP ROLE IF EXISTS \"{name}\"")).await?;
                }
            }
        }
        Ok(())
    }

    /// Drops everything, freshdb's databases too.
    pub(super) async fn close(self) -> Result<(), Failure> {
        // A run that was broken off, or a test that failed, leaves databases of the others too.
        let left = self.sweep().await;
        let collected = collect(self.place, &self.directory).await;
        both(both(left, collected), self.databases.close().await)
    }
}

/// The databases on a server whose names are those that db-pool, `#[sqlx::test]` and `create-and-drop` give theirs.
async fn left_behind(place: &Place) -> Result<BTreeSet<String>, Failure> {
    const PATTERN: &str = "^(db_pool_|_sqlx_test_|bench_created_)";
    let names = async {
        Ok::<_, sqlx::Error>(match place {
            Place::Files => BTreeSet::new(),
            Place::MySql(url) => {
                // MySQL's catalog has names as bytes, which sqlx takes for no text.
                let query =
                    "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata WHERE schema_name REGEXP ?";
                let mut connection = MySqlConnection::connect(url.as_str()).await?;
                let rows = sqlx::query(query).bind(PATTERN).fetch_all(&mut connection).await?;
                connection.close().await?;
                rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
            }
            Place::Postgres(url) => {
                let query = "SELECT datname::text FROM pg_database WHERE datname::text ~ $1";
                let mut connection = PgConnection::connect(url.as_str()).await?;
                let rows = sqlx::query(query).bind(PATTERN).fetch_all(&mut connection).await?;
                connection.close().await?;
                rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
            }
        })
    };
    names.await.or_fail(|| "cannot tell what the contenders have left behind".into())
}
