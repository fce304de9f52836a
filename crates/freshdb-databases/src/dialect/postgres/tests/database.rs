//! What is said of a slot as a database: its settings, its comment, and which one of its name it is.

use super::super::connection::identifier;
use super::*;

/// Who is connected to another database is not ended, and the server may not have counted yet what he did.
#[tokio::test]
async fn what_is_said_of_it_from_another_database_is_seen_at_once() {
    let mut fixture = Fixture::new("said", "CREATE TABLE t (x int)").await;
    for said in ["SET work_mem = '1MB'", "CONNECTION LIMIT 7", "SET work_mem = '2MB'"] {
        assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 0 });
        let alter = format!("ALTER DATABASE {} {said}", identifier(&fixture.slot.name));
        execute(&mut fixture.admin, &alter).await.expect("it can be altered");
        let outcome = fixture.reset().await.outcome;
        assert!(matches!(&outcome, Outcome::Changed(what) if what == "the database itself was altered"), "{outcome:?}");
        fixture.anew().await;
    }
    fixture.drop().await;
}

/// Nothing that the probe names is missing in it, and the server has counted no write to either.
#[tokio::test]
async fn another_database_of_the_same_name_is_not_taken_for_it() {
    let mut fixture = Fixture::new("again", "CREATE TABLE seeded (x text); INSERT INTO seeded VALUES ('a')").await;
    for sql in ["DROP DATABASE {} WITH (FORCE)", "CREATE DATABASE {}"] {
        execute(&mut fixture.admin, &sql.replace("{}", &fixture.slot.name)).await.expect("the server does so");
    }
    let outcome = fixture.reset().await.outcome;
    assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
    fixture.drop().await;
}

#[tokio::test]
async fn settings_of_the_database_are_copied() {
    let schema = r#"CREATE TABLE t (id int);
        DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = "odd, ""name''", public', current_database()); 
            EXECUTE format('ALTER DATABASE %I SET my.own = ''it''''s \ so''', current_database());
            EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
            EXECUTE format('ALTER DATABASE %I SET statement_timeout = 60000', current_database());
            EXECUTE format('ALTER DATABASE %I SET DateStyle = ''sql, dmy''', current_database());
            EXECUTE format('ALTER ROLE ROLE IN DATABASE %I SET role = pg_read_all_stats', current_database());
            EXECUTE format('ALTER ROLE ROLE IN DATABASE %I SET my.other = ''''', current_database());
            EXECUTE format('COMMENT ON DATABASE %I IS ''it''''s \ so''', current_database()); END $$"#;
    let mut admin = admin().await;
    let role = free_name("role");
    execute(&mut admin, &format!("CREATE ROLE {role}")).await.expect("a role");
    let mut fixture = Fixture::new("settings", &schema.replace("ALTER ROLE ROLE", &format!("ALTER ROLE {role}"))).await;
    let sql = format!("SELECT {}", crate::dialect::postgres::probe::DATABASE);
    let mut inside = fixture.user().await;
    let copied = value(&mut inside, &sql).await.expect("the server answers").expect("a value");
    assert_eq!(copied, fixture.template.database);
    for setting in [
        "odd",
        "my.own",
        "default_transaction_read_only=on",
        "statement_timeout=60000",
        "role=pg_read_all_stats",
        "my.other=",
    ] {
        assert!(copied.contains(setting), "{copied}");
    }
    inside.close().await.expect("it closes");
    assert_eq!(fixture.reset().await.outcome, Outcome::Pristine { touched: 0 });
    fixture.drop().await;
    execute(&mut admin, &format!("DROP ROLE {role}")).await.expect("the role can be dropped");
}
