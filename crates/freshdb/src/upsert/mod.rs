//! The portable upsert: insert the rows that are missing, update those that are there, and learn which was which, with
//! the same outcome on SQLite, MySQL, MariaDB and PostgreSQL.
//!
//! SeaORM's `OnConflict` is the right tool where it does not matter what became of each row. It renders each engine's own
//! statement, and those differ: MySQL and MariaDB ignore the key that is named and take a conflict with *any* unique key
//! as theirs, count a row that stays as it is like one that was inserted, and return nothing; PostgreSQL refuses a batch
//! that names a row twice. [`Upsert`] is for where that matters.

mod batch;
mod builder;
mod dialect;
mod error;
mod outcome;
mod plan;
mod run;

pub use builder::Upsert;
pub use error::UpsertError;
pub use outcome::{Outcome, RowOutcome, UpsertedRow};
