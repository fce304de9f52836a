//! SQL text, and where in it a statement failed.

use std::borrow::Cow;

#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgErrorPosition};

use super::delimiter::{self, Statement};
use crate::dialect::{MAKE_ROOM, is_full};
use crate::schema::Target;
use crate::schema::connection::{Connection, Failed, Session, is_refused_in_transaction, refuse_nul};
use crate::{Error, ErrorKind, Kind};

/// A text of one statement or several.
pub(super) struct Script<'a> {
    /// As messages name it.
    pub(super) name: String,
    pub(super) text: &'a str,
}

impl Script<'_> {
    pub(super) async fn run(&self, target: &Target) -> Result<(), Error> {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(self.text);
        // To MySQL, nothing at all is an error.
        if text.chars().all(|sign| sign.is_whitespace() || sign == ';') {
            return Ok(());
        }
        refuse_nul(target.kind(), text, &self.name)?;
        self.refuse_to_leave(target, text)?;
        let mut connection = Connection::open(target, Session::Server).await?;
        let done = match target.kind() {
            Kind::Mysql | Kind::Mariadb if delimiter::is_set_in(text) => {
                self.run_split(&mut connection, &delimiter::as_sent(text)).await
            }
            Kind::Mysql | Kind::Mariadb => self.run_at_once(&mut connection, &delimiter::as_sent(text)).await,
            Kind::Postgres => self.run_at_once(&mut connection, &without_restrictions(text)).await,
            Kind::Sqlite => self.run_at_once(&mut connection, text).await,
        };
        connection.close_after(done).await
    }

    /// Whatever follows would be done to a database that others use.
    fn refuse_to_leave(&self, target: &Target, text: &str) -> Result<(), Error> {
        let own = match target.kind() {
            Kind::Mysql | Kind::Mariadb => target.url().database().unwrap_or_default(),
            _ => return Ok(()),
        };
        let Some((line, other)) = delimiter::leaves(text, &own) else { return Ok(()) };
        let fact = format!("line {line} of {} goes on to another database, `{other}`", self.name);
        Err(Error::new(ErrorKind::Schema, fact)
            .hint("leave the `USE` out: each test has a database of another name; `mysqldump` without `--databases` writes none"))
    }

    async fn run_at_once(&self, connection: &mut Connection, text: &str) -> Result<(), Error> {
        connection.execute(text).await.map_err(|Failed { succeeded, error }| {
            let place = match line_of(&error, text) {
                Some(line) => format!("line {line}"),
                None => format!("statement {}", succeeded + 1),
            };
            let hint = lacks_a_sign(&error).or_else(|| hint(&error, text));
            self.failure(&place, error, hint)
        })
    }

    /// As the servers' own client does it, one statement after the other.
    async fn run_split(&self, connection: &mut Connection, text: &str) -> Result<(), Error> {
        let statements = delimiter::split(text).map_err(|line| {
            let fact = format!("line {line} of {} is a `DELIMITER` without one", self.name);
            Error::new(ErrorKind::Schema, fact)
                .hint("write `DELIMITER //`, or another sign that the statements do not hold")
        })?;
        for (index, Statement { text, line, .. }) in statements.into_iter().enumerate() {
            connection.execute(text).await.map_err(|failed| {
                let hint = lacks_a_sign(&failed.error);
                self.failure(&format!("statement {}, on line {line},", index + 1), failed.error, hint)
            })?;
        }
        Ok(())
    }

    fn failure(&self, place: &str, error: sqlx::Error, hint: Option<&str>) -> Error {
        let hint = if is_full(&error) { Some(MAKE_ROOM) } else { hint };
        let failure = Error::new(ErrorKind::Schema, format!("{place} of {} fails", self.name)).because(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// PostgreSQL alone says where, and not for every error.
fn line_of(error: &sqlx::Error, text: &str) -> Option<usize> {
    #[cfg(feature = "postgres")]
    {
        let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
        let PgErrorPosition::Original(position) = error.position()? else { return None };
        Some(1 + text.chars().take(position.saturating_sub(1)).filter(|character| *character == '\n').count())
    }
    #[cfg(not(feature = "postgres"))]
    {
        let _ = (error, text);
        None
    }
}

/// What can be done where MySQL or MariaDB, whose own default is Latin 1 up to 11.5, cannot store a text as a column has it:
/// <https://mariadb.com/kb/en/setting-character-sets-and-collations/>.
fn lacks_a_sign(error: &sqlx::Error) -> Option<&'static str> {
    let error = error.as_database_error()?;
    error.message().starts_with("Incorrect string value").then_some(
        "the column's character set has no such sign; where a table names none it is the database's, which \
         `ALTER DATABASE CHARACTER SET utf8mb4` at the beginning of the schema sets",
    )
}

/// Whether PostgreSQL has nowhere to create what is named without a schema. A schema that is named, and not there, has the same code.
fn finds_no_schema(error: &sqlx::Error) -> bool {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) {
        return error.code() == "3F000"
            && error.routine().is_some_and(|routine| routine.ends_with("CreationNamespace"));
    }
    #[cfg(not(feature = "postgres"))]
    let _ = error;
    false
}

/// What can be done where the session's `search_path` is to blame: <https://www.postgresql.org/docs/15/ddl-schemas.html#DDL-SCHEMAS-PATH>.
fn names_a_schema_that_is_not_there() -> &'static str {
    // The driver reads it as libpq does.
    #[cfg(feature = "postgres")]
    if PgConnectOptions::new_without_pgpass().get_options().is_some_and(|options| options.contains("search_path")) {
        return "the variable PGOPTIONS sets a `search_path`, of which a new database has no schema: unset it, or begin with \
                `CREATE SCHEMA`";
    }
    "the `search_path` of the server, of its role or of its URL names no schema that a new database has: begin with \
     `CREATE SCHEMA`, or with `SET search_path TO public`"
}

/// What can be done about an error of PostgreSQL's: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn hint(error: &sqlx::Error, text: &str) -> Option<&'static str> {
    if is_refused_in_transaction(error) {
        return Some(
            "PostgreSQL runs the statements of one file as one transaction; put the one that refuses to be part of that \
             into a file of its own",
        );
    }
    if finds_no_schema(error) {
        return Some(names_a_schema_that_is_not_there());
    }
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let copies = || text.to_ascii_lowercase().contains("from stdin");
    match code.as_deref() {
        Some("42601") if text.lines().any(|line| line.starts_with("\\connect ") || line.starts_with("\\c ")) => Some(
            "leave the `\\connect` out, which is for psql: each test has a database of another name; `pg_dump` without `--create` \
             writes none",
        ),
        Some("42601") if text.lines().any(|line| line.starts_with('\\')) => Some(
            "a line that begins with a backslash is for psql, not for the server: let `pg_dump` write the rows with `--inserts`",
        ),
        // Rows are no statement. Where there are none, the server waits for them, which the driver does not understand.
        code if (code == Some("42601") || matches!(error, sqlx::Error::Protocol(_))) && copies() => {
            Some("the rows behind `COPY … FROM stdin` are for psql: let `pg_dump` write them with `--inserts`")
        }
        _ => None,
    }
}

/// Without the lines by which `pg_dump` forbids psql its own commands, of which there are none here:
/// <https://www.postgresql.org/docs/current/app-psql.html>. What comes behind them stays on its line.
fn without_restrictions(text: &str) -> Cow<'_, str> {
    fn is_one(line: &str) -> bool {
        let key = line.strip_prefix("\\restrict ").or_else(|| line.strip_prefix("\\unrestrict "));
        key.map(str::trim_end).is_some_and(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric()))
    }
    if !text.lines().any(is_one) {
        return text.into();
    }
    // The ends of the other lines are part of texts.
    text.split_inclusive('\n').map(|line| if is_one(line) { "\n" } else { line }).collect::<String>().into()
}
