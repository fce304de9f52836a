//! Leases pristine databases to programs in any language, over HTTP.

mod access;
mod answer;
mod api;
mod document;
mod integresql;
mod leases;
mod listen;
mod location;
mod templates;

use std::sync::Arc;

use freshdb_databases::Kind;

pub(crate) use access::Token;
pub(crate) use listen::{ANY_PORT, Listener, SOCKET, TOKEN};

use crate::failure::Failure;
use crate::servers::Servers;
use leases::Leases;
pub(crate) use templates::Start;
use templates::Templates;

/// What all requests share.
pub(crate) struct Broker {
    servers: Arc<Servers>,
    templates: Templates,
    leases: Leases,
    integresql: integresql::Tests,
}

impl Broker {
    /// A broker of databases that start as the command line says, unless they are made from a template of a client's.
    pub(crate) fn new(servers: Arc<Servers>, start: Start) -> Self {
        let templates = Templates::new(servers.clone(), start);
        Self { servers, templates, leases: Leases::default(), integresql: integresql::Tests::default() }
    }

    /// Makes the template of the command line's schema, and has databases ready.
    pub(crate) async fn warm(&self, kind: Kind) -> Result<(), Failure> {
        self.templates.own(kind).await?;
        Ok(())
    }

    /// Gives back what is out, and closes the pools.
    pub(crate) async fn close(&self) {
        self.leases.clear();
        self.integresql.forget(None);
        self.templates.close().await;
    }
}
