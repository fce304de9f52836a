#[freshdb::test]
#[tokio::test]
async fn tokio_below(engine: freshdb::OrmEngine) {
    drop(engine);
}

#[tokio::test]
#[freshdb::test]
async fn tokio_above() {}

#[test]
#[freshdb::test]
async fn the_harness_above() {}

#[freshdb::test]
#[test]
async fn the_harness_below() {}

#[freshdb::test]
#[rstest::rstest]
#[case("Rust")]
async fn rstest_below(#[case] tag: &str) {
    drop(tag);
}
