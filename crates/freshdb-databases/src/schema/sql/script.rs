//! SQL text, and where in it a statement failed.

use std::borrow::Cow;

use crate::schema::Target;
use crate::schema::connection::{Connection, Failed};
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
        if text.trim().is_empty() {
            return Ok(());
        }
        let mut connection = Connection::open(target).await?;
        let done = self.run_on(&mut connection, target.kind(), text).await;
        connection.close_after(done).await
    }

    async fn run_on(&self, connection: &mut Connection, kind: Kind, text: &str) -> Result<(), Error> {
        connection.execute(text).await.map_err(|failed| self.failure(kind, &Cow::Borrowed(text), failed))
    }

    fn failure(&self, _kind: Kind, _text: &str, Failed { succeeded, error }: Failed) -> Error {
        let fact = format!("statement {} of {} fails", succeeded + 1, self.name);
        Error::new(ErrorKind::Schema, fact).because(error)
    }
}
