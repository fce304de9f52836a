use freshdb::OrmEngine;

struct App {
    engine: OrmEngine,
}

#[freshdb::test]
async fn a_tag_is_stored(first: OrmEngine, app: App) {
    drop((first, app.engine));
}
