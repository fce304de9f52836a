#[freshdb::test]
async fn a_tag_is_stored<Engine: freshdb::test::FromContext>(engine: Engine) {
    drop(engine);
}
