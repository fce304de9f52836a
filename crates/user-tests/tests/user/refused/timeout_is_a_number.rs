#[freshdb::test(timeout = 5, grace = 1)]
async fn a_tag_is_stored(engine: freshdb::OrmEngine) {
    drop(engine);
}
