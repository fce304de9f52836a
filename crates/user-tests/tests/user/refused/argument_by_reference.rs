#[freshdb::test]
async fn a_tag_is_stored(engine: &freshdb::OrmEngine) {
    let _ = engine;
}
