//! Where databases live.

use std::sync::Arc;

use crate::{DatabaseUrl, Kind};

/// A server.
#[derive(Clone, Debug)]
pub struct Server(Arc<DatabaseUrl>);

impl Server {
    /// A server that is there already.
    pub fn existing(url: DatabaseUrl) -> Self {
        Self(Arc::new(url))
    }

    /// The engine.
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    /// Where it is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.0
    }
}
