//! Putting a copy back into the state of its template.

use sqlx::MySqlConnection;

use super::super::{Grace, Outcome, Reset, ServerSession, Steps, explain};
use super::blockers::Xid;
use super::copy::Slot;
use super::files::Files;
use super::find::Touched;
use super::look::Look;
use super::marks::Marks;
use super::sessions::{Connected, connected, end_sessions, on_database};
use super::template::{Table, Template};
use super::whereabouts::may_be_elsewhere;
use super::{Mysql, blockers, find, opened, seeded, server, undo};
use crate::Error;

/// From which reset of a database on a second connection helps, the server is asked for files, and tables are rebuilt: a process that tests once
/// never gets back what that costs.
const HELPED_FROM: usize = 2;

pub(super) async fn reset(slot: &mut Slot, template: &Template, staying: &[u64]) -> Result<Reset, Error> {
    let mut steps = Steps::start();
    let mut ended = Vec::new();
    let name = slot.name.clone();
    // Until it has proved to be pristine, nothing is known of it.
    let then = slot.marks.take();
    let files = std::mem::take(&mut slot.files);
    slot.resets += 1;
    if slot.resets >= HELPED_FROM && template.is_helped_to_look() {
        template.helper.connect().await;
    }
    let outcome = put_back(slot, template, (then, files), staying, &mut ended, &mut steps).await;
    let outcome = outcome.map_err(|error| explain::<Mysql>(format!("failed to reset `{name}`"), error))?;
    Ok(Reset { outcome, ended, steps: steps.into_inner() })
}

async fn put_back(
    slot: &mut Slot,
    template: &Template,
    (then, mut files): (Option<Marks>, Files),
    staying: &[u64],
    ended: &mut Vec<ServerSession>,
    steps: &mut Steps,
) -> Result<Outcome, sqlx::Error> {
    let Slot { name, connection, prepared, .. } = slot;
    let Some(connected) = end_others(connection, template, name, prepared, (staying, ended), steps).await? else {
        return Ok(Outcome::Changed("whoever was ended connects to it again".to_owned()));
    };
    let is_exact = connected.have_left(connection, template.features).await?;
    let then = then.as_ref().filter(|_| is_exact);
    let look = Look::take(connection, template, name, then).await?;
    steps.done("look");
    let suspects = look.marks.since(then, template);
    if suspects.definitions && !server::exists(connection, name).await? {
        return Ok(Outcome::Changed("the database was dropped".to_owned()));
    }
    let altered = find::altered(connection, template, name, &suspects).await?;
    steps.done("catalog");
    if let Some(altered) = altered {
        return Ok(Outcome::Changed(altered));
    }

    if suspects.definitions {
        // Whoever can alter a table can also put another file in the place of its own, or have the server write no log.
        files = Files::default();
    }
    let touched = find::touched(connection, template, name, &suspects, &look).await?;
    steps.done("find");
    if let Some(reason) = forbids(connection, template, name, &touched).await? {
        return Ok(Outcome::Changed(reason));
    }
    let mut marks = look.marks;
    if touched.is_empty() {
        opened::close(connection, template, name, marks.looked_at(), slot.resets).await?;
        (slot.marks, slot.files) = (is_exact.then_some(marks), files);
        return Ok(Outcome::Pristine { touched: 0 });
    }
    let parts = files.parts(connection, template, name, &touched.suspect, slot.resets >= HELPED_FROM).await?;
    steps.done("files");
    let undone = undo::undo(connection, template, name, &touched, &parts, &mut marks).await?;
    steps.done("undo");

    // What was set to 1 in an empty table is 1. Rows that are written again can move a counter that had not moved.
    let written = touched.suspect.iter().filter(|index| !undone.same.contains(index));
    let set = |index: &&usize| template.tables[**index].counter != 1 || template.tables[**index].seeded;
    let set: Vec<usize> = touched.moved.iter().chain(written).filter(set).copied().collect();
    let moved = find::moved(connection, template, name, &set).await?;
    let sequences = if touched.sequences.is_empty() {
        Vec::new()
    } else {
        find::moved_sequences(connection, template, name).await?
    };
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
    if slot.resets >= HELPED_FROM {
        slot.rebuilt.rebuild(connection, template, name, &undone.same, &mut marks).await?;
        steps.done("rebuild");
    }
    opened::close(connection, template, name, marks.looked_at(), slot.resets).await?;
    (slot.marks, slot.files) = (is_exact.then_some(marks), files);
    Ok(Outcome::Pristine { touched: undone.count })
}

/// How often those are ended who are there again when all were ended.
const MOST_ENDINGS: usize = 3;

/// Ends whoever is on the database and does not stay, and the prepared transactions that lock it: then what is asked of the server shows all that
/// they have done, and waits for nobody. Says who is connected then; nothing if somebody is there still.
async fn end_others(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    known: &mut Vec<Xid>,
    (staying, ended): (&[u64], &mut Vec<ServerSession>),
    steps: &mut Steps,
) -> Result<Option<Connected>, sqlx::Error> {
    let is_left = |session: &ServerSession| on_database(name)(session) && !session.stays(staying);
    let mut now = connected(connection, template.features).await?;
    steps.done("sessions");
    // Whoever may be elsewhere is followed until that is known, which it is then.
    let mut may_be_left = now.sessions.iter().any(|session| is_left(session) || may_be_elsewhere(session));
    for _ in 0..MOST_ENDINGS {
        if !may_be_left {
            break;
        }
        ended.extend(end_sessions(connection, &is_left, Some(Grace::start(staying))).await?);
        now = connected(connection, template.features).await?;
        may_be_left = now.sessions.iter().any(is_left);
        steps.done("end sessions");
    }
    if now.any_prepared {
        blockers::end(connection, name, known).await?;
        steps.done("prepared transactions");
    } else {
        known.clear();
    }
    Ok(Some(now).filter(|_| !may_be_left))
}

/// The history that a table keeps of its rows cannot be deleted, nor can the rows of an archive.
async fn forbids(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    touched: &Touched,
) -> Result<Option<String>, sqlx::Error> {
    let keeping = |indexes: &[usize]| -> Vec<&Table> {
        let tables = indexes.iter().map(|index| &template.tables[*index]);
        tables.filter(|table| table.versioned || table.archives).collect()
    };
    let mut written = keeping(&touched.filled).into_iter().next();
    for table in keeping(&touched.suspect) {
        if written.is_some() {
            break;
        }
        let differs = if table.versioned {
            seeded::history_differs(connection, template, name, table).await?
        } else {
            seeded::differs(connection, template, name, table).await?
        };
        written = differs.then_some(table);
    }
    Ok(written.map(|table| {
        let why = if table.versioned { "keeps its history" } else { "its engine, ARCHIVE, deletes no rows" };
        format!("table `{}` was written to, and {why}", table.name)
    }))
}
