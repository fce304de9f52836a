//! What a database is made of, in the server's own words: every object as `SHOW CREATE` shows it, with the settings it was made under.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::MySqlConnection;

use super::super::REGISTRY;
use super::connection::{OWN, TextRow, execute, fixed, identifier, literal, results, rows, verbatim_results};
use super::table::{names_shared_tablespace, without_counter, without_inherited_collations, without_shared_tablespace};

/// What stands for the database's own name, which views and sequences' defaults hold.
const ITSELF: &str = "\u{1}.";

/// Everything in a database but its rows.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Catalog {
    /// `CREATE DATABASE`, for the character set, the collation and the options.
    pub(super) database: String,
    /// In the order in which they can be made.
    pub(super) objects: Vec<Object>,
    /// The next value of each table's AUTO_INCREMENT. One that was never used may be missing.
    pub(super) counters: HashMap<String, u64>,
    /// The storage engine of each table.
    pub(super) engines: HashMap<String, String>,
}

/// A table, a view, a routine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The table of a trigger.
    pub(super) table: Option<String>,
    /// The statement that makes it, without a table's AUTO_INCREMENT where a column has it.
    create: String,
    pub(super) settings: Settings,
}

/// The session's settings that an object was made under, and keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Settings {
    pub(super) sql_mode: Option<String>,
    pub(super) client: Option<String>,
    pub(super) connection: Option<String>,
    pub(super) database: Option<String>,
    pub(super) time_zone: Option<String>,
}

/// In the order in which a copy makes them: what comes later may need what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub(super) enum Kind {
    Sequence,
    Table,
    /// A table of MariaDB's that keeps its rows' history.
    Versioned,
    Library,
    Function,
    Procedure,
    Package,
    PackageBody,
    View,
    Trigger,
    Event,
}

impl Kind {
    fn of_table(kind: &str) -> Self {
        match kind {
            "VIEW" => Self::View,
            "SEQUENCE" => Self::Sequence,
            "SYSTEM VERSIONED" => Self::Versioned,
            _ => Self::Table,
        }
    }

    fn of_routine(kind: &str) -> Self {
        match kind {
            "PROCEDURE" => Self::Procedure,
            "PACKAGE" => Self::Package,
            "PACKAGE BODY" => Self::PackageBody,
            "LIBRARY" => Self::Library,
            _ => Self::Function,
        }
    }

    /// As it stands behind `SHOW CREATE`.
    fn keyword(self) -> &'static str {
        match self {
            Self::Table | Self::Versioned => "TABLE",
            Self::Sequence => "SEQUENCE",
            Self::View => "VIEW",
            Self::Library => "LIBRARY",
            Self::Function => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::Package => "PACKAGE",
            Self::PackageBody => "PACKAGE BODY",
            Self::Trigger => "TRIGGER",
            Self::Event => "EVENT",
        }
    }

    /// `table`, `package body`.
    pub(super) fn title(self) -> String {
        self.keyword().to_lowercase()
    }

    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Versioned)
    }
}

impl Object {
    /// The statement that makes it in a database of this name.
    pub(super) fn create_in(&self, database: &str) -> String {
        let create = self.create.replace(ITSELF, &format!("{}.", identifier(database)));
        if self.kind.is_table() { without_inherited_collations(&create) } else { create }
    }

    pub(super) fn title(&self) -> String {
        format!("{} {}", self.kind.title(), identifier(&self.name))
    }

    /// Whether the server names it and does not show it to this user: a routine of somebody else's.
    pub(super) fn is_hidden(&self) -> bool {
        self.create.is_empty()
    }

    fn is_said_to_share(&self) -> bool {
        self.kind.is_table() && names_shared_tablespace(&self.create)
    }

    /// The statement that makes it, for somebody to read, with what it was made under.
    pub(super) fn shown(&self) -> String {
        let Settings { sql_mode, client, connection, database, time_zone } = &self.settings;
        let settings = [sql_mode, client, connection, database, time_zone].into_iter().flatten();
        let settings: Vec<&str> = settings.map(String::as_str).collect();
        let create = self.create.replace(ITSELF, "");
        if settings.is_empty() { create } else { format!("{create}\n-- made under {}", settings.join(" ")) }
    }
}

impl Catalog {
    /// The statement that makes the database, for somebody to read, whatever it is called.
    pub(super) fn shown(&self) -> String {
        self.database.replace(&format!("{ITSELF} "), "")
    }

    /// The next value of a table's AUTO_INCREMENT: 1 if it was never used, or has none.
    pub(super) fn counter(&self, table: &str) -> u64 {
        self.counters.get(table).copied().unwrap_or(1)
    }
}

/// Reads it. The connection is on the registry before and after: the servers leave the name of the current database out of
/// what they show, and sessions on a slot are ended.
pub(super) async fn read(connection: &mut MySqlConnection, name: &str) -> Result<Catalog, sqlx::Error> {
    execute(connection, &format!("USE {}", identifier(name))).await?;
    let catalog = read_current(connection, name).await;
    execute(connection, &format!("USE {REGISTRY}")).await?;
    catalog
}

async fn read_current(connection: &mut MySqlConnection, name: &str) -> Result<Catalog, sqlx::Error> {
    // A name and not `DATABASE()`, with which MariaDB looks through every database, and calls each in turn the current one of this
    // session: whoever resets another slot at that moment would take this for a session on it, and end it. The columns are those by
    // which MariaDB finds one database (`EXPLAIN` says how many it scans); of triggers, that is not their own schema.
    let schema = literal(name);
    let mut lists = results(
        connection,
        &format!(
            "SHOW CREATE DATABASE {};
             {OWN}SELECT table_name, table_type, engine, auto_increment FROM information_schema.tables WHERE table_schema = {schema}
              ORDER BY table_name;
             {OWN}SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE event_object_schema = {schema}
              ORDER BY event_object_table, event_manipulation, action_timing, action_order;
             {OWN}SELECT routine_name, routine_type FROM information_schema.routines WHERE routine_schema = {schema}
              ORDER BY routine_type, routine_name;
             {OWN}SELECT event_name FROM information_schema.events WHERE event_schema = {schema} ORDER BY event_name",
            identifier(name)
        ),
    )
    .await?
    .into_iter();
    let mut next = || lists.next().unwrap_or_default();
    let database = next().into_iter().next().and_then(|row| row.into_iter().nth(1).flatten()).unwrap_or_default();
    let (tables, triggers, routines, events) = (next(), next(), next(), next());

    let mut named: Vec<(Kind, String, Option<String>)> = Vec::new();
    let (mut counters, mut engines) = (HashMap::new(), HashMap::new());
    for row in tables {
        let [Some(table), Some(kind), engine, counter] = fixed(row) else { continue };
        let kind = Kind::of_table(&kind);
        if let (Some(counter), true) = (counter.and_then(|counter| counter.parse().ok()), kind.is_table()) {
            counters.insert(table.clone(), counter);
        }
        engines.insert(table.clone(), engine.unwrap_or_default());
        named.push((kind, table, None));
    }
    for row in triggers {
        let [Some(trigger), table] = fixed(row) else { continue };
        named.push((Kind::Trigger, trigger, table));
    }
    for row in routines {
        let [Some(routine), Some(kind)] = fixed(row) else { continue };
        named.push((Kind::of_routine(&kind), routine, None));
    }
    named.extend(
        events.into_iter().filter_map(|row| row.into_iter().next().flatten()).map(|event| (Kind::Event, event, None)),
    );
    // Stable, so that the triggers of a table stay in the order in which they fire.
    named.sort_by_key(|(kind, ..)| *kind);

    let shown = show_all(connection, &named).await?;
    let own = format!("{}.", identifier(name));
    let mut objects: Vec<Object> = named
        .into_iter()
        .zip(shown)
        .filter_map(|((kind, name, table), row)| {
            let mut object = object(kind, name, row)?;
            object.table = table;
            object.create = object.create.replace(&own, ITSELF);
            // Of a table of MyISAM's MariaDB shows one that none of its columns has, too: no row moves it, and a copy is to have it.
            if counters.contains_key(&object.name) {
                object.create = without_counter(&object.create);
            }
            Some(object)
        })
        .collect();
    let shared: Vec<&mut Object> = objects.iter_mut().filter(|object| object.is_said_to_share()).collect();
    if !shared.is_empty() && all_tables_share(connection).await? {
        for object in shared {
            object.create = without_shared_tablespace(&object.create);
        }
    }
    Ok(Catalog { database: database.replace(&identifier(name), ITSELF), objects, counters, engines })
}

/// Whether new tables are made in one tablespace that all share. There MySQL shows that of a table which was altered or truncated as if it had
/// been said of it, and not of one which was not, and says it of partitions, of which it takes it from nobody. Of such a server the template's tables are in it, too.
async fn all_tables_share(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    let answer = rows(connection, "SELECT @@GLOBAL.innodb_file_per_table").await?;
    Ok(answer.into_iter().flatten().flatten().next().as_deref() == Some("0"))
}

async fn show_all(
    connection: &mut MySqlConnection,
    named: &[(Kind, String, Option<String>)],
) -> Result<Vec<TextRow>, sqlx::Error> {
    let mut shown = Vec::with_capacity(named.len());
    for some in named.chunks(500) {
        let sql: Vec<String> = some
            .iter()
            .map(|(kind, name, _)| format!("{OWN}SHOW CREATE {} {}", kind.keyword(), identifier(name)))
            .collect();
        let results = verbatim_results(connection, &sql.join(";")).await?;
        shown.extend(results.into_iter().map(|rows| rows.into_iter().next().unwrap_or_default()));
    }
    Ok(shown)
}

/// Out of a row of `SHOW CREATE`, whose columns are other ones for each kind.
fn object(kind: Kind, name: String, row: TextRow) -> Option<Object> {
    let mut row = row.into_iter().skip(1);
    let mut next = || row.next().flatten();
    let mut settings = Settings::default();
    let create = match kind {
        Kind::Table | Kind::Versioned | Kind::Sequence => next()?,
        Kind::Library => next().unwrap_or_default(),
        Kind::View => {
            let create = next()?;
            settings = Settings { client: next(), connection: next(), ..settings };
            create
        }
        Kind::Event => {
            settings = Settings { sql_mode: next(), time_zone: next(), ..settings };
            let create = next()?;
            settings = Settings { client: next(), connection: next(), database: next(), ..settings };
            create
        }
        Kind::Function | Kind::Procedure | Kind::Package | Kind::PackageBody | Kind::Trigger => {
            settings.sql_mode = next();
            // To who may not read it the text of a routine is NULL. It is there all the same.
            let create = next().unwrap_or_default();
            settings = Settings { client: next(), connection: next(), database: next(), ..settings };
            create
        }
    };
    Some(Object { kind, name, table: None, create, settings })
}

/// What tells one from the other, if anything does.
pub(super) fn difference(template: &Catalog, copy: &Catalog) -> Option<String> {
    if template.database != copy.database {
        return Some("the database itself was altered".to_owned());
    }
    let key = |object: &Object| (object.kind.keyword(), object.name.clone());
    let known: HashMap<_, _> = template.objects.iter().map(|object| (key(object), object)).collect();
    let found: HashMap<_, _> = copy.objects.iter().map(|object| (key(object), object)).collect();
    for object in &template.objects {
        match found.get(&key(object)) {
            None => return Some(format!("{} is gone", object.title())),
            Some(copy) if *copy != object => return Some(format!("{} was altered", object.title())),
            Some(_) => {}
        }
    }
    if let Some(added) = copy.objects.iter().find(|object| !known.contains_key(&key(object))) {
        return Some(format!("{} was created", added.title()));
    }
    // The same objects, all equal. Triggers of one table fire one after another. What else there is has no order: of tables whose names
    // differ by case or accent alone, MariaDB lists any first.
    (triggers(template) != triggers(copy)).then(|| "the order of the triggers was altered".to_owned())
}

/// The names of the triggers, by their tables, each in the order in which they fire.
fn triggers(catalog: &Catalog) -> Vec<(Option<&str>, &str)> {
    let triggers = catalog.objects.iter().filter(|object| object.kind == Kind::Trigger);
    let mut triggers: Vec<_> = triggers.map(|trigger| (trigger.table.as_deref(), trigger.name.as_str())).collect();
    // Stable: what the server says of two tables can be mixed, of one it is in order.
    triggers.sort_by_key(|(table, _)| *table);
    triggers
}
