fn tags() -> impl freshdb::test::Schema {
    freshdb::test::schema::sql("CREATE TABLE tags (tag_id TEXT PRIMARY KEY)")
}

#[freshdb::test(schema = tags)]
async fn a_tag_is_stored(engine: freshdb::OrmEngine) {
    drop(engine);
}
