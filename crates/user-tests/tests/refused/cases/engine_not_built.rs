#[freshdb::test(on = [postgres, mysql])]
async fn a_tag_is_stored(lease: freshdb::test::Lease) {
    drop(lease);
}

fn main() {}
