#[freshdb::test(on = [postgres], leaks = warn)]
async fn a_tag_is_stored(engine: freshdb::OrmEngine) {
    drop(engine);
}
