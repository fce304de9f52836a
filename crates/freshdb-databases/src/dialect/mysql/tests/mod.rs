//! Against the servers of `FRESHDB_MYSQL_URL` and `FRESHDB_MARIADB_URL`.

mod administration;
mod again;
mod copies;
mod definitions;
mod dirt;
mod large;
mod privileges;
mod quoting;
mod seeds;

use std::process::Command;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection as _, MySqlConnection};

use super::super::{Dialect, Outcome, REGISTRY, Reset};
use super::connection::{connect, execute, identifier, rows};
use super::{Mysql, copy::Slot, template::Template};
use crate::{DatabaseUrl, Kind};

/// One test for each of the two servers, out of a function that is given which.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn mysql() {
                super::$name(crate::Kind::Mysql).await;
            }

            #[tokio::test]
            async fn mariadb() {
                super::$name(crate::Kind::Mariadb).await;
            }
        }
    )+};
}
use on_both;

/// A test for one of them, out of a function that needs not be told which.
macro_rules! on_one {
    ($engine:ident: $($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn $engine() {
                super::$name().await;
            }
        }
    )+};
}
use on_one;

/// The server to test against. Without one the test fails.
fn server(kind: Kind) -> DatabaseUrl {
    let variable = format!("FRESHDB_{}_URL", kind.name().to_uppercase());
    let url = std::env::var(&variable).unwrap_or_else(|_| panic!("set {variable} to a server of {kind}"));
    DatabaseUrl::parse(&url).expect("the variable holds a database URL")
}

async fn admin(kind: Kind) -> MySqlConnection {
    Mysql::create_registry(&server(kind)).await.expect("the registry");
    connect(&server(kind), REGISTRY).await.expect("a connection to the registry")
}

/// A name that no other test and no other process has.
fn free_name(what: &str) -> String {
    format!("fdbtest_{what}_{}_{:08x}", std::process::id(), fastrand::u32(..))
}

/// A template and one copy of it.
struct Fixture {
    kind: Kind,
    admin: MySqlConnection,
    template: Template,
    slot: Slot,
    /// The template's dump.
    pristine: String,
}

impl Fixture {
    async fn new(kind: Kind, what: &str, schema: &[&str]) -> Self {
        let mut admin = admin(kind).await;
        let name = free_name(what);
        Mysql::create(&mut admin, &name).await.expect("an empty database");
        let mut inside = user(kind, &name).await;
        for sql in schema {
            execute(&mut inside, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        inside.close().await.expect("it closes");
        let pristine = dump(kind, &name);
        let template = Mysql::read_template(&server(kind), &name).await.expect("the template can be read");
        let slot =
            Mysql::copy(&server(kind), &template, &format!("{name}_1")).await.expect("the template can be copied");
        Self { kind, admin, template, slot, pristine }
    }

    fn dump(&self) -> String {
        dump(self.kind, &self.slot.name)
    }

    #[track_caller]
    fn assert_pristine(&self, after: &str) {
        let dump = self.dump();
        let first = self.pristine.lines().zip(dump.lines()).find(|(left, right)| left != right);
        assert!(self.pristine == dump, "{} after {after}: not equal from {first:?}", self.kind);
    }

    async fn user(&self) -> MySqlConnection {
        user(self.kind, &self.slot.name).await
    }

    /// What a test does to a database. Its session is left open.
    async fn run(&self, sql: &str) -> MySqlConnection {
        let mut user = self.user().await;
        execute(&mut user, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        user
    }

    async fn reset(&mut self) -> Reset {
        Mysql::reset(&mut self.slot, &self.template, &[])
            .await
            .unwrap_or_else(|error| panic!("the reset fails: {error:?}"))
    }

    /// A new copy in place of one that was changed.
    async fn renew(&mut self) {
        let name = self.slot.name.clone();
        Mysql::drop(&mut self.admin, &name).await.expect("it can be dropped");
        let server = server(self.kind);
        let slot = Mysql::copy(&server, &self.template, &name).await.expect("the template can be copied");
        Mysql::close(std::mem::replace(&mut self.slot, slot)).await;
    }

    async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        rows(&mut self.admin, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn drop(mut self) {
        let names = [self.slot.name.clone(), self.template.name.clone()];
        Mysql::close(self.slot).await;
        for name in names {
            Mysql::drop(&mut self.admin, &name).await.expect("it can be dropped");
            assert!(!Mysql::exists(&mut self.admin, &name).await.expect("the server answers"), "{name} is still there");
        }
    }
}

/// A connection such as a test makes: with none of freshdb's settings.
async fn user(kind: Kind, database: &str) -> MySqlConnection {
    use std::str::FromStr;
    let url = server(kind).with_database(database).reveal();
    MySqlConnectOptions::from_str(&url).expect("options").connect().await.expect("a connection")
}

/// All that the server's own dump tool can say of a database.
fn dump(kind: Kind, database: &str) -> String {
    dump_of(kind, database, &[])
}

/// Of these tables alone, unless there are none.
fn dump_of(kind: Kind, database: &str, tables: &[&str]) -> String {
    const OF_MYSQL: [&str; 3] = ["--set-gtid-purged=OFF", "--ssl-mode=DISABLED", "--get-server-public-key"];

    let server = url::Url::parse(&server(kind).reveal()).expect("a URL");
    let tool = test_support::dump_tool(test_support::Engine::named(kind.name()));
    let output = Command::new(&tool)
        .env("MYSQL_PWD", server.password().unwrap_or_default())
        .arg(format!("--user={}", server.username()))
        .arg(format!("--host={}", server.host_str().unwrap_or("localhost")))
        .arg(format!("--port={}", server.port().unwrap_or(3306)))
        .args([
            "--protocol=tcp",
            "--routines",
            "--events",
            "--triggers",
            "--hex-blob",
            "--skip-comments",
            "--no-tablespaces",
        ])
        // TLS is a fifth of what a dump takes, and without it MySQL wants another way to be told the password.
        .args(if kind == Kind::Mysql { &OF_MYSQL[..] } else { &[] })
        .arg(database)
        .args(tables)
        .output()
        .unwrap_or_else(|error| panic!("cannot run `{}`: {error}", tool.display()));
    assert!(output.status.success(), "{}: {}", tool.display(), String::from_utf8_lossy(&output.stderr));
    // A view that names its own database by name does so in its dump too.
    String::from_utf8_lossy(&output.stdout).replace(&identifier(database), "`itself`")
}

fn outcome(reset: &Reset) -> usize {
    match &reset.outcome {
        Outcome::Pristine { touched } => *touched,
        Outcome::Changed(reason) => panic!("changed: {reason}"),
    }
}
