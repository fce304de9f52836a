//! Whether a server of the user's is there, and what its variable says that it is.

#[cfg(any(feature = "mysql", feature = "postgres"))]
use std::time::Duration;

use crate::config::url_variable;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::dialect::{Dialect, explain};
use crate::{DatabaseUrl, Error, ErrorKind, Kind};

/// How long it may take to answer.
#[cfg(any(feature = "mysql", feature = "postgres"))]
const LIMIT: Duration = Duration::from_secs(10);

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(super) async fn check<D: Dialect>(url: &DatabaseUrl) -> Result<(), Error> {
    let asked = url.kind();
    let private = |error: Error| match url_variable(asked) {
        Some(variable) => error.hint(format!("start it, or unset {variable}, and a private one is started")),
        None => error,
    };
    let engine = match tokio::time::timeout(LIMIT, D::engine(url)).await {
        Ok(Ok(engine)) => engine,
        Ok(Err(error)) => {
            let error = explain::<D>(format!("cannot use the server `{url}`"), error);
            return Err(match error.kind() {
                ErrorKind::Unreachable => private(error),
                ErrorKind::Database if url.does_without_tls() && is_of_password(&error) => error.hint(
                    "check the user and the password; and leave `ssl-mode=disabled` out of the URL, for MariaDB refuses a password, too, \
                     where it takes TLS alone",
                ),
                _ => error,
            });
        }
        Err(_) => {
            let fact = format!("cannot use the server `{url}`: it has not answered in {LIMIT:?}");
            return Err(private(Error::new(ErrorKind::Unreachable, fact)));
        }
    };
    is_as_asked(url, engine)
}

/// By the SQLSTATE of the standard.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn is_of_password(error: &Error) -> bool {
    let said = error.driver_error().and_then(sqlx::Error::as_database_error);
    said.and_then(sqlx::error::DatabaseError::code).as_deref() == Some("28000")
}

/// Whether a server is of the engine that its URL says: their protocol may be one, and drivers connect to either.
pub(crate) fn is_as_asked(url: &DatabaseUrl, engine: Kind) -> Result<(), Error> {
    let asked = url.kind();
    if engine == asked {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Config, format!("the server `{url}` is {engine}, and not {asked}"));
    Err(match url_variable(engine) {
        Some(variable) => error.hint(format!("name it in {variable}, as `{}://…`", engine.name())),
        None => error,
    })
}
