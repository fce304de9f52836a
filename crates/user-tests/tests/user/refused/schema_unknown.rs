#[freshdb::test(schema = tags())]
async fn a_tag_is_stored(engine: freshdb::OrmEngine) {
    drop(engine);
}
