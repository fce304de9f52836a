//! A copy of a template: its statements are run again, and its rows are copied within the server.

use std::sync::atomic::Ordering;

use sqlx::MySqlConnection;

use super::super::{REGISTRY, explain, say_goodbye};
use super::blockers::{self, Xid};
use super::catalog::{self, Kind, Object, Settings};
use super::connection::{
    TextRow, binary, bytes, connect, execute, execute_bytes, fixed, identifier, literal, number, rows,
};
use super::fault::carry;
use super::files::Files;
use super::look::Look;
use super::marks::Marks;
use super::rebuilt::Rebuilt;
use super::sessions::{connected, end_sessions};
use super::template::{Table, Template, check_volatile, qualified};
use super::{Mysql, seeded, verbatim};
use crate::{DatabaseUrl, Error, ErrorKind};

/// A copy of a template.
pub(crate) struct Slot {
    pub(super) name: String,
    /// On the registry, not on the slot: whoever is on the slot when it is given back is ended.
    pub(super) connection: MySqlConnection,
    /// The prepared transactions on the server when it was last pristine.
    pub(super) prepared: Vec<Xid>,
    /// What the server's counters said when it was last pristine, if that is known.
    pub(super) marks: Option<Marks>,
    /// What was known of its large tables then.
    pub(super) files: Files,
    pub(super) rebuilt: Rebuilt,
    /// How often this process has reset it.
    pub(super) resets: usize,
}

/// Statements are sent together, up to about so many bytes: servers refuse what is longer than their `max_allowed_packet`.
const BATCH: usize = 512 * 1024;

pub(super) async fn copy(server: &DatabaseUrl, template: &Template, name: &str) -> Result<Slot, Error> {
    let fact = || format!("failed to copy the template `{}` to `{name}`", template.name);
    let failed = |error| explain::<Mysql>(fact(), error);
    let mut connection = connect_alone(server, name).await.map_err(failed)?;
    check_volatile(&mut connection, template, &template.name).await?;
    replay(&mut connection, template, name).await.map_err(failed)?;
    // Now, and not when it has been looked at: what happens later is seen to have happened since.
    let mut files = Files::default();
    files.learn(&mut connection, template, name, 0..template.tables.len()).await.map_err(failed)?;
    let is_exact = is_exact(&mut connection, template).await.map_err(failed)?;
    let look = Look::take(&mut connection, template, name, None).await.map_err(failed)?;
    let copied = catalog::read(&mut connection, name).await.map_err(failed)?;
    let difference = catalog::difference(&template.catalog, &copied).or_else(|| {
        let moved = template.tables.iter().find(|table| copied.counter(&table.name) != table.counter)?;
        Some(format!("the AUTO_INCREMENT of table {} is another one", identifier(&moved.name)))
    });
    let difference = match difference {
        None if template.unproven.load(Ordering::Relaxed) => {
            rows_differ(&mut connection, template, name).await.map_err(failed)?
        }
        difference => difference,
    };
    if let Some(difference) = difference {
        return Err(Error::new(ErrorKind::Schema, format!("{}: the copy is not equal: {difference}", fact())));
    }
    template.unproven.store(false, Ordering::Relaxed);
    let prepared = blockers::prepared(&mut connection).await.map_err(failed)?;
    let marks = is_exact.then_some(look.marks);
    Ok(Slot { name: name.to_owned(), connection, prepared, marks, files, rebuilt: Rebuilt::default(), resets: 0 })
}

/// A connection for the work on a database, and the only one that does any: of a process that is gone the server may be executing still what it
/// was sent. Such sessions are ended first.
async fn connect_alone(server: &DatabaseUrl, name: &str) -> Result<MySqlConnection, sqlx::Error> {
    let mut connection = connect(server, REGISTRY).await?;
    let [work, help] = [work_lock(name), help_lock(name)].map(|lock| literal(&lock));
    let question = format!("SELECT CONNECTION_ID(), GET_LOCK({work}, 0), IS_USED_LOCK({work}), IS_USED_LOCK({help})");
    loop {
        let answer = rows(&mut connection, &question).await?.into_iter().next().unwrap_or_default();
        let [own, is_held, works, helps] = fixed(answer);
        let others = [works, helps].into_iter().filter(|holder| *holder != own).flatten();
        let others: Vec<u64> = others.filter_map(|id| id.parse().ok()).collect();
        if others.is_empty() && is_held.as_deref() == Some("1") {
            return Ok(connection);
        }
        end_sessions(&mut connection, &|session| others.contains(&session.id), None).await?;
    }
}

/// Held by the connection of a slot for as long as there is one.
fn work_lock(name: &str) -> String {
    format!("{name}_work")
}

/// Held by the one that helps it, while it does.
pub(super) fn help_lock(name: &str) -> String {
    format!("{name}_help")
}

/// Whether the server's counters are exact now: of sessions that have just ended they may not be, such as of this pool's own.
async fn is_exact(connection: &mut MySqlConnection, template: &Template) -> Result<bool, sqlx::Error> {
    if template.features.threads().is_none() {
        return Ok(true);
    }
    connected(connection, template.features).await?.have_left(connection, template.features).await
}

/// Whether a table's rows are not the template's: what is computed when a row is inserted can come out otherwise, for one by the session's
/// time zone.
async fn rows_differ(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
    // When a row was written is part of it where its history is kept.
    let compared: Vec<&Table> =
        template.tables.iter().filter(|table| table.seeded && !table.versioned && !table.computes).collect();
    if compared.is_empty() {
        return Ok(None);
    }
    let sum = |database: &str| {
        let tables: Vec<String> = compared.iter().map(|table| qualified(database, &table.name)).collect();
        format!("CHECKSUM TABLE {}", tables.join(","))
    };
    let sums = |rows: Vec<TextRow>| rows.into_iter().map(|row| row.into_iter().nth(1).flatten());
    let theirs = sums(rows(connection, &sum(&template.name)).await?);
    let ours = sums(rows(connection, &sum(name)).await?);
    let others = compared.iter().zip(theirs.zip(ours)).filter(|(_, (theirs, ours))| theirs != ours);
    for (table, _) in others {
        // Sums depend on how rows are stored as well, and what CREATE TABLE said of that InnoDB may have forgotten.
        let differs = if table.key.is_empty() {
            seeded::listing_differs(connection, template, name, table).await?
        } else {
            seeded::differs(connection, template, name, table).await?
        };
        if differs {
            return Ok(Some(format!("table {} has other rows", identifier(&table.name))));
        }
    }
    Ok(None)
}

/// Nothing is known of what was done to it. Its first reset finds out.
pub(super) async fn open(server: &DatabaseUrl, template: &Template, name: &str) -> Result<Slot, Error> {
    let failed = |error| explain::<Mysql>(format!("failed to open the database `{name}`"), error);
    let mut connection = connect_alone(server, name).await.map_err(failed)?;
    // It is what the copy is compared with.
    check_volatile(&mut connection, template, &template.name).await?;
    Ok(Slot {
        name: name.to_owned(),
        connection,
        prepared: Vec::new(),
        marks: None,
        files: Files::default(),
        rebuilt: Rebuilt::default(),
        resets: 0,
    })
}

/// As its owner left it, nobody has touched it since: what the server's counters say now is what they said then.
pub(super) async fn adopt(server: &DatabaseUrl, template: &Template, name: &str) -> Result<Slot, Error> {
    let failed = |error| explain::<Mysql>(format!("failed to open the database `{name}`"), error);
    let mut slot = open(server, template, name).await?;
    check_volatile(&mut slot.connection, template, name).await?;
    let is_exact = is_exact(&mut slot.connection, template).await.map_err(failed)?;
    let look = Look::take_of_pristine(&mut slot.connection, template, name).await.map_err(failed)?;
    slot.prepared = blockers::prepared(&mut slot.connection).await.map_err(failed)?;
    // What was not answered in full says nothing: then the first reset compares all of it.
    slot.marks = (is_exact && !look.is_partial).then_some(look.marks);
    Ok(slot)
}

impl Slot {
    pub(super) async fn close(self) {
        if let Err(error) = say_goodbye(self.connection).await {
            tracing::debug!(database = self.name, %error, "the connection had ended before it was closed");
        }
    }
}

async fn replay(connection: &mut MySqlConnection, template: &Template, name: &str) -> Result<(), sqlx::Error> {
    let create = template.catalog.database.replace("\u{1}.", &identifier(name));
    execute(connection, &create).await?;
    execute(connection, &format!("USE {}", identifier(name))).await?;
    let filled = fill(connection, template, name).await;
    execute(connection, &format!("USE {REGISTRY}")).await?;
    filled
}

async fn fill(connection: &mut MySqlConnection, template: &Template, name: &str) -> Result<(), sqlx::Error> {
    let of_kind = |wanted: fn(Kind) -> bool| template.catalog.objects.iter().filter(move |object| wanted(object.kind));
    // ARCHIVE takes no row with a number that has been counted, and counts those that it takes.
    let counts_by_itself = |object: &Object| {
        template.tables.iter().any(|table| table.name == object.name && table.archives && table.seeded)
    };
    let tables = of_kind(|kind| kind.is_table() || kind == Kind::Sequence).flat_map(|object| {
        let counter = Some(template.catalog.counter(&object.name));
        let counter = counter.filter(|counter| *counter != 1 && !counts_by_itself(object));
        let count =
            counter.map(|counter| format!("ALTER TABLE {} AUTO_INCREMENT = {counter}", identifier(&object.name)));
        std::iter::once(object.create_in(name)).chain(count)
    });
    batch(connection, tables).await?;
    for sequence in &template.sequences {
        execute(connection, &sequence.restart(name)).await?;
    }
    for object in of_kind(|kind| kind > Kind::Versioned && kind < Kind::View) {
        create(connection, object, template, name).await?;
    }
    views(connection, of_kind(|kind| kind == Kind::View).collect(), template, name).await?;
    batch(
        connection,
        template.tables.iter().filter(|table| table.seeded).map(|table| insert_all(table, template, name)),
    )
    .await?;
    // Behind the rows: a trigger that fires at an INSERT has done so once already.
    for object in of_kind(|kind| kind > Kind::View) {
        create(connection, object, template, name).await?;
    }
    Ok(())
}

/// The rows of a table, as the template has them, and where they are kept as they come, in the same order: read by an index they would come in its.
pub(super) fn insert_all(table: &Table, template: &Template, name: &str) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| identifier(&column.name)).collect();
    let columns = columns.join(",");
    let (to, from) = (qualified(name, &table.name), qualified(&template.name, &table.name));
    let order = if table.transactional && !table.key.is_empty() { "" } else { " USE INDEX ()" };
    format!("INSERT INTO {to} ({columns}) SELECT {columns} FROM {from}{order}")
}

async fn batch(connection: &mut MySqlConnection, statements: impl Iterator<Item = String>) -> Result<(), sqlx::Error> {
    let mut sql = String::new();
    for statement in statements {
        let is_text = verbatim::is_text(&statement);
        if (sql.len() + statement.len() > BATCH || !is_text) && !sql.is_empty() {
            execute(connection, &sql).await?;
            sql.clear();
        }
        if !is_text {
            execute_bytes(connection, verbatim::bytes(&statement)).await?;
            continue;
        }
        if !sql.is_empty() {
            sql.push_str(";\n");
        }
        sql.push_str(&statement);
    }
    if sql.is_empty() { Ok(()) } else { execute(connection, &sql).await }
}

/// A view may need another, and no server says which: what fails for that is tried again behind the others.
async fn views(
    connection: &mut MySqlConnection,
    mut waiting: Vec<&Object>,
    template: &Template,
    name: &str,
) -> Result<(), sqlx::Error> {
    const NO_SUCH_TABLE: u16 = 1146;
    const VIEW_INVALID: u16 = 1356;
    while !waiting.is_empty() {
        let mut next = Vec::new();
        let mut reason = None;
        for view in &waiting {
            match create(connection, view, template, name).await {
                Err(error) if matches!(number(&error), Some(NO_SUCH_TABLE | VIEW_INVALID)) => {
                    next.push(*view);
                    reason = Some(error);
                }
                answer => answer?,
            }
        }
        if let (Some(error), true) = (reason, next.len() == waiting.len()) {
            return Err(error);
        }
        waiting = next;
    }
    Ok(())
}

/// Makes an object with the session's settings as they were when it was made first: it keeps them. Alone in its
/// batch, for its text may end in a comment.
pub(super) async fn create(
    connection: &mut MySqlConnection,
    object: &Object,
    template: &Template,
    name: &str,
) -> Result<(), sqlx::Error> {
    let Settings { sql_mode, client, connection: collation, database, time_zone } = &object.settings;
    let mut settings = Vec::new();
    let mut set = |variable: &str, value: &Option<String>| {
        if let Some(value) = value {
            settings.push(format!("{variable} = {}", literal(value)));
        }
    };
    set("sql_mode", sql_mode);
    set("character_set_client", client);
    set("collation_connection", collation);
    set("time_zone", time_zone);
    if object.kind == Kind::Event {
        // The servers make no event, or disable it, whose time has passed.
        settings.push("timestamp = 1".to_owned());
    }
    // What the database's collation was at that time.
    let collation =
        database.as_ref().filter(|collation| !template.catalog.database.contains(&format!("COLLATE {collation} ")));
    let before = if settings.is_empty() { String::new() } else { format!("SET SESSION {}", settings.join(", ")) };
    let mut create = object.create_in(name);
    // As a part of the text it is kept only where another statement follows.
    if create.ends_with(';') {
        create.push_str("\nDO 0");
    }
    let create = encoded(connection, &create, client.as_deref()).await?;
    if let Some(collation) = collation {
        execute(connection, &format!("ALTER DATABASE {} COLLATE {collation}", identifier(name))).await?;
    }
    if !before.is_empty() {
        execute(connection, &before).await?;
    }
    let made = execute_bytes(connection, create).await.map_err(|error| cannot_be_said(object, error));
    if !before.is_empty() {
        execute(connection, "SET NAMES utf8mb4; SET SESSION timestamp = DEFAULT").await?;
        execute(connection, super::connection::SETTINGS).await?;
    }
    if collation.is_some() {
        let original = template.catalog.database.replace("\u{1}.", &identifier(name)).replacen(
            "CREATE DATABASE",
            "ALTER DATABASE",
            1,
        );
        execute(connection, &original).await?;
    }
    made
}

/// Adds what is to be done where MySQL does not prepare what no text can say.
fn cannot_be_said(object: &Object, error: sqlx::Error) -> sqlx::Error {
    const NOT_PREPARED: u16 = 1295;
    if number(&error) != Some(NOT_PREPARED) {
        return error;
    }
    let fact = format!("{} was made by a client whose text was not UTF-8", object.title());
    carry(
        Error::new(ErrorKind::Schema, fact)
            .because(error)
            .hint("have the schema make it with the character set utf8mb4"),
    )
}

/// A statement as a client sends it that speaks in a character set: what the server shows is converted from that, unless it is no text.
async fn encoded(connection: &mut MySqlConnection, sql: &str, charset: Option<&str>) -> Result<Vec<u8>, sqlx::Error> {
    let is_converted = |charset: &&str| !charset.starts_with("utf8") && !sql.is_ascii() && verbatim::is_text(sql);
    let Some(charset) = charset.filter(is_converted) else { return Ok(verbatim::bytes(sql)) };
    let sql = format!("SELECT CAST(CONVERT(_utf8mb4 {} USING {charset}) AS BINARY)", binary(sql.as_bytes()));
    Ok(bytes(connection, &sql).await?.into_iter().flatten().flatten().next().unwrap_or_default())
}
