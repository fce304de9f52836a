//! The portable upsert.
