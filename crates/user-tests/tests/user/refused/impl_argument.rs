#[freshdb::test]
async fn a_tag_is_stored(engine: impl freshdb::test::FromContext) {
    drop(engine);
}
