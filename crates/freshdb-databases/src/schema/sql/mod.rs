//! Schemas that are SQL.

mod delimiter;
mod directory;
mod script;
mod text;

pub use directory::SqlDirectory;
pub use text::{SqlText, sql};
