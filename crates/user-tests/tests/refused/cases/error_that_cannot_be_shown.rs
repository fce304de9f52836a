struct Broken;

#[freshdb::test]
async fn a_tag_is_stored(engine: freshdb::PgEngine) -> Result<(), Broken> {
    drop(engine);
    Err(Broken)
}

fn main() {}
