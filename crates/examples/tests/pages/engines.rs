//! One function, a test on each engine.

use freshdb::OrmEngine;
use freshdb::test::schema::SqlDirectory;
use sea_orm::{ConnectionTrait, DbErr};

#[freshdb::test(schema = SqlDirectory::new("migrations"), on = [sqlite, mysql, mariadb, postgres])]
async fn a_tag_is_unique(engine: OrmEngine) -> Result<(), DbErr> {
    engine.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('Rust')").await?;
    let again = engine.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('Rust')").await;
    assert!(again.is_err());
    Ok(())
}
