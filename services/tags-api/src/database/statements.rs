//! Statements that SeaORM has built, executed on sqlx.
//!
//! Not by SeaORM: its connection is any of the drivers at run time, and its futures, as large as the largest of them, are
//! moved around for every statement. That took longer than a small query itself.

use sea_orm::Statement;
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, FromRow, SqlSafeStr, Transaction};

use super::dialect::Pool;

/// A row that every driver can read.
pub trait Row:
    for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
    + for<'r> FromRow<'r, sqlx::mysql::MySqlRow>
    + for<'r> FromRow<'r, sqlx::postgres::PgRow>
    + Send
    + Unpin
    + 'static
{
}

impl<R> Row for R where
    R: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
        + for<'r> FromRow<'r, sqlx::mysql::MySqlRow>
        + for<'r> FromRow<'r, sqlx::postgres::PgRow>
        + Send
        + Unpin
        + 'static
{
}

/// An open transaction on one of the engines. Dropped, it is rolled back.
#[derive(Debug)]
pub(super) enum OpenTransaction {
    Sqlite(Transaction<'static, sqlx::Sqlite>),
    MySql(Transaction<'static, sqlx::MySql>),
    Postgres(Transaction<'static, sqlx::Postgres>),
}

/// Where work with the driver went wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// There was no connection to be had.
    Connect(sqlx::Error),
    /// On a connection.
    Execute(sqlx::Error),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Execute(error)
    }
}

impl Pool {
    pub(super) async fn ping(&self) -> Result<(), Fault> {
        match self {
            Self::Sqlite(pool) => ping(pool).await,
            Self::MySql(pool) => ping(pool).await,
            Self::Postgres(pool) => ping(pool).await,
        }
    }

    pub(super) async fn fetch<R: Row>(&self, statement: &Statement) -> Result<Vec<R>, Fault> {
        let (sql, values) = parts(statement);
        Ok(match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await.map_err(Fault::Connect)?;
                sqlx::query_as_with(sql, values).fetch_all(&mut *connection).await?
            }
            Self::MySql(pool) => {
                let mut connection = pool.acquire().await.map_err(Fault::Connect)?;
                sqlx::query_as_with(sql, values).fetch_all(&mut *connection).await?
            }
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await.map_err(Fault::Connect)?;
                sqlx::query_as_with(sql, values).fetch_all(&mut *connection).await?
            }
        })
    }

    /// Begins a transaction that is going to write.
    pub(super) async fn begin(&self) -> Result<OpenTransaction, Fault> {
        Ok(match self {
            // A transaction that begins as a reader and then writes fails at once if another has written in between, and
            // no waiting helps: <https://www.sqlite.org/lang_transaction.html>.
            Self::Sqlite(pool) => {
                let connection = pool.acquire().await.map_err(Fault::Connect)?;
                OpenTransaction::Sqlite(Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await?)
            }
            Self::MySql(pool) => {
                let connection = pool.acquire().await.map_err(Fault::Connect)?;
                OpenTransaction::MySql(Transaction::begin(connection, None).await?)
            }
            Self::Postgres(pool) => {
                let connection = pool.acquire().await.map_err(Fault::Connect)?;
                OpenTransaction::Postgres(Transaction::begin(connection, None).await?)
            }
        })
    }
}

impl OpenTransaction {
    /// Executes a statement, and says how many rows it affected.
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<u64, sqlx::Error> {
        let (sql, values) = parts(statement);
        Ok(match self {
            Self::Sqlite(open) => sqlx::query_with(sql, values).execute(&mut **open).await?.rows_affected(),
            Self::MySql(open) => sqlx::query_with(sql, values).execute(&mut **open).await?.rows_affected(),
            Self::Postgres(open) => sqlx::query_with(sql, values).execute(&mut **open).await?.rows_affected(),
        })
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(open) => open.commit().await,
            Self::MySql(open) => open.commit().await,
            Self::Postgres(open) => open.commit().await,
        }
    }

    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(open) => open.rollback().await,
            Self::MySql(open) => open.rollback().await,
            Self::Postgres(open) => open.rollback().await,
        }
    }
}

async fn ping<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> Result<(), Fault> {
    let mut connection = pool.acquire().await.map_err(Fault::Connect)?;
    Ok(sqlx::Connection::ping(&mut *connection).await?)
}

/// The text, which SeaORM has built and which holds no value, and the values.
fn parts(statement: &Statement) -> (AssertSqlSafe<&str>, SqlxValues) {
    let values = statement.values.clone().unwrap_or_else(|| sea_orm::Values(Vec::new()));
    (AssertSqlSafe(statement.sql.as_str()), SqlxValues(values))
}
