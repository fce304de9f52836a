//! What every test sends.

use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::config;

/// A row for each of the tables that a test touches, and the question how many rows those have.
#[derive(Debug)]
pub struct Statements {
    /// One for each touched table, with the row's name to bind.
    pub inserts: Vec<&'static str>,
    /// A column for each touched table.
    pub count: &'static str,
}

/// Of a schema of 30 tables a test touches 3; of one of 1, that one.
const TOUCHED: usize = 3;

/// What every test of this run sends.
pub fn statements() -> &'static Statements {
    static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| {
        let config = config();
        let touched = config.tables.saturating_sub(TOUCHED)..config.tables;
        let name = if config.engine == "postgres" { "$1" } else { "?" };
        let counts: Vec<String> = touched.clone().map(|table| format!("(SELECT count(*) FROM t{table})")).collect();
        Statements {
            inserts: touched.map(|table| lasting(format!("INSERT INTO t{table} (name) VALUES ({name})"))).collect(),
            count: lasting(format!("SELECT {}", counts.join(", "))),
        }
    });
    &STATEMENTS
}

/// Both versions of sqlx take a statement that lasts as long as the program.
fn lasting(statement: String) -> &'static str {
    statement.leak()
}

/// Another one for each test. Tests that share a database, as those of `rollback` do, would wait for each other if they
/// inserted the same value into a unique key.
pub fn unique_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}
