//! Putting rows and sequences back, in the order on disk that the template has them in.

use std::time::{Duration, Instant};

use super::connection::{Connection, batch, execute, rows};
use super::fault::is_refused;
use super::slot::Maintenance;
use super::template::{Mark, Relation, Template, hash, mark, signature};

/// A relation that has grown by more than this beyond its template, a page, is vacuumed: reading it stays cheap however often its slot is used,
/// and what a test writes comes one behind another, as in a new copy. Where there are several pages with room, a row goes into any of them.
const BLOAT: u64 = 8 << 10;

/// For how long old rows are waited for that somebody holds, such as an autovacuum, which does so while it looks through the catalogs for something
/// to do: a copy takes about as long. On a busy machine, where such a moment is longer, so is each look.
const LONGEST_HOLD: Duration = Duration::from_millis(250);
const LOOKS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(1);

/// A relation that was written to, or may have been.
pub(super) struct Touched {
    /// Its place among the template's relations.
    pub(super) index: usize,
    /// How many rows were inserted, rolled back or not; nothing if unknown.
    pub(super) inserted: Option<u64>,
    /// Whether rows were updated or deleted, or may have been.
    pub(super) changed: bool,
    /// Whether its rows were moved to another file, in whatever order.
    pub(super) moved: bool,
}

/// What an undo has done.
pub(super) enum Undone {
    /// What was touched is put back.
    All {
        /// In how many relations.
        relations: usize,
        /// Whether rows were written, which can have done something elsewhere: a check can call a function that writes.
        has_written: bool,
    },
    /// Why it cannot be.
    Not(String),
}

/// Puts back what was touched; or says what cannot be.
pub(super) async fn undo(
    maintenance: &mut Maintenance,
    template: &Template,
    touched: &[Touched],
    sequences: &[usize],
    marks: &mut [Option<Mark>],
) -> Result<Undone, sqlx::Error> {
    let relation = |touched: &Touched| &template.relations[touched.index];
    if let Some(guarded) = touched.iter().map(relation).find(|relation| relation.guarded) {
        return Ok(Undone::Not(format!("{} was touched, on which a trigger or a rule fires always", guarded.name)));
    }
    let mut touched = touched;
    if let Some(grant) = maintenance.lacking.clone() {
        if let Some(first) = first_touched(&mut maintenance.connection, template, touched, marks).await? {
            let name = &relation(first).name;
            return Ok(Undone::Not(format!("{name} was touched, and without `{grant}` its rows cannot be put back")));
        }
        touched = &[];
    }
    // What can only be written anew is not looked at first. Most rows that tests change are their own: those are gone when they are trimmed.
    let (mut rebuilt, trimmed): (Vec<_>, Vec<_>) =
        touched.iter().partition(|touched| keeps_rows(relation(touched)) && touched.moved);
    let mut grown = match trim(&mut maintenance.connection, template, &trimmed, sequences, marks).await {
        // Such as a table without a key in a publication: <https://www.postgresql.org/docs/15/logical-replication-publication.html>.
        Err(error) if is_refused(&error) => return Ok(Undone::Not(format!("rows cannot be taken out again: {error}"))),
        grown => grown?,
    };
    let too_many = |relation: &Relation| {
        Undone::Not(format!("rows of {} were changed, which are too many to be kept at hand", relation.name))
    };
    match weed(&mut maintenance.connection, template, &trimmed, &mut grown, marks).await {
        Err(error) if is_refused(&error) => return Ok(Undone::Not(format!("rows cannot be taken out again: {error}"))),
        Ok(Some(differing)) => return Ok(too_many(relation(differing))),
        done => drop(done?),
    }
    let doubtful = grown.doubtful.iter().map(|index| trimmed[*index]).collect::<Vec<_>>();
    for differing in differing(&mut maintenance.connection, template, &doubtful, marks).await? {
        if !relation(differing).writable {
            return Ok(Undone::Not(format!("the materialized view {} was refreshed", relation(differing).name)));
        }
        if !keeps_rows(relation(differing)) {
            return Ok(too_many(relation(differing)));
        }
        rebuilt.push(differing);
    }
    if !grown.bloated.is_empty() {
        let names = grown.bloated.iter().map(|index| relation(trimmed[*index]).name.as_str()).collect::<Vec<_>>();
        vacuum(&mut maintenance.connection, &names).await?;
    }
    let rebuilt = rebuilt.iter().map(|touched| touched.index).collect::<Vec<_>>();
    if let Some(reason) = rebuild(&mut maintenance.connection, template, &rebuilt, marks).await? {
        return Ok(Undone::Not(reason));
    }
    let trimmed = grown.trimmed.into_iter().filter(|index| !rebuilt.contains(&trimmed[*index].index));
    Ok(Undone::All { relations: trimmed.count() + rebuilt.len(), has_written: !rebuilt.is_empty() })
}

/// The first that was touched for certain. A seeded relation of which the server does not tell is looked at.
async fn first_touched<'a>(
    connection: &mut Connection,
    template: &Template,
    touched: &'a [Touched],
    marks: &[Option<Mark>],
) -> Result<Option<&'a Touched>, sqlx::Error> {
    let is_unknown = |touched: &Touched| touched.inserted.is_none() && template.relations[touched.index].seed.is_some();
    let (unknown, known): (Vec<_>, Vec<_>) = touched.iter().partition(|touched| is_unknown(touched));
    match known.first() {
        Some(first) => Ok(Some(first)),
        None => Ok(differing(connection, template, &unknown, marks).await?.into_iter().next()),
    }
}

fn keeps_rows(relation: &Relation) -> bool {
    relation.seed.as_ref().is_some_and(|seed| seed.rows.is_some())
}

/// What was done by [`trim`], and is left to do after it: places in the list that it was given.
struct Grown {
    /// Had rows that are not the template's.
    trimmed: Vec<usize>,
    /// Not known to hold its template's rows again.
    doubtful: Vec<usize>,
    bloated: Vec<usize>,
}

/// Deletes every row behind the last of the template's, and puts sequences back, in one round trip.
async fn trim(
    connection: &mut Connection,
    template: &Template,
    touched: &[&Touched],
    sequences: &[usize],
    marks: &[Option<Mark>],
) -> Result<Grown, sqlx::Error> {
    let mut grown = Grown { trimmed: Vec::new(), doubtful: Vec::new(), bloated: Vec::new() };
    if touched.is_empty() && sequences.is_empty() {
        return Ok(grown);
    }
    let relations = touched.iter().map(|touched| &template.relations[touched.index]).collect::<Vec<_>>();
    let deletes = touched.iter().zip(&relations).map(|(touched, relation)| match &marks[touched.index] {
        // A statement all the same, so that each has its answer.
        _ if !relation.writable => "SELECT FROM pg_class LIMIT 0;".to_owned(),
        None => format!("DELETE FROM ONLY {};", relation.name),
        Some(mark) => format!("DELETE FROM ONLY {} WHERE ctid > '{}';", relation.name, mark.last),
    });
    let values = sequences.iter().map(|index| &template.sequences[*index]).map(|sequence| {
        let (value, called) = sequence.value.split_at(sequence.value.len() - 1);
        format!("SELECT setval({}::regclass, {value}, '{called}');", sequence.oid)
    });
    let sql = deletes.chain(values).chain([sizes(&relations, true)]).collect::<Vec<_>>().concat();
    let (gone, sizes) = batch(connection, &sql).await?;
    for (index, (touched, relation)) in touched.iter().zip(&relations).enumerate() {
        if relation.writable && gone.get(index).is_some_and(|gone| *gone > 0) {
            grown.trimmed.push(index);
        }
        // So many came in and nothing else happened: if just as many went out, those that are left are the template's.
        let proven = touched.inserted == gone.get(index).copied() && !touched.changed && !touched.moved;
        if relation.seed.is_some() && !proven {
            grown.doubtful.push(index);
        }
        let size = sizes.get(index).and_then(|size| size.parse().ok()).unwrap_or(0);
        if relation.writable && relation.size + BLOAT < size {
            grown.bloated.push(index);
        }
    }
    Ok(grown)
}

/// Of tables that are too large to be written anew, deletes what has come to lie between the template's rows. Afterwards they are not doubtful any
/// more: they hold the template's rows, or are told to be without some of them, the first of them.
async fn weed<'a>(
    connection: &mut Connection,
    template: &Template,
    touched: &[&'a Touched],
    grown: &mut Grown,
    marks: &[Option<Mark>],
) -> Result<Option<&'a Touched>, sqlx::Error> {
    let large = |index: &usize| {
        let touched = touched[*index];
        let relation = &template.relations[touched.index];
        let is_large = relation.writable && !keeps_rows(relation) && !touched.moved;
        Some((relation.name.as_str(), marks[touched.index].as_ref().filter(|_| is_large)?))
    };
    let weeded = grown.doubtful.extract_if(.., |index| large(index).is_some()).collect::<Vec<_>>();
    if weeded.is_empty() {
        return Ok(None);
    }
    // Ages can be compared where numbers cannot, which begin again some time.
    let deletes = weeded
        .iter()
        .filter_map(large)
        .map(|(name, mark)| format!("DELETE FROM ONLY {name} WHERE age(xmin) <= (SELECT age('{}'::xid));", mark.next));
    let counts = weeded.iter().filter_map(large).map(|(name, _)| format!("(SELECT count(*) FROM ONLY {name})"));
    let sql = format!("{}SELECT unnest(ARRAY[{}])", deletes.collect::<String>(), counts.collect::<Vec<_>>().join(","));
    let (gone, left) = batch(connection, &sql).await?;
    let mut differing = None;
    for (index, (gone, left)) in weeded.into_iter().zip(gone.into_iter().zip(left)) {
        if gone > 0 && !grown.trimmed.contains(&index) {
            grown.trimmed.push(index);
        }
        if large(&index).is_some_and(|(_, mark)| mark.count() != left) {
            differing = differing.or(Some(touched[index]));
        }
    }
    Ok(differing)
}

/// The query for the size of each: of its rows, or with the values that are apart from them. A join to ask for where those are would cost more than
/// the sizes.
fn sizes(relations: &[&Relation], whole: bool) -> String {
    let list = |of: fn(&Relation) -> &str| relations.iter().map(|relation| of(relation)).collect::<Vec<_>>().join(",");
    let (oids, toasts) = (list(|relation| &relation.oid), list(|relation| &relation.toast));
    let apart = if whole { "+ coalesce(pg_relation_size(nullif(t, 0)), 0)" } else { "" };
    format!(
        "SELECT pg_relation_size(o) {apart} FROM unnest('{{{oids}}}'::oid[], '{{{toasts}}}'::oid[]) \
         WITH ORDINALITY AS u(o, t, n) ORDER BY n"
    )
}

/// Those of the relations whose rows are not the template's.
pub(super) async fn differing<'a>(
    connection: &mut Connection,
    template: &Template,
    doubtful: &[&'a Touched],
    marks: &[Option<Mark>],
) -> Result<Vec<&'a Touched>, sqlx::Error> {
    let sql = doubtful.iter().map(|touched| signature(&template.relations[touched.index].name)).collect::<Vec<_>>();
    if sql.is_empty() {
        return Ok(Vec::new());
    }
    let found =
        rows(connection, &sql.join(" UNION ALL ")).await?.into_iter().map(|row| row.into_iter().next().flatten());
    let expected = doubtful.iter().map(|touched| marks[touched.index].as_ref().map(|mark| mark.signature.clone()));
    let differing = doubtful.iter().zip(found.zip(expected));
    Ok(differing
        .filter(|(touched, (found, expected))| touched.moved || found != expected)
        .map(|(touched, _)| *touched)
        .collect())
}

/// Removes dead rows, and gives the end of the file back. Unlike `TRUNCATE` it minds no foreign keys and changes no catalog.
///
/// With `FREEZE`, which the template's rows are already, it waits for whoever has a page in use, such as a checkpoint that writes it; otherwise such
/// a page stays as it is.
async fn vacuum(connection: &mut Connection, names: &[&str]) -> Result<(), sqlx::Error> {
    execute(connection, &format!("VACUUM (FREEZE, INDEX_CLEANUP ON, TRUNCATE ON) {}", names.join(", "))).await
}

/// Writes the rows of relations anew.
async fn rebuild(
    connection: &mut Connection,
    template: &Template,
    indices: &[usize],
    marks: &mut [Option<Mark>],
) -> Result<Option<String>, sqlx::Error> {
    if indices.is_empty() {
        return Ok(None);
    }
    let relations = indices.iter().map(|index| &template.relations[*index]).collect::<Vec<_>>();
    let names = relations.iter().map(|relation| relation.name.as_str()).collect::<Vec<_>>();
    let deletes = names.iter().map(|name| format!("DELETE FROM ONLY {name};")).collect::<Vec<_>>().concat();
    match execute(connection, &deletes).await {
        Err(error) if is_refused(&error) => return Ok(Some(format!("rows cannot be taken out again: {error}"))),
        done => done?,
    }
    let (started, mut looks) = (Instant::now(), 0);
    let sizes = loop {
        looks += 1;
        vacuum(connection, &names).await?;
        let sizes = rows(connection, &sizes(&relations, false)).await?.concat();
        let is_over = looks >= LOOKS && started.elapsed() > LONGEST_HOLD;
        if is_over || sizes.iter().all(|size| size.as_deref() == Some("0")) {
            break sizes;
        }
        tokio::time::sleep(PAUSE).await;
    };
    for ((index, relation), size) in indices.iter().zip(&relations).zip(sizes) {
        // Somebody holds old rows: a replication slot of another server for one. In a file with gaps the order is anybody's guess.
        if size.as_deref() != Some("0") {
            return Ok(Some(format!(
                "rows of {} were changed, and the server does not let go of the old ones",
                relation.name
            )));
        }
        let Some(kept) = relation.seed.as_ref().and_then(|seed| seed.rows.as_ref()) else { continue };
        if let Err(error) = execute(connection, &kept.insert).await {
            // Such as a check that calls a function which finds its tables through the search path.
            if !is_refused(&error) {
                return Err(error);
            }
            return Ok(Some(format!("rows of {} cannot be written back: {error}", relation.name)));
        }
        // A short row may have been put into a gap that a long one before it had left.
        if hash(connection, &relation.name, &kept.stored).await? != kept.hash {
            return Ok(Some(format!("rows of {} were changed, and do not come back in their order", relation.name)));
        }
        marks[*index] = mark(connection, &relation.name).await?;
    }
    Ok(None)
}
