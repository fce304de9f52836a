//! PostgreSQL.

use std::time::Duration;

use freshdb::{OrmSession, PgEngine};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::async_trait::async_trait;

use super::{
    Dialect, Driver, Opened, TlsParameters, driver_error, migrated_elsewhere, takes_writes, unreachable_server,
};
use crate::database::error::OpenError;
use crate::database::open::Options;
use crate::database::url::DatabaseUrl;

#[derive(Debug)]
pub(super) struct Postgres;

/// Compares the bytes, and UTF-8's bytes are ordered as its code points are.
pub(super) const COLLATION_BY_CODE_POINT: &str = "\"C\"";

#[async_trait]
impl Dialect for Postgres {
    async fn open(&self, url: &DatabaseUrl, options: &Options) -> Result<Opened, OpenError> {
        // And not as sqlx parses it, which logs what it does not know: it may be a password.
        let driver = PgEngine::driver_options(&url.reveal())
            .map_err(|error| OpenError::of(url, &error))?
            .application_name("tags-api");
        let engine =
            options.engine().lazy_with::<sqlx::Postgres>(driver.clone()).map_err(|error| OpenError::of(url, &error))?;
        let mut session = engine.session().await.map_err(|error| OpenError::of(url, &error))?;
        let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
            .fetch_one(&mut session)
            .await
            .map_err(|error| self.cannot_open(url, &error))?;
        if encoding != "UTF8" {
            return Err(OpenError {
                sentence: format!("cannot use {url}: its encoding is {encoding}, in which most tags cannot be stored"),
                hint: Some(format!(
                    "create it with CREATE DATABASE \"{}\" ENCODING 'UTF8' TEMPLATE template0",
                    url.database()
                )),
            });
        }
        Ok(Opened { engine: engine.into(), driver: Driver::Postgres(driver) })
    }

    fn cannot_open(&self, url: &DatabaseUrl, error: &sqlx::Error) -> OpenError {
        let Some(state) = sqlstate(error) else { return unreachable_server(url, error, &TLS) };
        let message = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        let hint = match state.as_str() {
            // The server says so in its own language, but for the file's name: <https://www.postgresql.org/docs/15/auth-pg-hba-conf.html>.
            "28000" if message.contains("pg_hba.conf") => Some(hint_at_hba(url).to_owned()),
            // <https://www.pgbouncer.org/config.html#ignore_startup_parameters>
            "08P01" if message.contains("extra_float_digits") => Some(
                "let PgBouncer pass over what the driver asks for: ignore_startup_parameters = extra_float_digits"
                    .to_owned(),
            ),
            "42P05" | "26000" => Some(SHARED_SESSION.to_owned()),
            "28P01" | "28000" => Some("see that the user and the password in the URL are right".to_owned()),
            "3D000" => Some(format!("create it: CREATE DATABASE \"{}\"", url.database())),
            _ => None,
        };
        OpenError { sentence: format!("cannot open {url}: {message}"), hint }
    }

    /// `duplicate_prepared_statement`, and one that does not exist.
    fn hint(&self, error: &sqlx::Error) -> Option<&'static str> {
        matches!(sqlstate(error)?.as_str(), "42P05" | "26000").then_some(SHARED_SESSION)
    }

    /// `insufficient_privilege`
    fn hint_at_history(&self, error: &sqlx::Error) -> Option<&'static str> {
        (sqlstate(error)? == "42501")
            .then_some("let the user see which migrations were applied: GRANT SELECT ON seaql_migrations TO …")
    }

    /// The setting is on in a standby, and follows `default_transaction_read_only`.
    async fn ping(&self, session: &OrmSession) -> Result<(), DbErr> {
        let sql = "SELECT current_setting('transaction_read_only')";
        let row = session.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        match row.map(|row| row.try_get_by_index::<String>(0)).transpose()?.as_deref() {
            Some("off") => Ok(()),
            _ => takes_writes(session).await,
        }
    }

    /// Held to the end of the transaction, in which all of the migration happens. The number is this service's own.
    async fn lock_migrations(&self, transaction: &DatabaseTransaction, wait: Duration) -> Result<(), DbErr> {
        transaction.execute_unprepared(&format!("SET LOCAL lock_timeout = {}", wait.as_millis())).await?;
        let locked = transaction.execute_unprepared("SELECT pg_advisory_xact_lock(8387794213964869)").await;
        locked.map_err(|error| if is_lock_timeout(&error) { migrated_elsewhere(wait) } else { error })?;
        // The migration itself waits for others as long as the server's settings say.
        transaction.execute_unprepared("SET LOCAL lock_timeout TO DEFAULT").await.map(|_| ())
    }

    async fn unlock_migrations(&self, _transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        Ok(())
    }
}

/// The driver has prepared something in a session that was another one's a moment later.
const SHARED_SESSION: &str = "a pooler gives each transaction another session: connect to the server itself, or set PgBouncer's pool_mode = session";

const TLS: TlsParameters = TlsParameters { mode: "sslmode", any_name: "verify-ca", authority: "sslrootcert" };

/// The driver tries TLS first where the URL leaves that open.
fn hint_at_hba(url: &DatabaseUrl) -> &'static str {
    let is_plain = url.parameter("sslmode").or_else(|| url.parameter("ssl-mode"));
    match is_plain.as_deref() {
        Some("disable" | "allow") => "the server may want TLS: write `?sslmode=require` in the URL",
        _ => "let the user in, from this host and to this database, in the server's pg_hba.conf",
    }
}

/// The catalog shows tables to everybody. No statement may fail here: it would end the transaction.
pub(super) async fn has_history(connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables \
               WHERE schemaname = current_schema() AND tablename = 'seaql_migrations')";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}

/// `lock_not_available`: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn is_lock_timeout(error: &DbErr) -> bool {
    driver_error(error).and_then(sqlstate).is_some_and(|state| state == "55P03")
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
