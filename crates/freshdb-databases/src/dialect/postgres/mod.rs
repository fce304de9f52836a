//! How PostgreSQL does it.
//!
//! `server.rs` administers, `databases.rs` makes, copies and drops, `template.rs` reads what a copy must equal, `slot.rs`
//! holds what its resets need, and `unlogged.rs` knows what a crash takes away from both. `reset.rs` is the story of a reset:
//! `clear.rs` ends what goes on, `probe.rs` sees what was touched, `catalog.rs` whether the schema is still the same, and
//! `undo.rs` puts rows back.

mod catalog;
mod clear;
mod connection;
mod contents;
mod databases;
mod fault;
mod probe;
mod reset;
mod server;
mod slot;
mod template;
#[cfg(test)]
mod tests;
mod undo;
mod unlogged;

use connection::Connection;

use super::{Definition, Dialect, Fault, ReadTable, Reset, ServerSession};
use crate::{DatabaseUrl, Error, Kind};

/// PostgreSQL 13 and later.
pub(crate) struct Postgres;

impl Dialect for Postgres {
    /// Nothing is looked for in any schema that is not named.
    const TABLE: &'static str = "public.freshdb_databases";

    const CONTENTS: (&'static str, &'static str) = ("public.freshdb_contents", "TEXT");

    type Connection = Connection;
    type Template = template::Template;
    type Slot = slot::Slot;

    async fn connect(server: &DatabaseUrl, database: &str) -> Result<Connection, sqlx::Error> {
        connection::connect(server, database).await
    }

    async fn engine(server: &DatabaseUrl) -> Result<Kind, sqlx::Error> {
        databases::engine(server).await
    }

    async fn engine_of(_: &mut Connection) -> Result<Kind, sqlx::Error> {
        Ok(Kind::Postgres)
    }

    async fn create_registry(server: &DatabaseUrl) -> Result<(), sqlx::Error> {
        databases::create_registry(server).await
    }

    async fn execute(connection: &mut Connection, sql: &str) -> Result<(), sqlx::Error> {
        connection::execute(connection, sql).await
    }

    async fn rows(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        connection::rows(connection, sql).await
    }

    async fn try_lock(connection: &mut Connection, name: &str) -> Result<bool, sqlx::Error> {
        server::try_lock(connection, name).await
    }

    async fn unlock(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
        server::unlock(connection, name).await
    }

    async fn identity(connection: &mut Connection) -> Result<String, sqlx::Error> {
        server::identity(connection).await
    }

    async fn connection_limit(connection: &mut Connection) -> Result<u32, sqlx::Error> {
        server::connection_limit(connection).await
    }

    async fn sessions(
        connection: &mut Connection,
        database: &str,
        known: &[u64],
    ) -> Result<Vec<ServerSession>, sqlx::Error> {
        server::sessions(connection, database, known).await
    }

    async fn exists(connection: &mut Connection, name: &str) -> Result<bool, sqlx::Error> {
        databases::exists(connection, name).await
    }

    async fn create(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
        databases::create(connection, name).await
    }

    async fn drop(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
        databases::drop(connection, name).await
    }

    async fn read_template(server: &DatabaseUrl, name: &str) -> Result<Self::Template, Error> {
        template::read(server, name).await
    }

    async fn copy(server: &DatabaseUrl, template: &Self::Template, name: &str) -> Result<Self::Slot, Error> {
        slot::copy(server, template, name).await
    }

    fn memo(slot: &Self::Slot) -> String {
        slot.memo()
    }

    async fn open(
        server: &DatabaseUrl,
        template: &Self::Template,
        name: &str,
        memo: &str,
    ) -> Result<Self::Slot, Error> {
        slot::open(server, template, name, memo).await
    }

    fn has_tables(template: &Self::Template) -> bool {
        !template.relations.is_empty()
    }

    fn store(template: &Self::Template) -> Option<String> {
        serde_json::to_string(template).ok()
    }

    async fn restore(
        connection: &mut Connection,
        _: &DatabaseUrl,
        _: &str,
        stored: &str,
    ) -> Result<Option<Self::Template>, sqlx::Error> {
        template::restore(connection, stored).await
    }

    async fn adopt(server: &DatabaseUrl, template: &Self::Template, name: &str) -> Result<Self::Slot, Error> {
        slot::adopt(server, template, name).await
    }

    async fn reset(slot: &mut Self::Slot, template: &Self::Template, staying: &[u64]) -> Result<Reset, Error> {
        reset::reset(slot, template, staying).await
    }

    /// A session on a template keeps the server from copying it.
    const TEMPLATES_CAN_BE_READ: bool = false;

    async fn duplicate(connection: &mut Connection, template: &str, name: &str) -> Result<(), sqlx::Error> {
        databases::copy(connection, template, "", name).await
    }

    async fn definitions(connection: &mut Connection, _: &str) -> Result<Vec<Definition>, sqlx::Error> {
        contents::definitions(connection).await
    }

    async fn tables(connection: &mut Connection, _: &str) -> Result<Vec<ReadTable>, sqlx::Error> {
        contents::tables(connection).await
    }

    async fn for_each(
        connection: &mut Connection,
        sql: &str,
        each: impl FnMut(Vec<Option<String>>) + Send,
    ) -> Result<(), sqlx::Error> {
        contents::for_each(connection, sql, each).await
    }

    async fn close(slot: Self::Slot) {
        slot.close().await;
    }

    fn fault(error: &sqlx::Error) -> Fault {
        fault::fault(error)
    }
}
