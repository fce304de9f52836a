//! The engines, as the tests reach them: where their servers are, how a database is made and dropped, and what a server
//! says of its connections. All SQL of the tests that differs from engine to engine is here.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row};
use tempfile::TempDir;
use url::Url;

use crate::processes::{Process, processes};

/// One of the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, in a file of the test's own.
    Sqlite,
    /// MySQL 9.
    Mysql,
    /// MariaDB, which speaks MySQL's protocol.
    Mariadb,
    /// PostgreSQL.
    Postgres,
}

impl Engine {
    /// The engine of this name.
    ///
    /// # Panics
    ///
    /// If none is called so.
    pub fn named(name: &str) -> Self {
        let all = [Self::Sqlite, Self::Mysql, Self::Mariadb, Self::Postgres];
        all.into_iter().find(|engine| engine.name() == name).unwrap_or_else(|| panic!("no engine is called {name}"))
    }

    /// Its name, as it stands behind a test's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Postgres => "postgres",
        }
    }

    /// What the service calls a server of this engine.
    fn server(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite ",
            Self::Mysql => "MySQL ",
            Self::Mariadb => "MariaDB ",
            Self::Postgres => "PostgreSQL ",
        }
    }

    /// Makes sure that it is this engine that answers, and leaves its version where the run's summary looks for it.
    pub fn confirm(self, server: &str) {
        let version = server.strip_prefix(self.server());
        let version = version.unwrap_or_else(|| panic!("the URL of {} leads to {server}", self.name()));
        if let Some(directory) = env::var_os("FRESHDB_ENGINES_SEEN") {
            let file = std::path::Path::new(&directory).join(self.name());
            std::fs::write(&file, format!("{version}\n"))
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        }
    }

    /// The URL of its server, from the environment. A server that is missing fails the test that asked for it.
    fn server_url(self) -> Url {
        let variable = format!("FRESHDB_{}_URL", self.name().to_uppercase());
        let url = env::var(&variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `scripts/test`, which starts the servers, or set it to a server's URL")
        });
        Url::parse(&url).unwrap_or_else(|error| panic!("{variable} is not a URL: {error}"))
    }
}

/// A database of one test's own, as others see it: past whatever is tested.
#[derive(Debug)]
pub struct TestDatabase {
    /// The engine it is on.
    pub engine: Engine,
    url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// In a directory that goes with it, if it was made here.
    File {
        _directory: Option<TempDir>,
    },
    OnServer {
        server: Url,
        name: String,
        is_made_here: bool,
    },
}

impl TestDatabase {
    /// Makes one; of a server, on the one that the environment names.
    ///
    /// # Panics
    ///
    /// If the engine is not there.
    pub async fn create(engine: Engine) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        if engine == Engine::Sqlite {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let url = format!("sqlite://{}/test.db", directory.path().display());
            execute(engine, &Url::parse(&url).expect("a URL"), "PRAGMA user_version").await;
            return Self { engine, url, kind: Kind::File { _directory: Some(directory) } };
        }
        let name = format!("freshdb_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = engine.server_url();
        execute(engine, &server, &format!("CREATE DATABASE {name}")).await;
        let mut url = server.clone();
        url.set_path(&name);
        Self { engine, url: url.into(), kind: Kind::OnServer { server, name, is_made_here: true } }
    }

    /// One that somebody else has made, and will drop or put back.
    ///
    /// # Panics
    ///
    /// If that is no URL.
    pub fn at(engine: Engine, url: &str) -> Self {
        if engine == Engine::Sqlite {
            return Self { engine, url: url.to_owned(), kind: Kind::File { _directory: None } };
        }
        let mut server = Url::parse(url).expect("a URL");
        let name = server.path().trim_start_matches('/').to_owned();
        // Whoever asks about a database is not connected to it; PostgreSQL has one for that.
        server.set_path(if engine == Engine::Postgres { "postgres" } else { "" });
        Self { engine, url: url.to_owned(), kind: Kind::OnServer { server, name, is_made_here: false } }
    }

    /// Its URL, password and all.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL with another address in front of the server.
    pub fn url_through(&self, port: u16) -> String {
        let mut url = Url::parse(&self.url).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        url.into()
    }

    /// The same where the address in front is of IPv6.
    pub fn url_through_ipv6(&self, port: u16) -> String {
        let mut url = Url::parse(&self.url_through(port)).expect("a URL");
        url.set_host(Some("[::1]")).expect("a host");
        url.into()
    }

    /// The server's address.
    pub fn server_address(&self) -> String {
        match &self.kind {
            Kind::File { .. } => panic!("a file has no address"),
            Kind::OnServer { server, .. } => {
                let port = server.port().unwrap_or(if self.engine == Engine::Postgres { 5432 } else { 3306 });
                format!("{}:{port}", server.host_str().expect("a host"))
            }
        }
    }

    /// How many transactions are open in it, as the server sees it.
    pub async fn open_transactions(&self) -> i64 {
        let Kind::OnServer { server, name, .. } = &self.kind else { return self.writer_holds_the_file().await };
        if self.engine == Engine::Postgres {
            let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1 AND xact_start IS NOT NULL";
            let mut connection = PgConnection::connect(server.as_str()).await.expect("a connection");
            return sqlx::query_scalar(sql).bind(name).fetch_one(&mut connection).await.expect("an answer");
        }
        let mut connection = mysql_connection(server).await;
        let status = sqlx::raw_sql("SHOW ENGINE INNODB STATUS").fetch_one(&mut connection).await.expect("an answer");
        let open = threads_in_transactions(status.get(2));
        let processes = processes(&mut connection, name).await;
        number(processes.iter().filter(|process| open.contains(&process.id)).count())
    }

    /// How many sessions others have on it, as the server sees it; an embedded one has no server, and none.
    pub async fn sessions(&self) -> i64 {
        if matches!(self.kind, Kind::File { .. }) {
            return 0;
        }
        self.count("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1", |_| true).await
    }

    /// How many sessions on it execute a statement at this moment, as the server's own list says.
    pub async fn statements_running(&self) -> i64 {
        assert_ne!(self.engine, Engine::Sqlite, "a file has no server");
        self.observer().await.statements_running().await
    }

    /// How many transactions wait in it for another's lock, as the server sees it.
    pub async fn waiting_transactions(&self) -> i64 {
        let on_postgres = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
        // `innodb_trx` knows better, but is not read anew for whoever asks more often than every tenth of a second:
        // <https://dev.mysql.com/doc/refman/9.7/en/innodb-information-schema-internal-data.html>.
        self.count(on_postgres, Process::is_waiting).await
    }

    /// What its server counts.
    async fn count(&self, on_postgres: &'static str, on_mysql: fn(&Process) -> bool) -> i64 {
        let Kind::OnServer { server, name, .. } = &self.kind else { panic!("a file has no server to ask") };
        if self.engine == Engine::Postgres {
            let mut connection = PgConnection::connect(server.as_str()).await.expect("a connection");
            return sqlx::query_scalar(on_postgres).bind(name).fetch_one(&mut connection).await.expect("an answer");
        }
        let mut connection = mysql_connection(server).await;
        number(processes(&mut connection, name).await.iter().filter(|process| on_mysql(process)).count())
    }

    /// Ends a session, as an administrator would. One that is gone already is no failure.
    pub async fn kill(&self, id: u64) {
        self.observer().await.kill(id).await;
    }

    /// A statement on its table `items (id, name)` that takes half a minute, and that an [`Observer`](crate::Observer) sees: on SQLite it is
    /// one that writes.
    pub fn long_statement(&self) -> String {
        let sleep = self.sleep(30);
        if self.engine == Engine::Sqlite {
            return format!("INSERT INTO items (id) SELECT * FROM ({sleep})");
        }
        sleep
    }

    /// A statement that fails inside of a transaction, and changes nothing outside of one.
    pub fn fails_in_a_transaction(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "BEGIN; ROLLBACK",
            // By the simple protocol alone: <https://www.postgresql.org/docs/15/functions-datetime.html>.
            Engine::Postgres => "SELECT 1 / CASE WHEN now() = statement_timestamp() THEN 1 ELSE 0 END",
            // 1568: <https://dev.mysql.com/doc/refman/9.7/en/set-transaction.html>.
            Engine::Mysql | Engine::Mariadb => "SET TRANSACTION READ WRITE",
        }
    }

    /// Statements for a new connection with which the database writes as fast as a server whose durability is off; where
    /// there is no server, connections look for their turn to write in a poll, and long turns make for long waits.
    pub fn without_durability(&self) -> &'static str {
        if self.engine == Engine::Sqlite { "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF" } else { "" }
    }

    /// How a statement names its first parameter.
    pub fn parameter(&self) -> &'static str {
        if self.engine == Engine::Postgres { "$1" } else { "?" }
    }

    /// A statement that takes so many seconds and gives one row.
    pub fn sleep(&self, seconds: u32) -> String {
        match self.engine {
            // Some 20 million steps a second, at the most.
            Engine::Sqlite => format!(
                "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < {seconds} * 20000000) \
                 SELECT COUNT(*) FROM step"
            ),
            Engine::Postgres => format!("SELECT pg_sleep({seconds})"),
            Engine::Mysql | Engine::Mariadb => format!("SELECT SLEEP({seconds})"),
        }
    }

    /// SQLite lets another write just if no transaction that writes is open.
    async fn writer_holds_the_file(&self) -> i64 {
        use std::str::FromStr;
        let options = sqlx::sqlite::SqliteConnectOptions::from_str(&self.url)
            .expect("a URL")
            .busy_timeout(std::time::Duration::ZERO);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("a connection");
        i64::from(sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.is_err())
    }

    /// Executes a statement, outside of the service.
    pub async fn execute(&self, sql: &str) {
        let url = Url::parse(&self.url).expect("a URL");
        execute(self.engine, &url, sql).await;
    }

    /// How the definition of a text column ends that ignores case, in a collation that is made if there is none.
    pub async fn ignoring_case(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "COLLATE NOCASE",
            Engine::Mysql | Engine::Mariadb => "COLLATE utf8mb4_general_ci",
            Engine::Postgres => {
                let sql = "CREATE COLLATION IF NOT EXISTS ignoring_case \
                           (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
                self.execute(sql).await;
                "COLLATE ignoring_case"
            }
        }
    }

    /// A transaction that holds the table `tags` against every writer until it is dropped.
    pub async fn lock_tags(&self) -> Lock {
        match self.engine {
            Engine::Sqlite => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url).await.expect("a connection");
                sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("a lock");
                Lock::Sqlite(connection)
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.expect("a connection");
                sqlx::query("BEGIN").execute(&mut connection).await.expect("a transaction");
                sqlx::query("LOCK TABLE tags").execute(&mut connection).await.expect("a lock");
                Lock::Postgres(connection)
            }
            Engine::Mysql | Engine::Mariadb => {
                let mut connection = mysql_connection(&Url::parse(&self.url).expect("a URL")).await;
                sqlx::raw_sql("LOCK TABLES tags WRITE").execute(&mut connection).await.expect("a lock");
                Lock::Mysql(connection)
            }
        }
    }

    /// Drops it if it was made here, whoever is still connected.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn drop(self) {
        if let Kind::OnServer { server, name, is_made_here: true } = &self.kind {
            // A connection that a failed test has left open must not stop the clean-up.
            let force = if self.engine == Engine::Postgres { " WITH (FORCE)" } else { "" };
            execute(self.engine, server, &format!("DROP DATABASE {name}{force}")).await;
        }
    }
}

/// A lock on the table, and the connection that holds it.
#[derive(Debug)]
pub enum Lock {
    /// Of SQLite.
    Sqlite(sqlx::SqliteConnection),
    /// Of MySQL or MariaDB.
    Mysql(MySqlConnection),
    /// Of PostgreSQL.
    Postgres(PgConnection),
}

impl Lock {
    /// Lets go, and waits until the server has.
    pub async fn release(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Mysql(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
        .expect("the connection closes");
    }
}

async fn execute(engine: Engine, url: &Url, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    let (result, closed) = match engine {
        Engine::Sqlite => {
            let url = format!("{url}?mode=rwc");
            let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("a connection");
            let result = sqlx::raw_sql(sql).execute(&mut connection).await;
            (result.map(drop), connection.close().await)
        }
        Engine::Postgres => {
            let mut connection = PgConnection::connect(url.as_str()).await.expect("a connection");
            let result = sqlx::raw_sql(sql).execute(&mut connection).await;
            (result.map(drop), connection.close().await)
        }
        Engine::Mysql | Engine::Mariadb => {
            let mut connection = mysql_connection(url).await;
            let result = sqlx::raw_sql(sql).execute(&mut connection).await;
            (result.map(drop), connection.close().await)
        }
    };
    result.expect("the statement is executed");
    closed.expect("the connection closes");
}

/// The threads of MySQL or MariaDB that have a transaction open, out of InnoDB's report. The table `innodb_trx` would not do:
/// it shows what was so when nobody had read it for a tenth of a second, and so nothing new to those who ask again and again:
/// <https://dev.mysql.com/doc/refman/9.7/en/innodb-information-schema-internal-data.html>.
fn threads_in_transactions(report: &str) -> Vec<u64> {
    let transactions = report.split("---TRANSACTION ").skip(1);
    let open = transactions.filter(|text| text.lines().next().is_some_and(|line| line.contains(", ACTIVE")));
    open.filter_map(|text| text.split_once(" thread id ")?.1.split(',').next()?.parse().ok()).collect()
}

pub(crate) fn number(count: usize) -> i64 {
    i64::try_from(count).expect("a few")
}

pub(crate) async fn mysql_connection(url: &Url) -> MySqlConnection {
    let url = url.as_str().replacen("mariadb:", "mysql:", 1);
    MySqlConnection::connect(&url).await.expect("a connection")
}
