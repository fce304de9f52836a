//! Throwaway servers: how they start, who gets in, how they end, and what is said when they do not start.

#![cfg(all(feature = "mysql", feature = "mariadb", feature = "postgres", feature = "sqlite"))]

mod cache;
mod doors;
mod end;
mod failures;
mod harness;
