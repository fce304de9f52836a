#[freshdb::test(on = [postgres], on = [postgres])]
async fn a_tag_is_stored(engine: freshdb::OrmEngine) {
    drop(engine);
}
