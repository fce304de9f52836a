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

use freshdb_databases::{Config, Error, Kind, ResetReport};
use futures_util::future::Either;

pub(crate) use access::Token;
pub(crate) use listen::{ANY_PORT, Listener, SOCKET, TOKEN};

use crate::failure::Failure;
use crate::report::Recorder;
use crate::servers::Servers;
use leases::{Fate, Held, Leases};
pub(crate) use templates::Start;
use templates::Templates;

/// What all requests share.
pub(crate) struct Broker {
    servers: Arc<Servers>,
    templates: Templates,
    leases: Leases,
    integresql: integresql::Tests,
    /// Where what is leased is written down, if somebody wants to read it.
    recorder: Option<Arc<Recorder>>,
}

impl Broker {
    /// A broker of databases that start as the command line says, unless they are made from a template of a client's.
    pub(crate) fn new(servers: Arc<Servers>, start: Start, recorder: Option<Arc<Recorder>>) -> Self {
        let templates = Templates::new(servers.clone(), start);
        Self { servers, templates, leases: Leases::default(), integresql: integresql::Tests::default(), recorder }
    }

    /// Makes the template of the command line's schema, and has databases ready.
    pub(crate) async fn warm(&self, kind: Kind) -> Result<(), Failure> {
        self.templates.own(kind).await?;
        Ok(())
    }

    /// Gives a database back, or leaves it as it is. What this returns need not be awaited.
    fn give_back(&self, held: Held, fate: Fate) -> impl Future<Output = Result<ResetReport, Error>> + use<> {
        let Held { lease, note, number, process, .. } = held;
        let name = lease.name().to_owned();
        let given_back = match (fate, process) {
            (Fate::Keep, _) => lease.keep(note),
            (Fate::Reset { staying }, Some(process)) if !staying.is_empty() => {
                // Before somebody else can have it.
                self.leases.stay(&name, process);
                lease.give_back_with(staying)
            }
            (Fate::Reset { .. }, _) => lease.give_back(),
        };
        match (&self.recorder, number) {
            (Some(recorder), Some(number)) => Either::Left(recorder.follow(number, name, given_back)),
            _ => Either::Right(given_back),
        }
    }

    /// Gives back what is out, closes the pools, and has it all written down.
    pub(crate) async fn close(&self) {
        for held in self.leases.take_all() {
            drop(self.give_back(held, Fate::RESET));
        }
        self.forget_tests(None);
        self.templates.close().await;
        if let Some(recorder) = &self.recorder {
            recorder.settle().await;
        }
    }

    fn config(&self) -> &Config {
        self.servers.config()
    }
}
