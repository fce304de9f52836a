//! `#[freshdb::test]`: what tests get, and what is said of those that leave something behind.
//!
//! `culprits.rs` has the tests that fail. They are ignored, and run in a process of their own by `reports.rs`, which holds what the
//! harness then prints to a snapshot.

/// One test for each of these engines, out of a function that is given which.
macro_rules! on {
    ($function:ident: $($engine:ident $kind:ident),+) => {$(
        #[test]
        fn $engine() {
            $function(freshdb::test::Kind::$kind);
        }
    )+};
    ($function:ident on every server) => {
        on!($function: mysql Mysql, mariadb Mariadb, postgres Postgres);
    };
    ($function:ident on every engine) => {
        on!($function: sqlite Sqlite, mysql Mysql, mariadb Mariadb, postgres Postgres);
    };
}

mod boundaries;
mod child;
mod culprits;
mod isolation;
mod limits;
mod panics;
mod reports;
mod reuse;
mod troubles;

use freshdb::test::{Schema, schema};

/// The schema of these tests.
fn tags() -> impl Schema {
    schema::sql("CREATE TABLE tags (tag_id VARCHAR(50) PRIMARY KEY, description VARCHAR(50));")
}
