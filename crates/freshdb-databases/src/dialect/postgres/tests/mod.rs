//! Against the server of `FRESHDB_POSTGRES_URL`.

mod administration;
mod database;
mod dirtyings;
mod later;
mod order;
mod quoting;
mod sessions;
mod size;

use std::fmt::Write as _;
use std::process::Command;

use super::super::{Dialect, Outcome, REGISTRY, Reset};
use super::connection::{Connection, connect, execute, value};
use super::{Postgres, slot::Slot, template::Template};
use crate::DatabaseUrl;

/// The server to test against. Without one the test fails.
fn server() -> DatabaseUrl {
    let url = std::env::var("FRESHDB_POSTGRES_URL").expect("set FRESHDB_POSTGRES_URL to a PostgreSQL server");
    DatabaseUrl::parse(&url).expect("FRESHDB_POSTGRES_URL is a database URL")
}

async fn admin() -> Connection {
    Postgres::create_registry(&server()).await.expect("the registry");
    connect(&server(), REGISTRY).await.expect("a connection to the registry")
}

/// Whether the server counts what a session has written before that is said to have ended, as it does since 15.
async fn counts_at_once(connection: &mut Connection) -> bool {
    is_there(connection, "to_regproc('pg_catalog.pg_stat_force_next_flush')").await
}

/// Whether somebody who is no superuser can be given a superuser's settings, as since 15.
async fn grants_parameters(connection: &mut Connection) -> bool {
    is_there(connection, "to_regclass('pg_catalog.pg_parameter_acl')").await
}

async fn is_there(connection: &mut Connection, what: &str) -> bool {
    value(connection, &format!("SELECT {what}")).await.expect("the server answers").is_some()
}

/// A name that no other test and no other process has.
fn free_name(what: &str) -> String {
    format!("fdbtest_{what}_{}_{:08x}", std::process::id(), fastrand::u32(..))
}

/// A template and one copy of it, with a neighbour that nobody may touch.
struct Fixture {
    server: DatabaseUrl,
    admin: Connection,
    template: Template,
    slot: Slot,
    /// What was written down of the slot when it was made.
    memo: String,
    /// The template's dump.
    pristine: String,
}

impl Fixture {
    async fn new(what: &str, schema: &str) -> Self {
        Self::on(server(), what, schema).await
    }

    async fn on(server: DatabaseUrl, what: &str, schema: &str) -> Self {
        Postgres::create_registry(&server).await.expect("the registry");
        let mut admin = connect(&server, REGISTRY).await.expect("a connection to the registry");
        let name = free_name(what);
        Postgres::create(&mut admin, &name).await.expect("an empty database");
        let mut inside = user(&server, &name).await;
        execute(&mut inside, schema).await.expect("the schema is valid");
        inside.close().await.expect("it closes");
        let pristine = dump(&server, &name);
        let template = Postgres::read_template(&server, &name).await.expect("the template can be read");
        let slot = Postgres::copy(&server, &template, &format!("{name}_1")).await.expect("the template can be copied");
        let memo = Postgres::memo(&slot);
        Self { server, admin, template, slot, memo, pristine }
    }

    fn dump(&self) -> String {
        dump(&self.server, &self.slot.name)
    }

    async fn user(&self) -> Connection {
        user(&self.server, &self.slot.name).await
    }

    /// What a test does to a database, its session closed or left open.
    async fn run(&self, sql: &str) -> Connection {
        let mut user = self.user().await;
        execute(&mut user, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        user
    }

    async fn reset(&mut self) -> Reset {
        Postgres::reset(&mut self.slot, &self.template, &[]).await.expect("the reset succeeds")
    }

    /// As another process finds it, with what was written down when it was made.
    async fn left_behind(&mut self) {
        let memo = self.memo.clone();
        self.found(&memo).await;
    }

    /// As another process finds it to which that tells nothing.
    async fn unknown(&mut self) {
        self.found("").await;
    }

    async fn found(&mut self, memo: &str) {
        let name = self.slot.name.clone();
        let slot = Postgres::open(&self.server, &self.template, &name, memo).await.expect("it can be opened");
        Postgres::close(std::mem::replace(&mut self.slot, slot)).await;
    }

    /// Another copy in place of one that cannot be put back.
    async fn anew(&mut self) {
        let name = self.slot.name.clone();
        Postgres::drop(&mut self.admin, &name).await.expect("it can be dropped");
        let slot = Postgres::copy(&self.server, &self.template, &name).await.expect("the template can be copied");
        self.memo = Postgres::memo(&slot);
        Postgres::close(std::mem::replace(&mut self.slot, slot)).await;
    }

    async fn drop(mut self) {
        let names = [self.slot.name.clone(), self.template.name.clone()];
        Postgres::close(self.slot).await;
        for name in names {
            Postgres::drop(&mut self.admin, &name).await.expect("it can be dropped");
            assert!(
                !Postgres::exists(&mut self.admin, &name).await.expect("the server answers"),
                "{name} is still there"
            );
        }
    }
}

/// A connection such as a test makes: with none of freshdb's settings.
async fn user(server: &DatabaseUrl, database: &str) -> Connection {
    let mut connection = connect(server, database).await.expect("a connection");
    execute(
        &mut connection,
        "SET application_name = 'a test'; RESET row_security; SET search_path = \"$user\", public",
    )
    .await
    .expect("settings");
    connection
}

/// The server's own dump tool, of a version that can read the server.
fn dump(server: &DatabaseUrl, database: &str) -> String {
    let tool = test_support::dump_tool(test_support::Engine::Postgres);
    let output = Command::new(tool).arg(server.with_database(database).reveal()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dump = String::from_utf8(output.stdout).expect("a dump in UTF-8");
    // Since 15.14 a dump is framed by a random key.
    dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).fold(
        String::new(),
        |mut dump, line| {
            writeln!(dump, "{line}").expect("a string can be written to");
            dump
        },
    )
}
