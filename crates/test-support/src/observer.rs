//! A connection of the test's own, which stays open: what it sees is what others see, at the price of a statement.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection};
use url::Url;

use crate::engines::{Engine, TestDatabase, mysql_connection, number};
use crate::processes::processes_beside;

/// A connection to a test's database, beside those of what is tested.
#[derive(Debug)]
pub enum Observer {
    /// Of SQLite.
    Sqlite(SqliteConnection),
    /// Of MySQL or MariaDB.
    Mysql(MySqlConnection),
    /// Of PostgreSQL.
    Postgres(PgConnection),
}

impl TestDatabase {
    /// Connects to it, past whatever the test has put in between.
    pub async fn observer(&self) -> Observer {
        match self.engine {
            Engine::Sqlite => Observer::Sqlite(SqliteConnection::connect(self.url()).await.expect("a connection")),
            Engine::Postgres => Observer::Postgres(PgConnection::connect(self.url()).await.expect("a connection")),
            Engine::Mysql | Engine::Mariadb => {
                Observer::Mysql(mysql_connection(&Url::parse(self.url()).expect("a URL")).await)
            }
        }
    }
}

impl Observer {
    /// The first column of each row, as numbers.
    pub async fn numbers(&mut self, sql: &str) -> Vec<i64> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(connection) => {
                query.fetch_all(connection).await.expect("rows").iter().map(|row| row.get_unchecked(0)).collect()
            }
            Self::Mysql(connection) => {
                query.fetch_all(connection).await.expect("rows").iter().map(|row| row.get_unchecked(0)).collect()
            }
            Self::Postgres(connection) => {
                query.fetch_all(connection).await.expect("rows").iter().map(|row| row.get_unchecked(0)).collect()
            }
        }
    }

    /// A single number.
    pub async fn number(&mut self, sql: &str) -> i64 {
        self.numbers(sql).await[0]
    }

    /// Executes statements.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub async fn try_execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(connection) => query.execute(connection).await.map(|_| ()),
            Self::Mysql(connection) => query.execute(connection).await.map(|_| ()),
            Self::Postgres(connection) => query.execute(connection).await.map(|_| ()),
        }
    }

    /// How many others execute a statement at this moment. SQLite has no list of them: there it is 1 if another writes.
    pub async fn statements_running(&mut self) -> i64 {
        match self {
            Self::Sqlite(_) => {
                let at_once = "PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; ROLLBACK";
                i64::from(self.try_execute(at_once).await.is_err())
            }
            Self::Mysql(connection) => {
                number(processes_beside(connection).await.iter().filter(|process| process.is_executing()).count())
            }
            Self::Postgres(_) => {
                let sql = "SELECT COUNT(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'";
                self.number(sql).await
            }
        }
    }

    /// How many sessions others have; an embedded database has none.
    pub async fn sessions(&mut self) -> i64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Mysql(connection) => number(processes_beside(connection).await.len()),
            Self::Postgres(_) => {
                let sql = "SELECT COUNT(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                self.number(sql).await
            }
        }
    }

    /// Ends a session, as an administrator would. One that is gone already is no failure.
    pub async fn kill(&mut self, id: u64) {
        match self {
            Self::Sqlite(_) => panic!("a file has no server"),
            // 1094: there is no such session.
            Self::Mysql(_) => drop(self.try_execute(&format!("KILL {id}")).await),
            Self::Postgres(_) => {
                self.try_execute(&format!("SELECT pg_terminate_backend({id})")).await.expect("an answer");
            }
        }
    }
}
