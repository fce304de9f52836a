//! What errors say, for people.

use std::error::Error as StdError;

use sqlx::error::DatabaseError;

/// What an error says, for people: its own words, but for the line that PostgreSQL's driver adds, as in `at line 1188`. That is where in the
/// server's own source the error was raised, and is taken for a line of the statement. The error may be the driver's, freshdb's or
/// SeaORM's, or one that repeats what such a one says behind it.
///
/// ```
/// use freshdb::words;
///
/// // Of PostgreSQL's it is `relation "tags" does not exist`, and no more.
/// let error = sqlx::Error::RowNotFound;
/// assert_eq!(words(&error), error.to_string());
/// ```
pub fn words(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string();
    match of_server_behind(error) {
        Some(said) => text.replace(&said.to_string(), &of_server(said)),
        None => text,
    }
}

/// What the server said, and no more.
pub(crate) fn of_server(error: &(dyn DatabaseError + 'static)) -> String {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return error.message().to_owned();
    }
    error.to_string()
}

/// The server's error, which may be behind those of others, who repeat it.
fn of_server_behind<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn DatabaseError + 'static)> {
    if let Some(said) = error.downcast_ref::<Box<dyn DatabaseError>>() {
        return Some(&**said);
    }
    let driver = error.downcast_ref::<sqlx::Error>();
    #[cfg(feature = "sea-orm")]
    let driver = driver.or_else(|| match error.downcast_ref() {
        // It has no source.
        Some(sea_orm::RuntimeErr::SqlxError(error)) => Some(&**error),
        _ => None,
    });
    match driver {
        Some(sqlx::Error::Database(said)) => Some(&**said),
        Some(driver) => of_server_behind(driver.source()?),
        None => of_server_behind(error.source()?),
    }
}
