//! The bare lease.

use freshdb_databases::{DatabaseUrl, Kind};

use crate::test::context::{ArgumentError, Context, FromContext};
use crate::test::leased::Leased;

/// The database that is leased to a test, for any driver: as an argument, or from [`Context::lease`].
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// #[freshdb::test(on = [sqlite])]
/// async fn any_driver_will_do(lease: freshdb::test::Lease) {
///     let url = lease.url().reveal();
///     assert!(url.starts_with("sqlite://"));
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    name: String,
    url: DatabaseUrl,
    connections: u32,
}

impl Lease {
    pub(in crate::test) fn of(lease: &Leased) -> Self {
        Self { name: lease.name().to_owned(), url: lease.url().clone(), connections: lease.connections() }
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        self.url.kind()
    }

    /// The database's name on its server; of SQLite, its file's name without `.db`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the database is. Shown, it has no password; [`DatabaseUrl::reveal`] gives it in full.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// How many connections the test may have open at once, so that all tests together stay within the server's limit.
    pub fn connections(&self) -> u32 {
        self.connections
    }
}

impl FromContext for Lease {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        Ok(context.lease().clone())
    }
}
