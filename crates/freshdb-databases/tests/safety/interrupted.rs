//! A template that was broken off is never used.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use freshdb_databases::schema::{self, Schema};
use freshdb_databases::{DatabaseUrl, Pool, Server, Target};
use futures_util::FutureExt;
use test_support::{Client, TestDatabase, eventually, on_every_engine};

use crate::{clean, server};

const SERVER: &str = "FRESHDB_TEST_SERVER";
const CHECKOUT: &str = "FRESHDB_TEST_CHECKOUT";
const SIGN: &str = "FRESHDB_TEST_SIGN";

/// A schema that makes one of its two tables, and then never ends while the file `sign` is there.
#[derive(Debug)]
struct Halting {
    sign: PathBuf,
}

impl Schema for Halting {
    fn fingerprint(&self, fingerprint: &mut schema::Fingerprint) -> Result<(), schema::SchemaError> {
        fingerprint.add("test", "halting");
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> schema::BoxFuture<'a, Result<(), schema::SchemaError>> {
        Box::pin(async move {
            let mut client = Client::try_connect(&target.url().reveal()).await?;
            client.try_execute("CREATE TABLE first (id INTEGER)").await?;
            if self.sign.with_extension("halt").exists() {
                std::fs::write(&self.sign, target.url().reveal())?;
                std::future::pending::<()>().await;
            }
            client.try_execute("CREATE TABLE second (id INTEGER)").await?;
            client.close().await;
            Ok(())
        })
    }
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn a_process_that_is_killed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let variable = |name: &str| env::var(name).unwrap();
    runtime.block_on(async {
        let server = Server::existing(DatabaseUrl::parse(&variable(SERVER)).unwrap());
        let schema = Halting { sign: variable(SIGN).into() };
        let pool = Pool::builder(server, schema).checkout(variable(CHECKOUT)).open().await;
        panic!("it was to be killed: {pool:?}");
    });
}

on_every_engine! {
    async fn by_sigkill(database: &TestDatabase) {
        let directory = tempfile::tempdir().unwrap();
        let sign = directory.path().join("sign");
        std::fs::write(sign.with_extension("halt"), "").unwrap();
        let scheme = |url: String| match database.engine {
            // MariaDB's URL is shown to drivers as MySQL's.
            test_support::Engine::Mariadb => url.replacen("mysql:", "mariadb:", 1),
            _ => url,
        };
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "interrupted::a_process_that_is_killed"])
            .env(SERVER, scheme(server(database).url().reveal()))
            .env(CHECKOUT, database.url())
            .env(SIGN, &sign)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("it is half-way", async || sign.exists()).await;
        child.kill().unwrap();
        child.wait().unwrap();
        whole(database, &sign).await;
    }
}

on_every_engine! {
    async fn by_a_caller_who_stops_waiting(database: &TestDatabase) {
        let directory = tempfile::tempdir().unwrap();
        let sign = directory.path().join("sign");
        let schema = Halting { sign: sign.clone() };
        // Whether the work is done or not by then: whoever comes next gets all of it.
        let mut opening = Box::pin(Pool::builder(server(database), schema).checkout(database.url()).open());
        assert!((&mut opening).now_or_never().is_none());
        drop(opening);
        whole(database, &sign).await;
    }
}

on_every_engine! {
    async fn by_a_panic(database: &TestDatabase) {
        let schema = schema::from_fn("1", async |target: Target| {
            let mut client = Client::connect(&target.url().reveal()).await;
            client.execute("CREATE TABLE first (id INTEGER)").await;
            panic!("the schema panics");
        });
        let error = Pool::builder(server(database), schema).checkout(database.url()).open().await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.ends_with("it panicked: the schema panics"), "it is said to who asked: {text}");
        let directory = tempfile::tempdir().unwrap();
        whole(database, &directory.path().join("sign")).await;
    }
}

/// The next pool has both tables, and nothing half-made is left.
async fn whole(database: &TestDatabase, sign: &Path) {
    let broken = std::fs::read_to_string(sign).ok();
    let halt = sign.with_extension("halt");
    if halt.exists() {
        std::fs::remove_file(halt).unwrap();
    }
    let schema = Halting { sign: sign.to_owned() };
    let pool = Pool::builder(server(database), schema).checkout(database.url()).open().await.unwrap();
    let lease = pool.lease().await.unwrap();
    let mut client = Client::connect(&lease.url().reveal()).await;
    for table in ["first", "second"] {
        assert_eq!(client.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0);
    }
    client.close().await;
    if let Some(broken) = broken {
        let is_there = match broken.strip_prefix("sqlite://") {
            Some(file) => Path::new(file).exists(),
            None => Client::try_connect(&broken).await.is_ok(),
        };
        assert!(!is_there, "what was broken off is gone");
    }
    drop(lease);
    pool.close().await.unwrap();
    eventually("all of it can go", async || {
        let garbage = freshdb_databases::Garbage::everything().checkout(database.url());
        garbage.collect(&server(database)).await.unwrap().in_use.is_empty()
    })
    .await;
    clean(database).await;
}
