//! Putting a slot back.

use super::super::{Fault, Outcome, Reset, Steps};
use super::catalog;
use super::clear::{clear, is_somebody_there};
use super::connection::{APPLICATION, execute, rows};
use super::fault::{failed, fault};
use super::probe::{self, Seen, elements};
use super::slot::Slot;
use super::template::Template;
use super::undo::{Touched, Undone, differing, undo};
use crate::Error;

pub(super) async fn reset(slot: &mut Slot, template: &Template, staying: &[u64]) -> Result<Reset, Error> {
    let fact = format!("failed to put the database `{}` back", slot.name);
    let mut steps = Steps::start();
    let mut ended = Vec::new();
    if let Some(seen) = alone(slot, template, staying).await {
        steps.done("look");
        let outcome = put_back(slot, template, Some(seen), &mut steps).await.map_err(failed(fact))?;
        return Ok(Reset { outcome, ended, steps: steps.into_inner() });
    }
    steps.done("look");
    let cleared = match clear(&mut slot.maintenance().await.map_err(failed(fact.clone()))?.connection, staying).await {
        // Ended by the test, along with everybody else.
        Err(error) if fault(&error) == Fault::Lost => {
            slot.disconnected();
            clear(&mut slot.maintenance().await.map_err(failed(fact.clone()))?.connection, staying).await
        }
        cleared => cleared,
    };
    let outcome = match cleared.map_err(failed(fact.clone()))? {
        Ok(sessions) => {
            ended = sessions;
            steps.done("end sessions");
            match put_back(slot, template, None, &mut steps).await.map_err(failed(fact.clone()))? {
                Outcome::Pristine { .. }
                    if !ended.is_empty() && is_disturbed(slot, template, staying).await.map_err(failed(fact))? =>
                {
                    Outcome::Changed("whoever was ended connects to it again".to_owned())
                }
                outcome => outcome,
            }
        }
        Err(session) => Outcome::Changed(format!("a session on it does not end: {session}")),
    };
    // Those of freshdb's own that compare are nobody's leftovers.
    ended.retain(|session| session.client.as_deref() != Some(APPLICATION));
    Ok(Reset { outcome, ended, steps: steps.into_inner() })
}

/// Whether somebody has connected while the slot was put back, and may have written: clients whose sessions are ended connect again.
pub(super) async fn is_disturbed(slot: &mut Slot, template: &Template, staying: &[u64]) -> Result<bool, sqlx::Error> {
    let maintenance = slot.maintenance().await?;
    if is_somebody_there(&mut maintenance.connection, staying).await? {
        return Ok(true);
    }
    let seen = template.probe.look(maintenance).await?;
    let is_as = |known: &Seen| {
        (&known.epoch, &known.catalogs, &known.inserted, &known.changed)
            == (&seen.epoch, &seen.catalogs, &seen.inserted, &seen.changed)
    };
    let is_written_to = match &slot.baseline {
        Some(known) => !is_as(known),
        None => is_unlike(slot, template, &seen).await?,
    };
    Ok(is_written_to
        || slot.said.as_ref() != Some(&seen.said)
        || seen.filled.iter().any(|filled| filled == "t")
        || !sequences(slot, template, None, &seen).await?.is_empty())
}

/// Whether the schema or the rows of seeded tables are not the template's: all is compared.
async fn is_unlike(slot: &mut Slot, template: &Template, seen: &Seen) -> Result<bool, sqlx::Error> {
    let mut moved = Vec::new();
    if altered(slot, template, None, Some(&mut moved)).await?.is_some() || !moved.is_empty() {
        return Ok(true);
    }
    let marks = slot.marks.clone();
    let doubtful = touched(template, None, seen, &moved);
    let seeded = doubtful.iter().filter(|touched| template.relations[touched.index].seed.is_some());
    let connection = &mut slot.maintenance().await?.connection;
    Ok(!differing(connection, template, &seeded.collect::<Vec<_>>(), &marks).await?.is_empty())
}

/// What the probe says, where nobody is left on the slot but who stays: in most resets. Whatever stands in the way of that is dealt with step by
/// step afterwards, a connection that was ended too.
async fn alone(slot: &mut Slot, template: &Template, staying: &[u64]) -> Option<Seen> {
    let maintenance = slot.maintenance().await.ok()?;
    template.probe.look_if_alone(maintenance, staying).await.ok().flatten()
}

async fn put_back(
    slot: &mut Slot,
    template: &Template,
    seen: Option<Seen>,
    steps: &mut Steps,
) -> Result<Outcome, sqlx::Error> {
    // Should this fail half-way, nothing is known of the slot.
    let baseline = slot.baseline.take();
    let seen = match seen {
        Some(seen) => Ok(seen),
        None => template.probe.look(slot.maintenance().await?).await,
    };
    let seen = match seen {
        Ok(seen) => seen,
        // A table that the probe looks into is not there any more, or is another's.
        Err(error) if error.as_database_error().is_some() && fault(&error) != Fault::Lost => {
            return match altered(slot, template, None, None).await? {
                Some(difference) => Ok(Outcome::Changed(difference)),
                None => Err(error),
            };
        }
        Err(error) => return Err(error),
    };
    let baseline = baseline.filter(|baseline| baseline.epoch == seen.epoch);
    steps.done("probe");
    if slot.said.as_ref() != Some(&seen.said) {
        if slot.says().await? != slot.database {
            return Ok(Outcome::Changed("the database itself was altered".to_owned()));
        }
        slot.said = Some(seen.said.clone());
    }
    let mut moved = Vec::new();
    if let Some(difference) =
        altered(slot, template, baseline.as_ref().map(|baseline| (baseline, &seen)), Some(&mut moved)).await?
    {
        return Ok(Outcome::Changed(difference));
    }
    steps.done("compare schema");
    let mut touched = touched(template, baseline.as_ref(), &seen, &moved);
    if !slot.is_own {
        // Behind the last row that the template has there may be others that it has.
        let seeded = touched.iter_mut().filter(|touched| template.relations[touched.index].seed.is_some());
        seeded.for_each(|touched| touched.inserted = None);
    }
    let sequences = sequences(slot, template, baseline.as_ref(), &seen).await?;
    let mut marks = std::mem::take(&mut slot.marks);
    let maintenance = slot.maintenance().await?;
    let undone = undo(maintenance, template, &touched, &sequences, &mut marks).await;
    let quiet = maintenance.quiet;
    slot.marks = marks;
    let (relations, reason) = match undone? {
        Undone::All { relations, has_written: false } => (relations, None),
        Undone::All { relations, has_written: true } => (relations, side_effect(slot, template).await?),
        Undone::Not(reason) => (0, Some(reason)),
    };
    if let Some(reason) = reason {
        return Ok(Outcome::Changed(reason));
    }
    steps.done("put rows back");
    if template.counters {
        slot.baseline = Some(renewed(slot, template, seen, quiet).await?);
    }
    steps.done("remember");
    // Where the server does not tell, any relation may have been touched, and those were that had to be put back.
    Ok(Outcome::Pristine { touched: if baseline.is_some() { touched.len() } else { relations } })
}

/// What has been changed by rows that were written back: a check can call a function that writes.
async fn side_effect(slot: &mut Slot, template: &Template) -> Result<Option<String>, sqlx::Error> {
    let seen = template.probe.look(slot.maintenance().await?).await?;
    let filled = seen.filled.iter().position(|filled| filled == "t").map(|index| &template.relations[index].name);
    let moved = sequences(slot, template, None, &seen).await?;
    let changed = filled.or(moved.first().map(|index| &template.sequences[*index].name));
    Ok(changed.map(|name| format!("{name} was changed by rows of other tables that were written back")))
}

/// What the next probe is compared with: this one's answer, with the sequences as they are again.
async fn renewed(slot: &mut Slot, template: &Template, seen: Seen, quiet: bool) -> Result<Seen, sqlx::Error> {
    if quiet {
        return Ok(seen);
    }
    let maintenance = slot.maintenance().await?;
    execute(&mut maintenance.connection, "SELECT pg_stat_force_next_flush()").await?;
    template.probe.count(maintenance).await
}

/// What of the schema differs from the template's, if anything does. Without two answers of the probe, all of it is compared.
///
/// `moved` is told of relations whose rows are in another file now.
async fn altered(
    slot: &mut Slot,
    template: &Template,
    counted: Option<(&Seen, &Seen)>,
    moved: Option<&mut Vec<usize>>,
) -> Result<Option<String>, sqlx::Error> {
    let written = (0..template.catalogs.len())
        .filter(|index| counted.is_none_or(|(before, now)| before.catalogs.get(*index) != now.catalogs.get(*index)))
        .collect::<Vec<_>>();
    if written.is_empty() {
        return Ok(None);
    }
    let known = slot.signatures.clone();
    let connection = &mut slot.maintenance().await?.connection;
    let catalogs = written.iter().map(|index| &template.catalogs[*index]).collect::<Vec<_>>();
    let signatures = catalog::signatures(connection, &catalogs).await?;
    let differing =
        written.iter().zip(signatures).filter(|(index, signature)| known[**index] != *signature).collect::<Vec<_>>();
    if !differing.is_empty() {
        let catalogs = differing.iter().map(|(index, _)| &template.catalogs[**index]).collect::<Vec<_>>();
        if let Some(difference) = catalog::difference(connection, &catalogs, &template.schema).await? {
            return Ok(Some(difference));
        }
    }
    if let Some(moved) = moved {
        let oids = template.relations.iter().map(|relation| relation.oid.as_str()).collect::<Vec<_>>().join(",");
        let sql = format!(
            "SELECT pg_relation_filenode(o) FROM unnest('{{{oids}}}'::oid[]) WITH ORDINALITY AS u(o, n) ORDER BY n"
        );
        let files =
            rows(connection, &sql).await?.into_iter().map(|row| row.into_iter().next().flatten().unwrap_or_default());
        let files = files.collect::<Vec<_>>();
        moved.extend((0..files.len()).filter(|index| files[*index] != slot.files[*index]));
        slot.files = files;
    }
    for (index, signature) in differing {
        slot.signatures[*index] = signature;
    }
    Ok(None)
}

/// Every relation that was written to; of a slot that nothing is known of, every one that cannot be told to be untouched.
fn touched(template: &Template, baseline: Option<&Seen>, seen: &Seen, moved: &[usize]) -> Vec<Touched> {
    let touched = template.relations.iter().enumerate().map(|(index, relation)| {
        let moved = moved.contains(&index) && relation.seed.is_some();
        let filled = seen.filled.get(index).map(|filled| filled == "t");
        let Some(baseline) = baseline else {
            let empty = relation.seed.is_none() && (filled == Some(false) || !relation.writable);
            return (!empty).then_some(Touched { index, inserted: None, changed: true, moved });
        };
        let inserted = number(&seen.inserted, index).checked_sub(number(&baseline.inserted, index));
        let changed = seen.changed.get(index) != baseline.changed.get(index);
        let touched = inserted != Some(0) || changed || moved || filled == Some(true);
        touched.then_some(Touched { index, inserted, changed, moved })
    });
    touched.flatten().collect()
}

fn number(numbers: &[String], index: usize) -> u64 {
    numbers.get(index).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Every sequence that is not where the template's is.
async fn sequences(
    slot: &mut Slot,
    template: &Template,
    baseline: Option<&Seen>,
    seen: &Seen,
) -> Result<Vec<usize>, sqlx::Error> {
    let all = template.sequences.iter().enumerate();
    if probe::looks_into(&template.relations, &template.sequences) {
        return Ok(all
            .filter(|(index, known)| seen.sequences.get(*index) != Some(&known.value))
            .map(|(index, _)| index)
            .collect());
    }
    let accessed = all
        .map(|(index, _)| index)
        .filter(|index| baseline.is_none_or(|baseline| baseline.sequences.get(*index) != seen.sequences.get(*index)))
        .collect::<Vec<_>>();
    if accessed.is_empty() {
        return Ok(accessed);
    }
    let values = accessed.iter().map(|index| format!("({})", probe::sequence(&template.sequences[*index].name)));
    let sql = format!("SELECT ARRAY[{}]", values.collect::<Vec<_>>().join(", "));
    let connection = &mut slot.maintenance().await?.connection;
    let values = rows(connection, &sql).await?.into_iter().flatten().flatten().next().unwrap_or_default();
    let moved = accessed.into_iter().zip(elements(&values));
    Ok(moved.filter(|(index, value)| template.sequences[*index].value != *value).map(|(index, _)| index).collect())
}
