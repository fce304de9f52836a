//! SeaORM's own connection, over a pool of sqlx's that is watched.

use freshdb_databases::Kind;
use sea_orm::DatabaseConnection;

use crate::test::context::{ArgumentError, Context, FromContext};

impl FromContext for DatabaseConnection {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        match context.kind() {
            #[cfg(feature = "mysql")]
            Kind::Mysql | Kind::Mariadb => {
                Ok(sea_orm::SqlxMySqlConnector::from_sqlx_mysql_pool(sqlx::MySqlPool::from_context(context).await?))
            }
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                Ok(sea_orm::SqlxPostgresConnector::from_sqlx_postgres_pool(sqlx::PgPool::from_context(context).await?))
            }
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => {
                Ok(sea_orm::SqlxSqliteConnector::from_sqlx_sqlite_pool(sqlx::SqlitePool::from_context(context).await?))
            }
            #[allow(unreachable_patterns, reason = "with all features there is no other")]
            kind => Err(format!("freshdb was built without {kind}").into()),
        }
    }
}
