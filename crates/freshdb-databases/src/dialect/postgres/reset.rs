//! Putting a slot back.

use super::super::{Outcome, Reset, Steps};
use super::connection::{connect, execute, literal, rows};
use super::fault::failed;
use super::server::{SESSION, session};
use super::slot::Slot;
use super::template::Template;
use crate::Error;

pub(super) async fn reset(slot: &mut Slot, _template: &Template) -> Result<Reset, Error> {
    let fact = format!("failed to put the database `{}` back", slot.name);
    let mut steps = Steps::start();
    let mut connection = connect(&slot.server, super::super::REGISTRY).await.map_err(failed(fact.clone()))?;
    let sql = format!(
        "SELECT {SESSION}, pg_terminate_backend(pid) FROM pg_stat_activity a
        WHERE a.datname = {} AND a.backend_type = 'client backend' AND a.application_name <> {}",
        literal(&slot.name),
        literal(super::connection::APPLICATION),
    );
    let ended = rows(&mut connection, &sql).await.map_err(failed(fact.clone()))?.into_iter().map(session).collect();
    execute(&mut connection, "SELECT 1").await.map_err(failed(fact.clone()))?;
    connection.close().await.map_err(failed(fact))?;
    steps.done("end sessions");
    Ok(Reset { outcome: Outcome::Changed("it was used".to_owned()), ended, steps: steps.into_inner() })
}
