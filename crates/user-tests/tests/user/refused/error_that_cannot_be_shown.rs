struct Broken;

#[freshdb::test]
async fn a_tag_is_stored(engine: freshdb::OrmEngine) -> Result<(), Broken> {
    drop(engine);
    Err(Broken)
}
