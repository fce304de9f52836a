#[freshdb::test]
async fn a_tag_is_counted(engine: freshdb::PgEngine) -> usize {
    drop(engine);
    1
}

#[freshdb::test]
async fn a_tag_is_found(engine: freshdb::PgEngine) -> Option<()> {
    drop(engine);
    None
}

fn main() {}
