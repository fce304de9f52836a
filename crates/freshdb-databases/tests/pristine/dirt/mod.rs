//! What can be done to a database: kinds of dirt, and for each the statements that make it. `{n}` in them stands for a number, `{tag}` for
//! a word that no other case uses.

mod mysql;
mod postgres;
mod sqlite;

use test_support::Engine;

pub(crate) use postgres::{MERGE, OWNER, PREPARED};

/// A kind of dirt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) reach: Reach,
    /// One of these; several statements of one text are executed until one fails.
    pub(crate) texts: &'static [&'static str],
}

/// How deep it goes. Much of what changes the schema costs a database its slot, so programs without it are needed to see
/// rows put back in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Rows, counters, sessions.
    Rows,
    /// The catalog.
    Schema,
}

const fn rows(name: &'static str, texts: &'static [&'static str]) -> Kind {
    Kind { name, reach: Reach::Rows, texts }
}

const fn schema(name: &'static str, texts: &'static [&'static str]) -> Kind {
    Kind { name, reach: Reach::Schema, texts }
}

/// All that can be done to an engine's database.
pub(crate) fn kinds(engine: Engine) -> Vec<Kind> {
    match engine {
        Engine::Sqlite => sqlite::KINDS.to_vec(),
        Engine::Mysql => [mysql::COMMON, mysql::MYSQL].concat(),
        Engine::Mariadb => [mysql::COMMON, mysql::MARIADB].concat(),
        Engine::Postgres => postgres::KINDS.to_vec(),
    }
}

/// What the template is made with.
pub(crate) fn template(engine: Engine) -> String {
    match engine {
        Engine::Sqlite => include_str!("../schemas/sqlite.sql").to_owned(),
        Engine::Mysql => include_str!("../schemas/mysql.sql").to_owned(),
        Engine::Mariadb => {
            concat!(include_str!("../schemas/mysql.sql"), include_str!("../schemas/mariadb.sql")).to_owned()
        }
        Engine::Postgres => include_str!("../schemas/postgres.sql").to_owned(),
    }
}

/// What a session that outlives its lease tries to write when the database is another's.
pub(crate) fn late(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite | Engine::Postgres => {
            "INSERT INTO plain (name) VALUES ('late {tag}'); COMMIT; INSERT INTO plain (name) VALUES ('later {tag}')"
        }
        Engine::Mysql | Engine::Mariadb => {
            "INSERT INTO plain (name) VALUES ('late {tag}'); COMMIT; CREATE TABLE late (id INT)"
        }
    }
}

/// What a session begins with, so that those of one program wait for each other but a moment.
pub(crate) fn greeting(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "PRAGMA busy_timeout = 10",
        Engine::Mysql => "SET SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 1",
        Engine::Mariadb => "SET SESSION innodb_lock_wait_timeout = 0, SESSION lock_wait_timeout = 0",
        Engine::Postgres => "SET lock_timeout = '20ms'; SET client_min_messages = error",
    }
}
