//! How SQLite does it: a server is a directory, a database a file in it.
//!
//! | what | where |
//! | --- | --- |
//! | the database `x` | `<directory>/x.db` |
//! | the slot `x` | `<directory>/x.db`, a link to `<directory>/files/x/<number>.db`, which is another file after each reset |
//! | the registry | `<directory>/freshdb_registry.db` |
//! | the lock `x` | `<directory>/locks/x.lock`, held for as long as the file is locked |
//!
//! A file has no sessions: nobody can be asked who has it open, and nobody can be made to close it. A reset therefore never
//! writes into the file that a test had. It makes the path lead to a new one, and what a leaked connection still writes goes
//! to a file without a name.

mod connection;
mod contents;
mod files;
mod template;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Row};

pub(crate) use connection::Connection;
pub(crate) use template::{Slot, Template};

use super::{Definition, Dialect, Fault, ReadTable, Reset, ServerSession};
use crate::{DatabaseUrl, Error, Kind};

/// SQLite, in files.
pub(crate) struct Sqlite;

impl Dialect for Sqlite {
    type Connection = Connection;
    type Template = Template;
    type Slot = Slot;

    async fn connect(server: &DatabaseUrl, database: &str) -> Result<Connection, sqlx::Error> {
        let directory = directory_of(server)?;
        let path = file_of(server, database)?;
        // A connection starts a thread. To find that there is no such file, as of a new server's registry, takes none.
        fs::metadata(&path)?;
        let file = connection::open(&path).await?;
        Ok(Connection::new(directory.to_owned(), file))
    }

    async fn engine(_: &DatabaseUrl) -> Result<Kind, sqlx::Error> {
        Ok(Kind::Sqlite)
    }

    async fn engine_of(_: &mut Connection) -> Result<Kind, sqlx::Error> {
        Ok(Kind::Sqlite)
    }

    async fn create_registry(server: &DatabaseUrl) -> Result<(), sqlx::Error> {
        connection::create_registry(directory_of(server)?).await
    }

    async fn execute(connection: &mut Connection, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection.file).await?;
        Ok(())
    }

    async fn rows(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection.file).await?;
        // SQLite itself converts a value of any type to text.
        rows.iter().map(|row| (0..row.len()).map(|column| row.try_get_unchecked(column)).collect()).collect()
    }

    async fn try_lock(connection: &mut Connection, name: &str) -> Result<bool, sqlx::Error> {
        Ok(connection.try_lock(name)?)
    }

    async fn unlock(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
        Ok(connection.unlock(name)?)
    }

    /// The version, and with what options it was built: some decide whether foreign keys hold, or what `LIKE` means.
    async fn identity(connection: &mut Connection) -> Result<String, sqlx::Error> {
        let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection.file).await?;
        let options: Vec<String> = sqlx::query_scalar("PRAGMA compile_options").fetch_all(&mut connection.file).await?;
        let options: Vec<&str> =
            options.iter().map(String::as_str).filter(|option| !option.starts_with("COMPILER=")).collect();
        Ok(format!("SQLite {version} {}", options.join(" ")))
    }

    /// As many as there may be files open: no server counts them.
    async fn connection_limit(_: &mut Connection) -> Result<u32, sqlx::Error> {
        Ok(u32::MAX)
    }

    /// None: a file does not know who has it open.
    async fn sessions(_: &mut Connection, _: &str, _: &[u64]) -> Result<Vec<ServerSession>, sqlx::Error> {
        Ok(Vec::new())
    }

    async fn exists(connection: &mut Connection, name: &str) -> Result<bool, sqlx::Error> {
        Ok(files::is_there(&connection.path(name))?)
    }

    async fn create(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
        let path = connection.path(name);
        files::remove_companions(&path)?;
        // SQLite takes a file without content for a database without tables.
        files::create(&path)?;
        Ok(())
    }

    async fn drop(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
        Ok(files::remove(&connection.path(name))?)
    }

    async fn read_template(server: &DatabaseUrl, name: &str) -> Result<Template, Error> {
        Template::read(server.with_database(name)).await
    }

    async fn copy(server: &DatabaseUrl, template: &Template, name: &str) -> Result<Slot, Error> {
        let mut slot = Slot::new(server.with_database(name));
        slot.create(template).await?;
        Ok(slot)
    }

    async fn open(server: &DatabaseUrl, _: &Template, name: &str, _: &str) -> Result<Slot, Error> {
        Ok(Slot::new(server.with_database(name)))
    }

    fn has_tables(template: &Template) -> bool {
        template.has_tables
    }

    fn store(template: &Template) -> Option<String> {
        template.store()
    }

    async fn restore(
        _: &mut Connection,
        server: &DatabaseUrl,
        name: &str,
        stored: &str,
    ) -> Result<Option<Template>, sqlx::Error> {
        Ok(Template::restore(server.with_database(name), stored).await)
    }

    async fn adopt(server: &DatabaseUrl, _: &Template, name: &str) -> Result<Slot, Error> {
        Slot::adopt(server.with_database(name))
    }

    async fn reset(slot: &mut Slot, template: &Template, _: &[u64]) -> Result<Reset, Error> {
        slot.reset(template).await
    }

    const TEMPLATES_CAN_BE_READ: bool = true;

    async fn duplicate(_: &mut Connection, _: &str, _: &str) -> Result<(), sqlx::Error> {
        Ok(())
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

    /// A slot holds nothing open.
    async fn close(_: Slot) {}

    fn fault(error: &sqlx::Error) -> Fault {
        match error {
            // `SQLITE_FULL`: <https://www.sqlite.org/rescode.html#full>.
            sqlx::Error::Database(error) if error.code().as_deref() == Some("13") => Fault::Full,
            sqlx::Error::Io(error) if files::is_full(error) => Fault::Full,
            sqlx::Error::WorkerCrashed => Fault::Lost,
            _ => Fault::Other,
        }
    }
}

fn directory_of(server: &DatabaseUrl) -> Result<&Path, sqlx::Error> {
    server.path().ok_or_else(|| sqlx::Error::Configuration(format!("`{server}` is no directory").into()))
}

fn file_of(server: &DatabaseUrl, database: &str) -> Result<PathBuf, sqlx::Error> {
    Ok(directory_of(server)?.join(format!("{database}.db")))
}
