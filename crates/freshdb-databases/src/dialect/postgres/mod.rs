//! How PostgreSQL does it.
