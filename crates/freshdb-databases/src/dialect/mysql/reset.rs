//! Putting a copy back into the state of its template.

use super::super::{Outcome, Reset, Steps, explain};
use super::copy::Slot;
use super::sessions::{end_sessions, on_database};
use super::template::Template;
use super::{Mysql, blockers, find, server, undo};
use crate::Error;

pub(super) async fn reset(slot: &mut Slot, template: &Template) -> Result<Reset, Error> {
    let failed = |name: &str, what: &str| {
        let fact = format!("failed to reset `{name}`: {what}");
        move |error| explain::<Mysql>(fact, error)
    };
    let mut steps = Steps::start();
    let Slot { name, connection, .. } = slot;

    let ended =
        end_sessions(connection, &on_database(name)).await.map_err(failed(name, "its sessions cannot be ended"))?;
    steps.done("sessions");
    let done = |outcome, ended, steps: Steps| Ok(Reset { outcome, ended, steps: steps.into_inner() });

    if !server::exists(connection, name).await.map_err(failed(name, "the server does not answer"))? {
        return done(Outcome::Changed("the database was dropped".to_owned()), ended, steps);
    }
    blockers::end(connection, template, name, &slot.prepared)
        .await
        .map_err(failed(name, "prepared transactions cannot be ended"))?;
    steps.done("prepared transactions");

    let altered =
        find::altered(connection, template, name).await.map_err(failed(name, "its catalog cannot be read"))?;
    steps.done("catalog");
    if let Some(altered) = altered {
        return done(Outcome::Changed(altered), ended, steps);
    }
    let touched =
        find::touched(connection, template, name).await.map_err(failed(name, "what was touched cannot be found"))?;
    steps.done("find");
    if let Some(index) = touched.filled.iter().chain(&touched.suspect).find(|index| template.tables[**index].versioned)
    {
        // Its history cannot be deleted.
        let reason = format!("table `{}` keeps its history", template.tables[*index].name);
        return done(Outcome::Changed(reason), ended, steps);
    }
    if touched.is_empty() {
        return done(Outcome::Pristine { touched: 0 }, ended, steps);
    }
    let count = undo::undo(connection, template, name, &touched)
        .await
        .map_err(failed(name, "what was touched cannot be put back"))?;
    steps.done("undo");

    let moved = find::moved(connection, template, name).await.map_err(failed(name, "the counters cannot be read"))?;
    let sequences = find::moved_sequences(connection, template, name)
        .await
        .map_err(failed(name, "the sequences cannot be read"))?;
    steps.done("verify");
    if let Some(index) = moved.first() {
        let reason = format!("the AUTO_INCREMENT of table `{}` cannot be put back", template.tables[*index].name);
        return done(Outcome::Changed(reason), ended, steps);
    }
    if let Some(index) = sequences.first() {
        let reason = format!("sequence `{}` cannot be put back", template.sequences[*index].name);
        return done(Outcome::Changed(reason), ended, steps);
    }
    done(Outcome::Pristine { touched: count }, ended, steps)
}
