//! SQL in the program itself.

use super::script::Script;
use crate::Kind;
use crate::schema::{BoxFuture, Fingerprint, Schema, SchemaError, Target};

/// One SQL statement or several, in a string. Made by [`sql`].
#[derive(Clone, Debug)]
pub struct SqlText {
    /// As messages name it.
    name: String,
    text: String,
    others: Vec<(Kind, String)>,
}

/// One SQL statement, or several with a semicolon between them, in a string.
///
/// They are run as a [`SqlDirectory`](super::SqlDirectory) runs those of a file.
///
/// # Examples
///
/// ```
/// use freshdb_databases::Kind;
/// use freshdb_databases::schema::{self, Schema, Target};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let schema = schema::sql("CREATE TABLE tags (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL)")
///     .on(Kind::Postgres, "CREATE TABLE tags (id BIGSERIAL PRIMARY KEY, name VARCHAR(100) NOT NULL)")
///     .on(Kind::Sqlite, "CREATE TABLE tags (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)")
///     .then(schema::sql("INSERT INTO tags (name) VALUES ('red'); INSERT INTO tags (name) VALUES ('blue')"));
/// # let directory = tempfile::tempdir()?;
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// schema.apply(&target).await?;
/// # Ok(())
/// # }
/// ```
pub fn sql(text: impl Into<String>) -> SqlText {
    SqlText { name: "the SQL text".to_owned(), text: text.into(), others: Vec::new() }
}

impl SqlText {
    /// What messages call it instead of `the SQL text`, such as the file that it was read from. It makes no difference to the fingerprint.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Another text for one engine. MariaDB takes MySQL's where it has none of its own.
    #[must_use]
    pub fn on(mut self, kind: Kind, text: impl Into<String>) -> Self {
        self.others.retain(|(other, _)| *other != kind);
        self.others.push((kind, text.into()));
        self
    }

    fn text_on(&self, kind: Kind) -> &str {
        let of = |kind| self.others.iter().find(|(other, _)| *other == kind).map(|(_, text)| text.as_str());
        let other = of(kind).or_else(|| if kind == Kind::Mariadb { of(Kind::Mysql) } else { None });
        other.unwrap_or(&self.text)
    }
}

impl Schema for SqlText {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        fingerprint.add("sql", "text");
        for kind in Kind::ALL {
            fingerprint.add(kind.name(), self.text_on(kind));
        }
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            let script = Script { name: self.name.clone(), text: self.text_on(target.kind()) };
            Ok(script.run(target).await?)
        })
    }
}
