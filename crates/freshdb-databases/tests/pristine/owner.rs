//! A process that has a lease, and is killed with it.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use freshdb_databases::{DatabaseUrl, Pool, Server, schema};
use test_support::{Client, Engine, eventually};

use crate::dirt;

const ENGINE: &str = "FRESHDB_TEST_ENGINE";
const SERVER: &str = "FRESHDB_TEST_SERVER";
const CHECKOUT: &str = "FRESHDB_TEST_CHECKOUT";
/// What it says before the name of its database.
const SIGN: &str = "its database: ";

/// A pool of one database.
pub(crate) async fn pool(engine: Engine, server: Server, checkout: &str) -> Pool {
    let schema = schema::sql(dirt::template(engine));
    Pool::builder(server, schema).checkout(checkout).limit(1).open().await.expect("a pool")
}

pub(crate) struct Owner {
    engine: Engine,
    server: Server,
    process: Child,
    name: String,
    pub(crate) database: DatabaseUrl,
}

impl Owner {
    pub(crate) async fn start(engine: Engine, server: Server, checkout: String) -> Self {
        tokio::task::spawn_blocking(move || Self::start_blocking(engine, server, &checkout)).await.expect("it started")
    }

    fn start_blocking(engine: Engine, server: Server, checkout: &str) -> Self {
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "--nocapture", "owner::an_owner"])
            .env(ENGINE, engine.name())
            .env(SERVER, server.url().reveal())
            .env(CHECKOUT, checkout)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        // libtest begins the line.
        let name = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once(SIGN)?.1.to_owned()))
            .expect("it has a lease");
        let database = server.url().with_database(&name);
        Self { engine, server, process, name, database }
    }

    /// Kills it, waits until the server has noticed, and gives the name of its database.
    pub(crate) async fn kill(mut self) -> String {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
        let name = self.name;
        let locks = match self.engine {
            // The kernel's: they ended with the process.
            Engine::Sqlite => return name,
            Engine::Mysql | Engine::Mariadb => format!("SELECT IS_USED_LOCK('{name}') IS NOT NULL"),
            Engine::Postgres => format!(
                "SELECT COUNT(*) FROM pg_locks, encode(sha256('{name}'), 'hex') AS key WHERE locktype = 'advisory' \
                 AND classid = ('x' || left(key, 8))::bit(32)::int::oid \
                 AND objid = ('x' || substr(key, 9, 8))::bit(32)::int::oid"
            ),
        };
        let mut client = Client::connect(&self.server.url().reveal()).await;
        eventually("its lock is free", async || client.number(&locks).await == 0).await;
        client.close().await;
        name
    }
}

#[test]
#[ignore = "run by the property, in processes of its own"]
fn an_owner() {
    let variable = |name| env::var(name).expect("set by the property");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let engine = Engine::named(&variable(ENGINE));
        let url = variable(SERVER);
        // MariaDB's URL is shown to drivers as MySQL's.
        let url = if engine == Engine::Mariadb { url.replacen("mysql:", "mariadb:", 1) } else { url };
        let server = Server::existing(DatabaseUrl::parse(&url).expect("a URL"));
        let pool = pool(engine, server, &variable(CHECKOUT)).await;
        let lease = pool.lease().await.expect("a lease");
        println!("{SIGN}{}", lease.name());
        // Until it is killed; or whoever would do that has ended.
        std::io::stdin().lines().for_each(drop);
    });
}
