//! PostgreSQL.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{Door, Ending, Engine, Invocation};
use crate::schema::BoxFuture;
use crate::server::programs::Program;
use crate::{DatabaseUrl, Error, ErrorKind, Kind};

pub(super) struct Postgres;

/// By the socket there is no password: whoever gets into its directory is the server's user, or root. By TCP, everybody
/// on the machine may knock. `md5` takes a password as it was stored, for SCRAM too.
const ACCESS: &str = "\
local all all trust
host all all 127.0.0.1/32 md5
host replication all 127.0.0.1/32 md5
";

/// With SCRAM, a driver hashes the password four thousand times for each connection, which takes longer than the rest of it. That
/// protects passwords that can be guessed, which a server's own cannot be. Servers that know no other way refuse this.
const QUICK_PASSWORDS: &str = "SET password_encryption = 'md5'";

/// Compares by code points and knows upper case from lower. Where that locale does not exist, the one that always does.
const LOCALE: &str = if cfg!(target_os = "macos") { "--locale=C" } else { "--locale=C.UTF-8" };

/// As one of several directories, which have a comma between them, and may be in double quotes:
/// <https://www.postgresql.org/docs/15/runtime-config-connection.html#GUC-UNIX-SOCKET-DIRECTORIES>.
fn as_one(directory: &Path) -> OsString {
    let bytes = directory.as_os_str().as_bytes();
    let doubled = bytes.iter().flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
    OsString::from_vec([b'"'].into_iter().chain(doubled).chain([b'"']).collect())
}

impl Engine for Postgres {
    fn kind(&self) -> Kind {
        Kind::Postgres
    }

    /// PGSSLMODE says of every URL without an `sslmode` whether it needs TLS, to the drivers of tests as to sqlx:
    /// <https://www.postgresql.org/docs/current/libpq-envars.html>.
    fn can_be_reached(&self) -> Result<(), Error> {
        let mode = PgConnectOptions::new_without_pgpass().get_ssl_mode();
        if !matches!(mode, PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            "a private PostgreSQL has no TLS, without which PGSSLMODE lets nobody connect",
        )
        .hint("unset PGSSLMODE, or set FRESHDB_POSTGRES_URL to the URL of a server that has TLS"))
    }

    fn programs(&self) -> &'static [&'static str] {
        &["postgres"]
    }

    fn directories(&self) -> &'static [&'static str] {
        &[
            "/usr/lib/postgresql/*/bin",
            "/usr/pgsql-*/bin",
            "/usr/libexec/postgresql*",
            "/usr/local/pgsql/bin",
            "/opt/homebrew/opt/postgresql*/bin",
            "/usr/local/opt/postgresql*/bin",
        ]
    }

    fn directories_in_cache(&self) -> &'static [&'static str] {
        &["postgres-*/usr/lib/postgresql/*/bin"]
    }

    fn source(&self) -> &'static str {
        "on Debian and Ubuntu the package `postgresql`"
    }

    fn version<'a>(&self, banner: &'a str) -> Option<&'a str> {
        banner.split_once("(PostgreSQL) ").map(|(_, version)| version.trim())
    }

    fn initialisers(&self) -> &'static [&'static str] {
        &["initdb"]
    }

    fn initialise(&self, program: &Program, data: &Path) -> Invocation {
        Invocation::new(&program.initialiser).option("--pgdata", data).arguments([
            "--username=postgres",
            "--encoding=UTF8",
            LOCALE,
            "--auth=reject",
            "--no-sync",
        ])
    }

    fn keeps_time_zone(&self) -> bool {
        true
    }

    fn complete(&self, data: &Path) -> io::Result<()> {
        fs::write(data.join("pg_hba.conf"), ACCESS)
    }

    fn files(&self, _door: &Door) -> Vec<(PathBuf, String)> {
        Vec::new()
    }

    /// Durability is off and the size is modest. Nothing that changes what a statement means.
    fn serve(&self, program: &Program, door: &Door) -> Invocation {
        let mut invocation = Invocation::new(&program.server).argument("-D").argument(door.data());
        invocation =
            invocation.argument("-k").argument(as_one(&door.directory)).arguments(["-p", &door.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_permissions=0700",
            "max_connections=300",
            "max_prepared_transactions=64",
            "shared_buffers=64MB",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "autovacuum=off",
            "track_counts=on",
            // In the data directory, so that it goes with it even after a SIGKILL.
            "dynamic_shared_memory_type=mmap",
        ] {
            invocation = invocation.arguments(["-c", setting]);
        }
        Invocation { ending: Ending::Quit, ..invocation }
    }

    fn url(&self, door: &Door) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", door.password, door.port)
    }

    fn socket(&self, door: &Door) -> PathBuf {
        door.directory.clone()
    }

    /// Until the administrator has a password, nobody gets in by TCP.
    fn ask<'a>(&'a self, door: &'a Door, url: &'a DatabaseUrl) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let by_socket = PgConnectOptions::new_without_pgpass()
                .socket(&door.directory)
                .port(door.port)
                .username("postgres")
                .database("postgres")
                // Since 18 the server warns of MD5, which is none of the user's doing.
                .options([("client_min_messages", "error")])
                .disable_statement_logging();
            let mut connection = by_socket.connect().await?;
            match sqlx::raw_sql(QUICK_PASSWORDS).execute(&mut connection).await {
                Err(sqlx::Error::Database(error)) => tracing::debug!("passwords are stored for SCRAM: {error}"),
                done => {
                    done?;
                }
            }
            let statement = format!("ALTER ROLE postgres PASSWORD '{}'", door.password);
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
            connection.close().await?;

            let by_tcp = PgConnectOptions::from_str(&url.for_sqlx())?.ssl_mode(PgSslMode::Disable);
            by_tcp.disable_statement_logging().connect().await?.close().await
        })
    }
}
