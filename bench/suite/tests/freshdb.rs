//! freshdb: `#[freshdb::test]`, or rather what that expands to, for the engine is known only when the program runs.

#![allow(missing_docs, reason = "tests")]

use freshdb::test::schema::SqlDirectory;
use freshdb::test::{Case, Kind, run};
use freshdb_bench_suite::config::config;
use freshdb_bench_suite::{body, two_hundred};

macro_rules! test {
    ($name:ident) => {
        #[test]
        fn $name() {
            super::test(stringify!($name));
        }
    };
}

macro_rules! tests_with {
    ($driver:ident, $engine:ty) => {
        mod $driver {
            fn test(name: &str) {
                super::run(super::case(name), super::schema, async |engine: $engine| {
                    let mut session = engine.session().await.expect("a session");
                    super::body!(sqlx, &mut session);
                });
            }

            super::two_hundred!(test);
        }
    };
}

tests_with!(sqlite, freshdb::SqliteEngine);
tests_with!(mysql, freshdb::MySqlEngine);
tests_with!(postgres, freshdb::PgEngine);

fn case(name: &str) -> Case {
    let engine = &config().engine;
    Case::new(name, Kind::ALL.into_iter().find(|kind| kind.name() == engine).expect("an engine"))
}

fn schema() -> SqlDirectory {
    SqlDirectory::new(&config().schema)
}
