//! How large a slot becomes.

use super::*;

#[tokio::test]
async fn a_slot_stays_small_however_often_it_is_used() {
    let mut fixture = Fixture::new("bloat", "CREATE TABLE t (id serial PRIMARY KEY, x text)").await;
    let mut user = fixture.user().await;
    for _ in 0..40 {
        // As a test's session it would be ended: it is told apart by its name here, so that the loop is fast.
        execute(&mut user, "INSERT INTO t (x) SELECT repeat('x', 100) FROM generate_series(1, 300)")
            .await
            .expect("rows");
        user.close().await.expect("it closes");
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
        user = fixture.user().await;
    }
    let size =
        value(&mut user, "SELECT pg_relation_size('public.t')").await.expect("the server answers").expect("a size");
    assert!(size.parse::<u64>().expect("a number") < 300 << 10, "{size}");
    fixture.drop().await;
}
