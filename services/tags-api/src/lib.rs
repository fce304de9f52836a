//! Tags over HTTP: `POST /api/tags` stores tags, `GET /api/tag` lists them, in SQLite, MySQL, MariaDB or PostgreSQL.
//!
//! ```
//! use tags_api::database::{Database, DatabaseUrl, Options};
//! use tags_api::tags::{NewTag, TagId, store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let url = DatabaseUrl::parse("sqlite::memory:")?;
//! let database = Database::open(url, &Options::default()).await?;
//! database.migrate().await?;
//!
//! store::upsert(database.begin().await?, &[NewTag::new(TagId::parse("Python")?)]).await?;
//! let tags = store::list(database.session().await?, &store::Listing::default()).await?;
//! assert_eq!(tags[0].tag_id, "Python");
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod database;
pub mod http;
mod logging;
pub mod migration;
pub mod server;
pub mod tags;
