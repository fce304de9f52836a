//! Comparing a database with its template. Of the template's rows only hashes are held, so that tables may be large.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::{Changes, ObjectChange, RowChange, TableChanges};
use crate::dialect::{Dialect, ReadTable, explain};
use crate::registry::{Entry, Registry, Role, State};
use crate::{DatabaseUrl, Error, ErrorKind, Kind, names};

const LIMIT: Duration = Duration::from_secs(30);

type Row = Vec<Option<String>>;
type Hash = [u8; 16];

pub(super) async fn compare<D: Dialect>(kind: Kind, server: &DatabaseUrl, database: &str) -> Result<Changes, Error> {
    let took_too_long = |_| {
        Err(Error::new(
            ErrorKind::Database,
            format!("`{database}` could not be compared with its template in {LIMIT:?}"),
        )
        .hint("whoever holds a lock on one of its tables must let go of it first"))
    };
    tokio::time::timeout(LIMIT, compare_with_template::<D>(kind, server, database)).await.unwrap_or_else(took_too_long)
}

async fn compare_with_template<D: Dialect>(kind: Kind, server: &DatabaseUrl, database: &str) -> Result<Changes, Error> {
    let failed = |error| explain::<D>(format!("failed to compare `{database}` with its template"), error);
    let mut registry = Registry::connect::<D>(server).await?;
    let entry = if names::is_ours(database) {
        Registry::find::<D>(&mut registry, database).await.map_err(failed)?
    } else {
        None
    };
    let Some(entry) = entry.filter(|entry| matches!(entry.role, Role::Slot | Role::Kept)) else {
        let fact = format!("there is no database `{database}` of freshdb's on `{server}`");
        return Err(Error::new(ErrorKind::Config, fact));
    };
    if !D::exists(&mut registry, &entry.template).await.map_err(failed)? {
        let fact =
            format!("the template of `{database}` is not there any more, and so there is nothing to compare it with");
        return Err(Error::new(ErrorKind::Database, fact));
    }
    let duplicate = names::sibling(&entry);
    let base = if D::TEMPLATES_CAN_BE_READ { &entry.template } else { &duplicate };
    let read = async {
        if !D::TEMPLATES_CAN_BE_READ {
            begin_duplicate::<D>(&mut registry, &entry, &duplicate).await?;
        }
        let mut before = D::connect_to_compare(server, base).await?;
        let mut after = D::connect_to_compare(server, database).await?;
        let schema = objects::<D>(&mut before, base, &mut after, database).await?;
        let tables = tables::<D>(&mut before, base, &mut after, database).await?;
        Ok((schema, tables))
    };
    let read = read.await;
    if !D::TEMPLATES_CAN_BE_READ {
        end_duplicate::<D>(&mut registry, &duplicate).await.map_err(failed)?;
    }
    let (schema, tables) = read.map_err(failed)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Changes {
        engine: kind.name().to_owned(),
        database: database.to_owned(),
        note: if entry.role == Role::Kept { entry.note } else { String::new() },
        at_ms: u64::try_from(now.as_millis()).unwrap_or_default(),
        schema,
        tables,
    })
}

/// As a pool makes a slot: should this process be killed, whoever comes next drops it.
async fn begin_duplicate<D: Dialect>(
    registry: &mut D::Connection,
    entry: &Entry,
    name: &str,
) -> Result<(), sqlx::Error> {
    if !D::try_lock(registry, name).await? {
        return Err(sqlx::Error::InvalidArgument(format!("somebody has a database `{name}`")));
    }
    let duplicate = Entry {
        name: name.to_owned(),
        role: Role::Slot,
        state: State::Making,
        since: SystemTime::now(),
        note: String::new(),
        ..entry.clone()
    };
    Registry::insert::<D>(registry, &duplicate).await?;
    D::duplicate(registry, &entry.template, name).await
}

async fn end_duplicate<D: Dialect>(registry: &mut D::Connection, name: &str) -> Result<(), sqlx::Error> {
    D::drop(registry, name).await?;
    Registry::remove::<D>(registry, name).await?;
    D::unlock(registry, name).await
}

async fn objects<D: Dialect>(
    before: &mut D::Connection,
    base: &str,
    after: &mut D::Connection,
    database: &str,
) -> Result<Vec<ObjectChange>, sqlx::Error> {
    let mut all: BTreeMap<(String, String), (Option<String>, Option<String>)> = BTreeMap::new();
    for object in D::definitions(before, base).await? {
        all.entry((object.kind, object.name)).or_default().0 = Some(object.statement);
    }
    for object in D::definitions(after, database).await? {
        all.entry((object.kind, object.name)).or_default().1 = Some(object.statement);
    }
    let differing = all.into_iter().filter(|(_, (before, after))| before != after);
    Ok(differing.map(|((kind, name), (before, after))| ObjectChange { kind, name, before, after }).collect())
}

async fn tables<D: Dialect>(
    before: &mut D::Connection,
    base: &str,
    after: &mut D::Connection,
    database: &str,
) -> Result<Vec<TableChanges>, sqlx::Error> {
    let mut all: BTreeMap<String, (Option<ReadTable>, Option<ReadTable>)> = BTreeMap::new();
    for table in D::tables(before, base).await? {
        let name = table.name.clone();
        all.entry(name).or_default().0 = Some(table);
    }
    for table in D::tables(after, database).await? {
        let name = table.name.clone();
        all.entry(name).or_default().1 = Some(table);
    }
    let mut changes = Vec::new();
    for (name, (old, new)) in all {
        let plan = Plan::new(name, old.as_ref(), new.as_ref());
        let found = plan.compare::<D>(before, after).await?;
        if found.inserted + found.changed + found.deleted > 0 {
            changes.push(found);
        }
    }
    Ok(changes)
}

/// How one table is read from both sides.
struct Plan {
    table: String,
    columns: Vec<String>,
    /// Which of them are the key; all, if there is none.
    key: Vec<usize>,
    has_key: bool,
    before: Option<String>,
    after: Option<String>,
}

/// So many bytes of changed rows are held whole until it is seen what they were. Of more it is told only how many they are.
const MOST_HELD: usize = 32 << 20;

/// The rows of the template that were not found yet: by the hash of their key, the hash of the row, and how often it is there.
type Left = HashMap<Hash, (Hash, u64)>;

impl Plan {
    fn new(table: String, before: Option<&ReadTable>, after: Option<&ReadTable>) -> Self {
        let sides = [before, after];
        let mut columns: Vec<String> = Vec::new();
        for (name, _) in sides.into_iter().flatten().flat_map(|side| &side.columns) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        let key = match sides {
            [Some(before), Some(after)] if before.key != after.key => Vec::new(),
            [Some(side), _] | [None, Some(side)] => side.key.clone(),
            [None, None] => Vec::new(),
        };
        let position = |name: &String| columns.iter().position(|column| column == name);
        let key: Vec<usize> = key.iter().filter_map(position).collect();
        let select = |side: &ReadTable| {
            let value = |column: &String| {
                side.columns.iter().find(|(name, _)| name == column).map_or("NULL", |(_, value)| value.as_str())
            };
            let values: Vec<&str> = columns.iter().map(value).collect();
            // A table without columns has rows all the same.
            let values = if values.is_empty() { vec!["'row'"] } else { values };
            format!("SELECT {} FROM {}", values.join(", "), side.source)
        };
        let (before, after) = (before.map(select), after.map(select));
        let has_key = !key.is_empty();
        let key = if has_key { key } else { (0..columns.len()).collect() };
        Self { table, columns, key, has_key, before, after }
    }

    async fn compare<D: Dialect>(
        &self,
        before: &mut D::Connection,
        after: &mut D::Connection,
    ) -> Result<TableChanges, sqlx::Error> {
        let mut left = Left::new();
        if let Some(sql) = &self.before {
            D::for_each(before, sql, |row| left.entry(self.key_of(&row)).or_insert((hash(&row), 0)).1 += 1).await?;
        }
        let mut found = TableChanges {
            table: self.table.clone(),
            columns: self.columns.clone(),
            key: if self.has_key { self.key.iter().map(|at| self.columns[*at].clone()).collect() } else { Vec::new() },
            inserted: 0,
            changed: 0,
            deleted: 0,
            rows: Vec::new(),
        };
        let mut changed: HashMap<Hash, Row> = HashMap::new();
        let mut held = 0;
        if let Some(sql) = &self.after {
            D::for_each(after, sql, |row| {
                let key = self.key_of(&row);
                if let Some((known, count)) = left.get_mut(&key) {
                    if *known != hash(&row) {
                        found.changed += 1;
                        if changed.len() < Changes::MOST_ROWS && held < MOST_HELD {
                            held += row.iter().flatten().map(String::len).sum::<usize>();
                            changed.insert(key, row);
                        }
                    }
                    *count -= 1;
                    if *count == 0 {
                        left.remove(&key);
                    }
                } else {
                    found.inserted += 1;
                    if found.rows.len() < Changes::MOST_ROWS {
                        found.rows.push(RowChange::new(None, Some(row), &self.columns));
                    }
                }
            })
            .await?;
        }
        found.deleted = left.values().map(|(_, count)| count).sum();
        if let Some(sql) = &self.before
            && found.changed + found.deleted > 0
        {
            let mut deleted = 0;
            D::for_each(before, sql, |row| {
                let key = self.key_of(&row);
                if let Some(after) = changed.remove(&key) {
                    found.rows.push(RowChange::new(Some(row), Some(after), &self.columns));
                } else if let Some((_, count)) = left.get_mut(&key)
                    && *count > 0
                    && deleted < Changes::MOST_ROWS
                {
                    *count -= 1;
                    deleted += 1;
                    found.rows.push(RowChange::new(Some(row), None, &self.columns));
                }
            })
            .await?;
        }
        found.rows.sort_by(|one, other| self.order(one, other));
        Ok(found)
    }

    /// SQLite takes NULL for a key, and more than once.
    fn key_of(&self, row: &Row) -> Hash {
        if self.key.iter().any(|at| row[*at].is_none()) {
            return hash(row);
        }
        hash(self.key.iter().map(|at| &row[*at]))
    }

    fn order(&self, one: &RowChange, other: &RowChange) -> Ordering {
        let values = |row: &RowChange| {
            let row = row.before.as_ref().or(row.after.as_ref()).cloned().unwrap_or_default();
            self.key.iter().map(|at| row.get(*at).cloned().flatten()).collect::<Vec<_>>()
        };
        let (one, other) = (values(one), values(other));
        let differing = one.iter().zip(&other).map(|(one, other)| {
            let numbers = (number(one.as_deref()), number(other.as_deref()));
            match numbers {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => one.cmp(other),
            }
        });
        differing.fold(Ordering::Equal, Ordering::then)
    }
}

fn number(value: Option<&str>) -> Option<i128> {
    value?.parse().ok()
}

/// Half of SHA-256: two rows that have the same are the same.
fn hash<'a>(values: impl IntoIterator<Item = &'a Option<String>>) -> Hash {
    let mut hash = Sha256::new();
    for value in values {
        match value {
            None => hash.update([0]),
            Some(value) => {
                hash.update([1]);
                hash.update((value.len() as u64).to_le_bytes());
                hash.update(value);
            }
        }
    }
    *hash.finalize().first_chunk().expect("a SHA-256 is of 32 bytes")
}
