//! Sessions for SeaORM: entities, nested transactions and `OnConflict` work on them as on SeaORM's own connection.

mod connection;
mod engine;
mod erased;
mod failure;
mod session;
mod tx;

pub use engine::OrmEngine;
pub use session::OrmSession;
pub use tx::OrmTx;
