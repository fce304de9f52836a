//! How a test of sessions runs: the same body, once for each driver.

use std::time::Duration;

use freshdb::EngineOptions;

/// Makes a test of each engine out of one function. Its second argument makes an engine of a URL and options: on SQLite, on
/// MySQL or MariaDB, or on PostgreSQL, which are three types, and so the body is compiled for each of them.
macro_rules! with_every_driver {
    (
        $([$($engine:ident),*])?
        $(#[$meta:meta])*
        async fn $name:ident($database:ident: &TestDatabase, $open:ident: Open) $body:block
    ) => {
        on_every_engine! {
            $([$($engine),*])?
            $(#[$meta])*
            async fn $name(database: &TestDatabase) {
                #[allow(unused_imports, clippy::allow_attributes)]
                use test_support::Engine as Kind;
                let $database = database;
                match $database.engine {
                    Kind::Sqlite => {
                        let $open = |url: &str, options: freshdb::EngineOptions| {
                            options.lazy::<sqlx::Sqlite>(url).expect("an engine")
                        };
                        $body
                    }
                    Kind::Mysql | Kind::Mariadb => {
                        let $open = |url: &str, options: freshdb::EngineOptions| {
                            options.lazy::<sqlx::MySql>(url).expect("an engine")
                        };
                        $body
                    }
                    Kind::Postgres => {
                        let $open = |url: &str, options: freshdb::EngineOptions| {
                            options.lazy::<sqlx::Postgres>(url).expect("an engine")
                        };
                        $body
                    }
                }
            }
        }
    };
}

/// Settings with which a test waits as long as it takes: on a busy machine, unoptimised, a dozen new connections to a
/// server take their seconds.
pub fn patient() -> EngineOptions {
    EngineOptions::new().acquire_timeout(test_support::DEADLINE / 2)
}

/// How long a test gives an engine to close.
pub const CLOSE: Duration = Duration::from_secs(20);
