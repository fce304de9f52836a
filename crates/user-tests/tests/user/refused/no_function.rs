#[freshdb::test]
struct ATagIsStored;
