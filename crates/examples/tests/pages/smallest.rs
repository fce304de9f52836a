//! The smallest test.

use freshdb::PgEngine;
use freshdb::test::schema::SqlDirectory;

#[freshdb::test(schema = SqlDirectory::new("migrations"), on = [postgres])]
async fn a_tag_is_stored(engine: PgEngine) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO tags (tag_id) VALUES ('Rust')").execute(&engine).await?;
    let tags: Vec<String> = sqlx::query_scalar("SELECT tag_id FROM tags").fetch_all(&engine).await?;
    assert_eq!(tags, ["Rust"]);
    Ok(())
}
