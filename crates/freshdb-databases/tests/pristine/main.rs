//! Whatever a test does to its database, the next one finds it as the template is: the dump that the engine's own tool makes of
//! it is the same, byte for byte. One program of fifteen ends with the process that has the lease, which is killed.
//!
//! `FRESHDB_CASES` says how many programs are tried on each engine; 300 by default. A program that fails is shrunk, and printed as it
//! belongs into `regressions/<engine>.txt`, where it is tried first in every run.

mod bench;
mod dirt;
mod dump;
mod owner;
mod program;
mod property;
mod script;
mod session;

/// `whatever_was_done_is_undone::<engine>`.
mod whatever_was_done_is_undone {
    use test_support::Engine;

    macro_rules! on {
        ($($name:ident: $engine:ident),*) => {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::property::hold(Engine::$engine).await;
                }
            )*
        };
    }

    on!(sqlite: Sqlite, mysql: Mysql, mariadb: Mariadb, postgres: Postgres);
}
