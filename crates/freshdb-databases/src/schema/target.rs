//! Where a schema goes.

use crate::{DatabaseUrl, Kind};

/// The empty database that a schema is applied to.
#[derive(Clone, Debug)]
pub struct Target {
    url: DatabaseUrl,
}

impl Target {
    /// The database of this URL, which must be there already: for tests of a schema of one's own.
    ///
    /// # Examples
    ///
    /// ```
    /// use freshdb_databases::schema::{self, Schema, Target};
    /// use freshdb_databases::{DatabaseUrl, Kind};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let directory = tempfile::tempdir()?;
    /// let file = directory.path().join("test.db");
    /// std::fs::File::create(&file)?;
    /// let target = Target::new(DatabaseUrl::file(file));
    ///
    /// schema::sql("CREATE TABLE tags (name TEXT NOT NULL)").apply(&target).await?;
    /// assert_eq!(target.kind(), Kind::Sqlite);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(url: DatabaseUrl) -> Self {
        Self { url }
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        self.url.kind()
    }

    /// Where the database is. Its file exists already.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }
}
