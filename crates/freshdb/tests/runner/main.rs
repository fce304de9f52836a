//! `#[freshdb::test]`: what tests get, and what is said of those that leave something behind.

use freshdb::test::schema;

fn tags() -> impl freshdb::test::Schema {
    schema::sql("CREATE TABLE tags (tag_id VARCHAR(50) PRIMARY KEY, description VARCHAR(50));")
}

#[freshdb::test(schema = tags())]
async fn smoke(engine: freshdb::OrmEngine, lease: freshdb::test::Lease) {
    use sea_orm::ConnectionTrait;
    engine.execute_unprepared("INSERT INTO tags VALUES ('a', 'b')").await.expect("it");
    eprintln!("{}", lease.url());
}

#[freshdb::test(schema = tags())]
async fn leaks(engine: freshdb::OrmEngine) {
    let session = engine.session().await.expect("a session");
    std::mem::forget(session);
}
