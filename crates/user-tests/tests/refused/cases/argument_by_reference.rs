#[freshdb::test]
async fn a_tag_is_stored(engine: &freshdb::PgEngine) {
    let _ = engine;
}

fn main() {}
