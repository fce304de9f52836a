#[freshdb::test]
struct ATagIsStored;

fn main() {}
