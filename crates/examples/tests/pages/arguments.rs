//! Arguments: freshdb's and one's own; rows that every test wants; and tests without the attribute.

use freshdb::OrmEngine;
use freshdb::PgEngine;
use freshdb::SqliteEngine;
use freshdb::test::schema::{self, SqlDirectory};
use freshdb::test::{ArgumentError, Case, Context, FromContext, Guarded, Kind, Lease, Schema};
use sea_orm::ConnectionTrait;
use tokio::sync::oneshot;
use tokio::time::Duration;

/// The service, and what its tests do with it.
struct App {
    engine: OrmEngine,
}

impl FromContext for App {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        let engine: OrmEngine = context.get().await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = tokio::spawn(work(engine.clone(), stopped));
        // Runs when the test has ended, however it has. An error in it fails the test.
        context.on_end("the worker", async move {
            drop(stop);
            worker.await?;
            Ok(())
        });
        Ok(Self { engine })
    }
}

impl App {
    async fn store(&self, tag: &str) -> Result<(), sea_orm::DbErr> {
        self.engine.execute_unprepared(&format!("INSERT INTO tags (tag_id) VALUES ('{tag}')")).await?;
        Ok(())
    }
}

/// What the service does beside its requests.
async fn work(engine: OrmEngine, stopped: oneshot::Receiver<()>) {
    let session = engine.session().await.expect("a session");
    stopped.await.expect_err("nothing is sent");
    drop(session);
}

#[freshdb::test(schema = tags())]
async fn a_tag_is_stored_once(app: App) -> Result<(), sea_orm::DbErr> {
    app.store("Rust").await?;
    assert!(app.store("Rust").await.is_err());
    Ok(())
}

/// The tables, and the rows that every test finds.
fn tags() -> impl Schema {
    SqlDirectory::new("migrations").then(schema::sql("INSERT INTO tags (tag_id) VALUES ('SQL')"))
}

#[freshdb::test(schema = tags())]
async fn what_every_test_finds_is_there(lease: Lease, engine: OrmEngine) -> Result<(), sea_orm::DbErr> {
    println!("{} of {}", lease.name(), lease.kind());
    let rows =
        engine.query_all_raw(sea_orm::Statement::from_string(engine.backend(), "SELECT tag_id FROM tags")).await?;
    assert_eq!(rows.len(), 1);
    Ok(())
}

#[tokio::test]
async fn by_a_guard() -> Result<(), Box<dyn std::error::Error>> {
    let mut database = Guarded::lease(Kind::Postgres, tags()).await?;
    let engine: PgEngine = database.get().await?;
    sqlx::query("INSERT INTO tags (tag_id) VALUES ('Rust')").execute(&engine).await?;

    drop(engine);
    database.end().await?; // or: what was left open
    Ok(())
}

#[freshdb::test(schema = tags(), on = [postgres])]
async fn a_tag_is_archived(engine: PgEngine) -> Result<(), Box<dyn std::error::Error>> {
    let mut archive = Guarded::lease(Kind::Sqlite, tags()).await?;
    let archived: SqliteEngine = archive.get().await?;
    let tags: Vec<String> = sqlx::query_scalar("SELECT tag_id FROM tags").fetch_all(&engine).await?;
    let there: Vec<String> = sqlx::query_scalar("SELECT tag_id FROM tags").fetch_all(&archived).await?;
    assert_eq!(tags, there);

    drop(archived);
    archive.end().await?; // the last: all tasks of the test count as left behind by then
    Ok(())
}

#[test]
fn by_a_call() {
    let case = Case::new("a_tag_is_stored", Kind::Postgres).timeout(Duration::from_secs(10));
    freshdb::test::run(case, tags, async |engine: PgEngine| {
        sqlx::query("INSERT INTO tags (tag_id) VALUES ('Rust')").execute(&engine).await?;
        Ok::<_, sqlx::Error>(())
    });
}
