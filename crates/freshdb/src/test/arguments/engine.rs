//! Engines. They are closed when the test has ended: see `leftovers.rs`.

use super::another_engine;
use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::options::EngineOptions;
use crate::test::context::{ArgumentError, Context, FromContext};

fn options(context: &Context) -> EngineOptions {
    let lease = context.lease();
    EngineOptions::new()
        .plain(lease.url().is_on_loopback())
        .max_connections(lease.connections())
        .reuse(context.reuse.clone())
}

impl<DB: Dialect> FromContext for Engine<DB> {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        another_engine::check::<DB>(context)?;
        context.shared(|context| Ok(options(context).lazy(&context.lease().url().reveal())?))
    }
}

#[cfg(feature = "sea-orm")]
impl FromContext for crate::OrmEngine {
    async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
        context.shared(|context| Ok(options(context).lazy_orm(&context.lease().url().reveal())?))
    }
}
