//! A connection of SeaORM's own, closed before the schema is done.

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use crate::schema::Target;
use crate::{Error, ErrorKind};

pub(super) async fn open(target: &Target) -> Result<DatabaseConnection, Error> {
    let mut options = ConnectOptions::new(target.url().for_sqlx());
    options.sqlx_logging(false);
    #[cfg(feature = "mysql")]
    options.map_sqlx_mysql_opts(crate::url::mysql);
    #[cfg(feature = "postgres")]
    options.map_sqlx_postgres_opts(crate::url::postgres);
    Database::connect(options).await.map_err(|error| {
        let fact = format!("cannot connect to `{}`, to apply the schema", target.url());
        Error::new(ErrorKind::Schema, fact).because(error)
    })
}

/// What went wrong before comes first.
pub(super) async fn close_after(connection: DatabaseConnection, done: Result<(), Error>) -> Result<(), Error> {
    match (done, connection.close().await) {
        (Ok(()), closed) => closed.map_err(unclosed),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(unclosed)) => {
            tracing::warn!(error = %unclosed, "the connection that failed to apply a schema does not close");
            Err(error)
        }
    }
}

fn unclosed(error: DbErr) -> Error {
    Error::new(ErrorKind::Schema, "the connection that applied the schema does not close").because(error)
}
