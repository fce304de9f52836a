//! A fresh session for every request.

#[cfg(feature = "sea-orm")]
pub mod upsert;
