use freshdb::PgEngine;

struct App {
    engine: PgEngine,
}

#[freshdb::test]
async fn a_tag_is_stored(first: PgEngine, app: App) {
    drop((first, app.engine));
}

fn main() {}
