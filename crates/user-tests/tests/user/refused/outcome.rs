#[freshdb::test]
async fn a_tag_is_counted(engine: freshdb::OrmEngine) -> usize {
    drop(engine);
    1
}

#[freshdb::test]
async fn a_tag_is_found(engine: freshdb::OrmEngine) -> Option<()> {
    drop(engine);
    None
}
