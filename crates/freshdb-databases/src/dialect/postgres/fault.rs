//! What the server's errors mean.

use sqlx::postgres::PgDatabaseError;

use super::super::{Fault, REGISTRY, explain, refuses_certificate};
use super::Postgres;
use super::connection::sqlstate;
use crate::Error;

/// The tables of freshdb's own, as the server names them.
const BOOKS: [&str; 2] = ["freshdb_databases", "freshdb_contents"];

/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn fault(error: &sqlx::Error) -> Fault {
    match error {
        error if refuses_certificate(error) => return Fault::Untrusted { parameter: "sslrootcert" },
        // `Protocol`: the server hung up in the middle of an answer.
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => return Fault::Lost,
        _ => {}
    }
    let Some(code) = sqlstate(error) else { return Fault::Other };
    match code.as_str() {
        "53300" => Fault::TooManyConnections { limit: limit(error) },
        "42501" => {
            let said = of_postgres(error);
            let message = said.map_or("", PgDatabaseError::message);
            let detail = said.and_then(PgDatabaseError::detail).unwrap_or_default();
            let grant = grant(message, detail, routine(error));
            // A table is granted in the database that has it, and an administrator's session is in another at first.
            let within = BOOKS.iter().any(|table| grant.contains(table)).then_some(REGISTRY);
            Fault::Denied { grant, within }
        }
        // Ended by an administrator, by a crash, or not ready yet.
        "57P01" | "57P02" | "57P03" | "57P05" => Fault::Lost,
        // No line of `pg_hba.conf` lets this session in, and a line of `hostssl` may let one in that is encrypted. Before 14 the words
        // were others.
        "28000" if is_unencrypted(error) => Fault::Unencrypted { parameter: "sslmode=require" },
        "53100" | "53200" => Fault::Full,
        // What every session writes first, if nobody has yet. Why it could not, the server does not say.
        "XX000" if error.as_database_error().is_some_and(|error| error.message() == "could not write init file") => {
            Fault::Full
        }
        "55P03" => Fault::Locked { list: "`SELECT * FROM pg_stat_activity` and `SELECT * FROM pg_prepared_xacts`" },
        code if code.starts_with("08") => Fault::Lost,
        _ => Fault::Other,
    }
}

/// Whether the server does not do it for a reason of the schema's.
pub(super) fn is_refused(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some() && !matches!(fault(error), Fault::Lost | Fault::Full)
}

fn is_unencrypted(error: &sqlx::Error) -> bool {
    let message = error.as_database_error().map_or("", |error| error.message());
    message.contains("pg_hba.conf") && (message.ends_with("no encryption") || message.ends_with("SSL off"))
}

fn of_postgres(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// Which of the server's functions says it, in whatever language the server does.
fn routine(error: &sqlx::Error) -> &str {
    of_postgres(error).and_then(PgDatabaseError::routine).unwrap_or_default()
}

fn limit(error: &sqlx::Error) -> &'static str {
    match routine(error) {
        "InitializeSessionUserId" => "the role's limit, by `ALTER ROLE <user> CONNECTION LIMIT <number>`",
        "CheckMyDatabase" => "the `CONNECTION LIMIT` that the schema sets for its database",
        _ => "the server's `max_connections`",
    }
}

/// What a superuser has to say so that it is permitted. The server does not tell whom it refused: `<user>` is the one in the URL.
fn grant(message: &str, detail: &str, routine: &str) -> String {
    let quoted = message.split(['"', '»', '«', '„', '“', '”']).nth(1).map(str::trim);
    let denied = |kind: &str| message.strip_prefix("permission denied for ")?.strip_prefix(kind)?.strip_prefix(' ');
    // It says of no database that it may not be made, and of one that it may not be copied.
    let statement = if routine == "createdb" && quoted.is_none() {
        "ALTER ROLE <user> CREATEDB"
    } else if message.contains("terminate") && !is_about_a_superuser(message, detail) {
        "GRANT pg_signal_backend TO <user>"
    } else if let (true, Some(parameter)) = (GRANTS_PARAMETERS.contains(&routine), quoted) {
        return format!("GRANT SET ON PARAMETER {parameter} TO <user>");
    } else if let (true, Some(role)) = (ABOUT_MEMBERSHIP.contains(&routine), quoted) {
        return format!("GRANT {role} TO <user>");
    } else if routine == "CheckMyDatabase" || message.contains("permission denied for database") {
        return format!("GRANT CONNECT ON DATABASE {} TO <user>", quoted.unwrap_or("<database>"));
    } else if let Some(schema) = denied("schema") {
        return format!("GRANT ALL ON SCHEMA {schema} TO <user>");
    } else if let Some(table) = denied("table").filter(|table| BOOKS.contains(table)) {
        return format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO <user>");
    } else if let Some(table) = denied("table") {
        return format!("GRANT ALL ON TABLE {table} TO <user>");
    } else if routine == "check_enable_rls" {
        // `FORCE ROW LEVEL SECURITY` hides rows from their owner, too.
        "ALTER ROLE <user> BYPASSRLS"
    } else {
        "ALTER ROLE <user> SUPERUSER"
    };
    statement.to_owned()
}

/// Servers before 15 grant no parameters, and say so by `set_config_option`. 15 does by the first of these.
const GRANTS_PARAMETERS: [&str; 2] = ["set_config_option_ext", "set_config_with_handle"];

/// Whoever makes another role the owner of something must be a member of it. Servers before 16 find that out by the first.
const ABOUT_MEMBERSHIP: [&str; 2] = ["check_is_member_of_role", "check_can_set_role"];

/// Nobody else may end a superuser's session. Servers before 16 say so in the message, others in its detail.
fn is_about_a_superuser(message: &str, detail: &str) -> bool {
    message.contains("superuser process") || detail.contains("SUPERUSER")
}

/// An error of this crate's out of the driver's.
pub(super) fn failed(fact: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Error {
    |error| explain::<Postgres>(fact, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a German server says it, and a French one.
    #[test]
    fn what_is_missing_is_told_whatever_the_server_speaks() {
        for (message, routine, expected) in [
            ("keine Berechtigung, um Datenbank zu erzeugen", "createdb", "ALTER ROLE <user> CREATEDB"),
            (
                "keine Berechtigung, um Parameter »session_replication_role« zu setzen",
                "set_config_option_ext",
                "GRANT SET ON PARAMETER session_replication_role TO <user>",
            ),
            (
                "keine Berechtigung, um Parameter »session_replication_role« zu setzen",
                "set_config_option",
                "ALTER ROLE <user> SUPERUSER",
            ),
            ("keine Berechtigung, um Datenbank »d« zu kopieren", "createdb", "ALTER ROLE <user> SUPERUSER"),
            ("doit être un membre du rôle « r »", "check_is_member_of_role", "GRANT r TO <user>"),
            ("keine Berechtigung für Datenbank »d«", "CheckMyDatabase", "GRANT CONNECT ON DATABASE d TO <user>"),
        ] {
            assert_eq!(grant(message, "", routine), expected);
        }
    }
}
