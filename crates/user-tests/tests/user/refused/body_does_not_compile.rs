#[freshdb::test]
async fn a_tag_is_stored(engine: freshdb::OrmEngine) -> Result<(), freshdb::Error> {
    let session = engine.session().await?;
    session.insert_the_tag();
}
