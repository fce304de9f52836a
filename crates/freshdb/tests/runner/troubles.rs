//! The troubles in which all this began.

use std::sync::LazyLock;

use freshdb::{OrmEngine, SqliteEngine};
use insta::assert_snapshot;
use sea_orm::ConnectionTrait as _;

use super::{child, tags};

/// An engine that a module has for itself, as web services do: the first test connects it, and the second finds it connected on a
/// runtime that is gone.
mod module_global_engine {
    use super::{LazyLock, SqliteEngine};

    const URL: &str = "sqlite::memory:";
    static ENGINE: LazyLock<SqliteEngine> = LazyLock::new(|| SqliteEngine::lazy(URL).expect("an engine"));

    async fn uses_it() {
        sqlx::query("CREATE TABLE IF NOT EXISTS tags (tag_id TEXT)").execute(&*ENGINE).await.expect("a table");
        sqlx::query("INSERT INTO tags VALUES ('Rust')").execute(&*ENGINE).await.expect("a row");
    }

    #[freshdb::test(on = [sqlite])]
    async fn the_first() {
        uses_it().await;
    }

    #[freshdb::test(on = [sqlite])]
    async fn the_second() {
        uses_it().await;
    }

    #[tokio::test]
    async fn one_of_tokios() {
        uses_it().await;
    }
}

/// Reaches for the database that the environment names, whatever the test has.
#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags())]
async fn reaches_for_the_development_database() {
    let url = std::env::var("DATABASE_URL").expect("the developer's shell has it");
    let engine = OrmEngine::lazy(&url).expect("an engine");
    // Whoever writes this does not look at what went wrong.
    drop(engine.execute_unprepared("DELETE FROM tags").await);
}

/// The same by intent.
#[ignore = "run by the test of what is allowed"]
#[freshdb::test(schema = tags(), allow = [std::env::var("DATABASE_URL").expect("the developer's shell has it")])]
async fn is_allowed_the_development_database() {
    let url = std::env::var("DATABASE_URL").expect("the developer's shell has it");
    let engine = OrmEngine::lazy(&url).expect("an engine");
    engine.execute_unprepared("CREATE TABLE IF NOT EXISTS tags (tag_id TEXT)").await.expect("a table");
}

mod the_development_database_is_out_of_reach {
    use super::{assert_snapshot, child};

    fn is_refused(engine: &str) {
        let test = format!("troubles::reaches_for_the_development_database::{engine}");
        let printed = child::run(&test, &[("DATABASE_URL", "postgres://me:secret@localhost:5432/tags_dev")]);
        assert!(!printed.passed, "{}", printed.text);
        insta::with_settings!({ snapshot_suffix => engine, prepend_module_to_snapshot => false, omit_expression => true }, {
            assert_snapshot!("development_database", printed.text);
        });
    }

    #[test]
    fn sqlite() {
        is_refused("sqlite");
    }

    #[test]
    fn mysql() {
        is_refused("mysql");
    }

    #[test]
    fn mariadb() {
        is_refused("mariadb");
    }

    #[test]
    fn postgres() {
        is_refused("postgres");
    }

    #[test]
    fn unless_it_is_allowed() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}?mode=rwc", directory.path().join("dev.db").display());
        let printed = child::run("troubles::is_allowed_the_development_database::sqlite", &[("DATABASE_URL", &url)]);
        assert!(printed.passed, "{}", printed.text);
    }
}
