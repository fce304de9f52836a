//! How MySQL and MariaDB do it. Where they differ, the server is asked what it has; see `server.rs`.
//!
//! `server.rs` administers; `catalog.rs` reads what a database is made of; `template.rs`, `copy.rs` and `reset.rs` are the life of a
//! slot, and `look.rs`, `find.rs`, `undo.rs` and `seeded.rs` the parts of a reset. `marks.rs`, `opened.rs`, `rebuilt.rs`, and `files.rs` with
//! `pages.rs` tell what need not be compared. `verbatim.rs` keeps the bytes of definitions that are no text.

mod blockers;
mod catalog;
mod connection;
mod contents;
mod copy;
mod encoded;
mod fault;
mod files;
mod find;
mod helper;
mod look;
mod marks;
mod opened;
mod own;
mod pages;
mod rebuilt;
mod reset;
mod seeded;
mod server;
mod sessions;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod undo;
mod verbatim;
mod whereabouts;

use sqlx::MySqlConnection;

use super::{Definition, Dialect, Fault, ReadTable, Reset, ServerSession};
use crate::{DatabaseUrl, Error, Kind};

/// MySQL and MariaDB, of the versions that `docs/databases.md` names.
pub(crate) struct Mysql;

impl Dialect for Mysql {
    const CONTENTS: (&'static str, &'static str) = ("freshdb_contents", "LONGTEXT");

    type Connection = MySqlConnection;
    type Template = template::Template;
    type Slot = copy::Slot;

    async fn connect(server: &DatabaseUrl, database: &str) -> Result<MySqlConnection, sqlx::Error> {
        connection::connect(server, database).await
    }

    /// Not to the database itself: to see what it holds, such a session goes there and back.
    async fn connect_to_compare(server: &DatabaseUrl, _: &str) -> Result<MySqlConnection, sqlx::Error> {
        sessions::connect_unlisted(server).await
    }

    async fn engine(server: &DatabaseUrl) -> Result<Kind, sqlx::Error> {
        server::engine(server).await
    }

    async fn engine_of(connection: &mut MySqlConnection) -> Result<Kind, sqlx::Error> {
        server::engine_of(connection).await
    }

    async fn create_registry(server: &DatabaseUrl) -> Result<(), sqlx::Error> {
        server::create_registry(server).await
    }

    async fn execute(connection: &mut MySqlConnection, sql: &str) -> Result<(), sqlx::Error> {
        connection::execute(connection, sql).await
    }

    async fn rows(connection: &mut MySqlConnection, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        connection::rows(connection, sql).await
    }

    async fn try_lock(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
        server::try_lock(connection, name).await
    }

    async fn unlock(connection: &mut MySqlConnection, name: &str) -> Result<(), sqlx::Error> {
        server::unlock(connection, name).await
    }

    async fn identity(connection: &mut MySqlConnection) -> Result<String, sqlx::Error> {
        server::identity(connection).await
    }

    async fn connection_limit(connection: &mut MySqlConnection) -> Result<u32, sqlx::Error> {
        server::connection_limit(connection).await
    }

    async fn sessions(
        connection: &mut MySqlConnection,
        database: &str,
        known: &[u64],
    ) -> Result<Vec<ServerSession>, sqlx::Error> {
        sessions::sessions(connection, database, known).await
    }

    async fn exists(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
        server::exists(connection, name).await
    }

    async fn create(connection: &mut MySqlConnection, name: &str) -> Result<(), sqlx::Error> {
        server::create(connection, name).await
    }

    async fn drop(connection: &mut MySqlConnection, name: &str) -> Result<(), sqlx::Error> {
        server::drop(connection, name).await
    }

    async fn read_template(server: &DatabaseUrl, name: &str) -> Result<Self::Template, Error> {
        template::read(server, name).await
    }

    async fn copy(server: &DatabaseUrl, template: &Self::Template, name: &str) -> Result<Self::Slot, Error> {
        copy::copy(server, template, name).await
    }

    async fn open(server: &DatabaseUrl, template: &Self::Template, name: &str, _: &str) -> Result<Self::Slot, Error> {
        copy::open(server, template, name).await
    }

    fn has_tables(template: &Self::Template) -> bool {
        !template.tables.is_empty()
    }

    fn store(template: &Self::Template) -> Option<String> {
        serde_json::to_string(template).ok()
    }

    async fn restore(
        connection: &mut MySqlConnection,
        server: &DatabaseUrl,
        _: &str,
        stored: &str,
    ) -> Result<Option<Self::Template>, sqlx::Error> {
        template::restore(connection, server, stored).await
    }

    async fn adopt(server: &DatabaseUrl, template: &Self::Template, name: &str) -> Result<Self::Slot, Error> {
        copy::adopt(server, template, name).await
    }

    async fn reset(slot: &mut Self::Slot, template: &Self::Template, staying: &[u64]) -> Result<Reset, Error> {
        reset::reset(slot, template, staying).await
    }

    const TEMPLATES_CAN_BE_READ: bool = true;

    async fn duplicate(_: &mut MySqlConnection, _: &str, _: &str) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn definitions(connection: &mut MySqlConnection, database: &str) -> Result<Vec<Definition>, sqlx::Error> {
        contents::definitions(connection, database).await
    }

    async fn tables(connection: &mut MySqlConnection, database: &str) -> Result<Vec<ReadTable>, sqlx::Error> {
        contents::tables(connection, database).await
    }

    async fn for_each(
        connection: &mut MySqlConnection,
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
