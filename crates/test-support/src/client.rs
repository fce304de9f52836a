//! A connection of whichever engine a URL names.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection};

/// A connection, for tests that ask the same of each engine.
#[derive(Debug)]
pub enum Client {
    /// To a file.
    Sqlite(SqliteConnection),
    /// To MySQL or MariaDB.
    Mysql(MySqlConnection),
    /// To PostgreSQL.
    Postgres(PgConnection),
}

macro_rules! on_driver {
    ($client:expr, $connection:ident => $answer:expr) => {
        match $client {
            Client::Sqlite($connection) => $answer,
            Client::Mysql($connection) => $answer,
            Client::Postgres($connection) => $answer,
        }
    };
}

impl Client {
    /// Connects to the database of a URL; `mariadb:` is a name for `mysql:`.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn try_connect(url: &str) -> Result<Self, sqlx::Error> {
        Ok(match url.split(':').next() {
            Some("sqlite") => Self::Sqlite(SqliteConnection::connect(url).await?),
            Some("postgres" | "postgresql") => Self::Postgres(PgConnection::connect(url).await?),
            _ => Self::Mysql(MySqlConnection::connect(&url.replacen("mariadb:", "mysql:", 1)).await?),
        })
    }

    /// Connects to the database of a URL.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.expect("a connection")
    }

    /// Executes one statement or several.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn try_execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        on_driver!(self, connection => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()))
    }

    /// Executes one statement or several, which must succeed.
    pub async fn execute(&mut self, sql: &str) {
        self.try_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one number that a query gives.
    pub async fn number(&mut self, sql: &str) -> i64 {
        let query = AssertSqlSafe(sql.to_owned());
        on_driver!(self, connection => {
            let row = sqlx::query(query).fetch_one(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            row.get(0)
        })
    }

    /// Has PostgreSQL count what this session has written, as one that stays connected has to. Before 15 nothing goes by what it counts.
    pub async fn have_it_counted(&mut self) {
        if matches!(self, Self::Postgres(_))
            && self.number("SELECT count(*) FROM pg_proc WHERE proname = 'pg_stat_force_next_flush'").await > 0
        {
            self.execute("SELECT pg_stat_force_next_flush()").await;
        }
    }

    /// The server's number for this session.
    ///
    /// # Panics
    ///
    /// For SQLite, which has no sessions.
    pub async fn session(&mut self) -> u64 {
        let sql = match self {
            Self::Sqlite(_) => panic!("a file has no sessions"),
            Self::Mysql(_) => "SELECT CAST(CONNECTION_ID() AS SIGNED)",
            Self::Postgres(_) => "SELECT pg_backend_pid()::bigint",
        };
        u64::try_from(self.number(sql).await).expect("a number")
    }

    /// Closes it, so that the server knows at once.
    pub async fn close(self) {
        on_driver!(self, connection => connection.close().await.expect("a goodbye"));
    }
}
