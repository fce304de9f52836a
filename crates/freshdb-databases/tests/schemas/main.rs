//! Schemas of every make, applied on every engine: what they leave in the database, and what they say when they cannot.

#[macro_use(on_every_engine)]
extern crate test_support;

#[cfg(unix)]
mod command;
mod diesel;
mod harness;
mod sea_orm_entities;
mod sea_orm_migrations;
mod sql;
mod sqlx_migrations;
