//! Putting a copy back into the state of its template.

use sqlx::MySqlConnection;

use super::super::{Outcome, Reset, ServerSession, Steps, explain};
use super::copy::Slot;
use super::find::Touched;
use super::marks::Marks;
use super::sessions::{end_sessions, on_database};
use super::template::Template;
use super::{Mysql, blockers, find, server, undo};
use crate::Error;

pub(super) async fn reset(slot: &mut Slot, template: &Template) -> Result<Reset, Error> {
    let mut steps = Steps::start();
    let mut ended = Vec::new();
    let name = slot.name.clone();
    // Until it has proved to be pristine, nothing is known of it.
    let then = slot.marks.take();
    let outcome = put_back(slot, template, then, &mut ended, &mut steps).await;
    let outcome = outcome.map_err(|error| explain::<Mysql>(format!("failed to reset `{name}`"), error))?;
    Ok(Reset { outcome, ended, steps: steps.into_inner() })
}

async fn put_back(
    slot: &mut Slot,
    template: &Template,
    then: Option<Marks>,
    ended: &mut Vec<ServerSession>,
    steps: &mut Steps,
) -> Result<Outcome, sqlx::Error> {
    let Slot { name, connection, .. } = slot;
    *ended = end_sessions(connection, &on_database(name)).await?;
    steps.done("sessions");

    let marks = Marks::read(connection, template, name).await?;
    let suspects = marks.since(then.as_ref(), template);
    steps.done("counters");
    if suspects.definitions && !server::exists(connection, name).await? {
        return Ok(Outcome::Changed("the database was dropped".to_owned()));
    }
    if marks.prepared {
        blockers::end(connection, name, &slot.prepared).await?;
        steps.done("prepared transactions");
    }
    let altered = find::altered(connection, template, name, &suspects).await?;
    steps.done("catalog");
    if let Some(altered) = altered {
        return Ok(Outcome::Changed(altered));
    }

    let touched = find::touched(connection, template, name, &suspects, &marks).await?;
    steps.done("find");
    if let Some(reason) = forbids(connection, template, name, &touched).await? {
        return Ok(Outcome::Changed(reason));
    }
    if touched.is_empty() {
        slot.marks = Some(marks);
        return Ok(Outcome::Pristine { touched: 0 });
    }
    let count = undo::undo(connection, template, name, &touched).await?;
    steps.done("undo");

    let after = marks.after_reset(connection, template, name).await?;
    let moved = if let Some(moved) = after.moved(template) {
        moved
    } else {
        // What TRUNCATE has set to 1 needs no second look, which costs as much as the first. Rows that are written again can
        // move a counter that had not moved.
        let set = |index: &&usize| template.tables[**index].counter != 1 || template.tables[**index].seeded;
        let set: Vec<usize> = touched.moved.iter().chain(&touched.suspect).filter(set).copied().collect();
        find::moved(connection, template, name, &set).await?
    };
    let sequences = find::moved_sequences(connection, template, name).await?;
    steps.done("verify");
    if let Some(index) = moved.first() {
        return Ok(Outcome::Changed(format!(
            "the AUTO_INCREMENT of table `{}` cannot be put back",
            template.tables[*index].name
        )));
    }
    if let Some(index) = sequences.first() {
        return Ok(Outcome::Changed(format!("sequence `{}` cannot be put back", template.sequences[*index].name)));
    }
    slot.marks = Some(after);
    Ok(Outcome::Pristine { touched: count })
}

/// The history that a table keeps of its rows cannot be deleted.
async fn forbids(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    touched: &Touched,
) -> Result<Option<String>, sqlx::Error> {
    let versioned =
        |indexes: &[usize]| indexes.iter().map(|index| &template.tables[*index]).find(|table| table.versioned);
    let mut written = versioned(&touched.filled);
    if let (None, Some(table)) = (written, versioned(&touched.suspect)) {
        written = undo::history_differs(connection, template, name, table).await?.then_some(table);
    }
    Ok(written.map(|table| format!("table `{}` was written to, and keeps its history", table.name)))
}
