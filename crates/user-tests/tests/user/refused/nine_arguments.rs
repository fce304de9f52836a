use freshdb::test::Lease;

#[freshdb::test]
async fn a_tag_is_stored(
    _1: Lease,
    _2: Lease,
    _3: Lease,
    _4: Lease,
    _5: Lease,
    _6: Lease,
    _7: Lease,
    _8: Lease,
    _9: Lease,
) {
}
