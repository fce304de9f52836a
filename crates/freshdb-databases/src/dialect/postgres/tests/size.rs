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

/// Values that are stored apart from their rows do not make those any longer.
#[tokio::test]
async fn it_does_so_where_values_are_long() {
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, x bytea); ALTER TABLE t ALTER x SET STORAGE EXTERNAL";
    let mut fixture = Fixture::new("toast", schema).await;
    for _ in 0..12 {
        let user = fixture.run("INSERT INTO t (x) SELECT decode(repeat('00', 1000000), 'hex')").await;
        user.close().await.expect("it closes");
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
    }
    let mut user = fixture.user().await;
    let size = value(&mut user, "SELECT pg_table_size('public.t')").await.expect("the server answers").expect("a size");
    assert!(size.parse::<u64>().expect("a number") < 3 << 20, "{size}");
    drop(user);
    fixture.drop().await;
}

/// To write them back would take longer than a new copy.
#[tokio::test]
async fn long_values_are_not_kept_at_hand() {
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, x bytea); ALTER TABLE t ALTER x SET STORAGE EXTERNAL;
        INSERT INTO t (x) SELECT decode(repeat('00', 100000), 'hex') FROM generate_series(1, 20)";
    let mut fixture = Fixture::new("long", schema).await;
    assert!(
        fixture
            .template
            .relations
            .iter()
            .all(|relation| relation.seed.as_ref().is_some_and(|seed| seed.rows.is_none()))
    );
    fixture.run("UPDATE t SET id = 100 WHERE id = 1").await.close().await.expect("it closes");
    let Outcome::Changed(reason) = fixture.reset().await.outcome else { panic!("it cannot be put back") };
    assert_eq!(reason, "rows of public.t were changed, which are too many to be kept at hand");
    fixture.drop().await;
}

/// On many of its pages is room for a short row.
#[tokio::test]
async fn what_a_test_adds_between_rows_that_are_not_kept_at_hand_is_taken_out() {
    let schema = "CREATE TABLE t (id serial PRIMARY KEY, x text);
        INSERT INTO t (x) SELECT repeat('x', 100 + i % 900) FROM generate_series(1, 3000) i;
        CREATE TABLE log (id int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO log VALUES (old.id); RETURN old; END';
        CREATE TRIGGER noted BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION note()";
    let mut fixture = Fixture::new("between", schema).await;
    let seed = fixture.template.relations[0].seed.as_ref().expect("it has rows");
    assert!(seed.rows.is_none());
    let mut inside = fixture.run("INSERT INTO t (x) VALUES ('short')").await;
    let sql = format!("SELECT ctid < '{}' FROM t WHERE x = 'short'", seed.mark.last);
    assert_eq!(value(&mut inside, &sql).await.expect("the server answers").as_deref(), Some("t"), "it comes last");
    inside.close().await.expect("it closes");
    assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 1 });
    assert_eq!(fixture.dump(), fixture.pristine);

    let own = "INSERT INTO t (x) SELECT 'own' FROM generate_series(1, 20); UPDATE t SET x = 'mine' WHERE x = 'own';
        DELETE FROM t WHERE x = 'mine' AND id % 2 = 0";
    for _ in 0..5 {
        for dirt in [own, "BEGIN; DELETE FROM t; ROLLBACK"] {
            fixture.run(dirt).await.close().await.expect("it closes");
        }
        assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 2 });
        assert_eq!(fixture.dump(), fixture.pristine);
    }
    // As another process finds it: some rows of the template are gone, and others have come between them.
    for dirt in ["DELETE FROM t WHERE id = 5", "UPDATE t SET x = 'y' WHERE id = 6"] {
        fixture.run(own).await.close().await.expect("it closes");
        fixture.left_behind().await;
        assert!(matches!(fixture.reset().await.outcome, Outcome::Pristine { .. }));
        assert_eq!(fixture.dump(), fixture.pristine);
        fixture.run(&format!("INSERT INTO t (x) VALUES ('short'); {dirt}")).await.close().await.expect("it closes");
        let Outcome::Changed(reason) = fixture.reset().await.outcome else { panic!("{dirt}: it cannot be put back") };
        assert_eq!(reason, "rows of public.t were changed, which are too many to be kept at hand");
        fixture.anew().await;
    }
    fixture.drop().await;
}

#[tokio::test]
async fn a_table_of_as_many_columns_as_the_server_takes_is_put_back() {
    let columns = (0..1600).map(|number| format!("c{number} int")).collect::<Vec<_>>().join(", ");
    let schema = format!("CREATE TABLE t ({columns}); INSERT INTO t (c0, c1599) VALUES (1, 2), (3, NULL)");
    let mut fixture = Fixture::new("columns", &schema).await;
    fixture.run("UPDATE t SET c0 = 5").await.close().await.expect("it closes");
    assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 1 });
    assert_eq!(fixture.dump(), fixture.pristine);
    fixture.drop().await;
}
