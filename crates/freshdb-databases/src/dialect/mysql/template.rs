//! What a template holds, read once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use sqlx::MySqlConnection;

use super::super::{REGISTRY, explain, say_goodbye};
use super::Mysql;
use super::catalog::{self, Catalog, Kind};
use super::connection::{TextRow, connect, fixed, identifier, literal, results, rows};
use super::helper::Helper;
use super::look::{PROBES, with_a_row};
use super::marks::{self, Features};
use super::own::Own;
use super::pages::{Described, KeyColumn};
use crate::{DatabaseUrl, Error, ErrorKind};

/// How many rows of a table that are other ones are put back by their keys, and how many a table has that is written anew.
pub(super) const FEW: usize = 1000;

/// What a template holds.
#[derive(Deserialize, Serialize)]
pub(crate) struct Template {
    pub(super) name: String,
    pub(super) catalog: Catalog,
    pub(super) tables: Vec<Table>,
    pub(super) sequences: Vec<Sequence>,
    /// Which tables a foreign key carries a change of a table's rows to, by index.
    pub(super) cascades: HashMap<usize, Vec<usize>>,
    /// Of the server, and in part asked for by each process.
    pub(super) features: Features,
    /// The question for its counters of statements: those that a server has go by its version.
    pub(super) statements: String,
    /// What this process does on the server.
    #[serde(skip)]
    pub(super) own: Arc<Own>,
    #[serde(skip)]
    pub(super) helper: Helper,
    /// Whether its files may be in reach: it is on this machine.
    #[serde(skip)]
    pub(super) has_files_here: bool,
    /// Whether no copy of this process's was found equal to it in its rows yet: until then each is compared.
    #[serde(skip)]
    pub(super) unproven: AtomicBool,
}

/// A table of a template's.
#[derive(Debug, Deserialize, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a table")]
pub(super) struct Table {
    pub(super) name: String,
    /// Whether it keeps its rows' history.
    pub(super) versioned: bool,
    /// Whether it has transactions: InnoDB.
    pub(super) transactional: bool,
    /// Whether its engine deletes no rows: ARCHIVE.
    pub(super) archives: bool,
    /// Whether the server keeps its rows in memory, and has none when it starts anew.
    pub(super) volatile: bool,
    /// The next value of its AUTO_INCREMENT: 1 if it was never used, or has none.
    pub(super) counter: u64,
    /// Whether it has an AUTO_INCREMENT.
    pub(super) counts: bool,
    /// Whether it has partitions.
    pub(super) partitioned: bool,
    /// Whether it has rows.
    pub(super) seeded: bool,
    /// Whether it has a unique key besides the primary one. What is deleted stays in that until the server clears it away, and whoever
    /// inserts a row beside it waits for others who do, as nobody would in a table that was always empty. Or whether it has an index of
    /// texts.
    pub(super) unique: bool,
    /// Whether it has an index of texts. Rows that were deleted are among those by which InnoDB reckons how much a word tells.
    pub(super) texts: bool,
    /// Whether it has so few rows that all of them are soon written.
    pub(super) small: bool,
    /// Whether it has columns that are computed when they are read: hidden ones, too, which MySQL makes of an index's expressions.
    pub(super) computes: bool,
    /// Whether it has an index that rows stay in which were deleted: one of such a column, which what is deleted leaves by what it is computed to be
    /// then, and that can be another value than when it was written, for one in another time zone; or one of MariaDB's of vectors, where what was
    /// deleted is in the way of searches.
    pub(super) indexes_deleted: bool,
    /// Whether a trigger fires when a row of it is written.
    pub(super) triggers: bool,
    /// Those that values are inserted into.
    pub(super) columns: Vec<Column>,
    /// Those whose values are computed when a row is written, and stored; of MySQL alone, where all copies are known to have the template's.
    pub(super) computed: Vec<Column>,
    /// The names of its primary key's columns, or nothing.
    pub(super) key: Vec<String>,
    /// What its rows are in the ascending order of, if that can be read in its file: the first of the key's columns.
    pub(super) order: Option<KeyColumn>,
}

/// A column that is stored.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    /// `varchar`.
    pub(super) data_type: String,
}

/// A sequence, and its row.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Sequence {
    pub(super) name: String,
    pub(super) row: Vec<Option<String>>,
}

pub(super) async fn read(server: &DatabaseUrl, name: &str) -> Result<Template, Error> {
    let failed = |error| explain::<Mysql>(format!("failed to read the template `{name}`"), error);
    let mut connection = connect(server, REGISTRY).await.map_err(failed)?;
    let template = read_with(&mut connection, server, name).await.map_err(failed)?;
    say_goodbye(connection).await.map_err(failed)?;
    if let Some(hidden) = template.catalog.objects.iter().find(|object| object.is_hidden()) {
        // <https://dev.mysql.com/doc/refman/9.7/en/privileges-provided.html#priv_show-routine>, and
        // <https://mariadb.com/kb/en/show-create-procedure/>.
        let may_read =
            if template.features.truncate_is_cheaper { "SHOW_ROUTINE ON *.*" } else { "SELECT ON mysql.proc" };
        let fact = format!("{} of the template `{name}` cannot be read: it is another user's", hidden.title());
        return Err(Error::new(ErrorKind::Privileges, fact).hint(format!(
            "as an administrator of the server, run `GRANT {may_read} TO <user>`, or have the schema made by this user"
        )));
    }
    match template.catalog.engines.iter().find(|(_, engine)| !keeps_rows_itself(engine)) {
        None => Ok(template),
        Some((table, engine)) => Err(Error::new(
            ErrorKind::Schema,
            format!("the rows of table {} are not in the database: its engine is {engine}", identifier(table)),
        )
        .hint("leave it out of the schema of tests, or make it a table of InnoDB there")),
    }
}

/// Whether an engine keeps the rows of a table in that table. What is inserted into one of FEDERATED or MERGE is in another one, and what
/// empties it empties that.
fn keeps_rows_itself(engine: &str) -> bool {
    const ENGINES: [&str; 9] =
        ["InnoDB", "MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE", "BLACKHOLE", "ROCKSDB", "ndbcluster"];
    // A view has none.
    engine.is_empty() || ENGINES.iter().any(|known| known.eq_ignore_ascii_case(engine))
}

/// What another process has read.
pub(super) async fn restore(
    connection: &mut MySqlConnection,
    server: &DatabaseUrl,
    stored: &str,
) -> Result<Option<Template>, sqlx::Error> {
    let Ok(template) = serde_json::from_str::<Template>(stored) else { return Ok(None) };
    let features = template.features.again(connection).await?;
    let unproven = AtomicBool::new(true);
    Ok(Some(Template {
        features,
        own: Own::on(server),
        helper: Helper::on(server),
        has_files_here: server.is_on_loopback(),
        unproven,
        ..template
    }))
}

async fn read_with(
    connection: &mut MySqlConnection,
    server: &DatabaseUrl,
    name: &str,
) -> Result<Template, sqlx::Error> {
    let catalog = catalog::read(connection, name).await?;
    let schema = literal(name);
    // Of a column that is not generated MySQL may say DEFAULT_GENERATED: its default is an expression. And names that differ by case or
    // accent alone are one to MariaDB, where it is to leave out what is there already.
    let mut lists = results(
        connection,
        &format!(
            "SELECT table_name, column_name, data_type, column_type, character_set_name, collation_name, character_octet_length
              FROM information_schema.columns WHERE table_schema = {schema}
              AND COALESCE(generation_expression, '') = '' AND extra NOT LIKE '% GENERATED%' ORDER BY table_name, ordinal_position;
             SELECT table_name, column_name, IF(sub_part IS NULL, collation, NULL)
              FROM information_schema.statistics WHERE table_schema = {schema}
              AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index;
             SELECT referenced_table_name, table_name FROM information_schema.referential_constraints
              WHERE constraint_schema = {schema} AND unique_constraint_schema = {schema}
                AND NOT (update_rule IN ('RESTRICT', 'NO ACTION') AND delete_rule IN ('RESTRICT', 'NO ACTION'));
             SELECT table_name FROM information_schema.partitions WHERE table_schema = {schema} AND partition_name IS NOT NULL;
             SELECT table_name FROM information_schema.columns WHERE table_schema = {schema} AND extra LIKE '%auto_increment%';
             SELECT table_name FROM information_schema.statistics WHERE table_schema = {schema}
              AND (non_unique = 0 AND index_name <> 'PRIMARY' OR index_type = 'FULLTEXT');
             SELECT table_name FROM information_schema.statistics WHERE table_schema = {schema} AND index_type = 'FULLTEXT';
             SELECT table_name FROM information_schema.columns WHERE table_schema = {schema} AND extra LIKE 'VIRTUAL %'
              UNION ALL SELECT table_name FROM information_schema.statistics WHERE table_schema = {schema} AND column_name IS NULL;
             SELECT s.table_name FROM information_schema.statistics s JOIN information_schema.columns c ON c.table_name = s.table_name
              AND c.column_name = s.column_name WHERE s.table_schema = {schema} AND c.table_schema = {schema} AND c.extra LIKE 'VIRTUAL %'
              UNION ALL SELECT table_name FROM information_schema.statistics WHERE table_schema = {schema}
               AND (column_name IS NULL OR index_type = 'VECTOR');
             SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = {schema}
              AND extra LIKE 'STORED GENERATED%' ORDER BY table_name, ordinal_position;
             SELECT table_name, COUNT(*) FROM information_schema.columns WHERE table_schema = {schema}
              AND is_nullable = 'YES' AND extra NOT LIKE 'VIRTUAL %' GROUP BY CAST(table_name AS BINARY)"
        ),
    )
    .await?;
    let features = Features::probe(connection).await?;
    let nullable = lists.pop().unwrap_or_default();
    let computed = lists.pop().filter(|_| features.truncate_is_cheaper).unwrap_or_default();
    let mut last = || lists.pop().into_iter().flatten().flatten().flatten().collect::<HashSet<String>>();
    let (indexing, computing, texts, unique) = (last(), last(), last(), last());
    let (counting, partitioned) = (last(), last());
    let [keyed, keys, stored] = std::array::from_fn(|_| lists.pop().unwrap_or_default());
    let mut columns = Columns::of([stored, computed, keys, nullable]);
    let tables: Vec<Table> = catalog
        .objects
        .iter()
        .filter(|object| object.kind.is_table())
        .map(|object| Table {
            name: object.name.clone(),
            versioned: object.kind == Kind::Versioned,
            transactional: catalog.engines.get(&object.name).is_some_and(|engine| engine == "InnoDB"),
            archives: catalog.engines.get(&object.name).is_some_and(|engine| engine == "ARCHIVE"),
            volatile: catalog.engines.get(&object.name).is_some_and(|engine| engine == "MEMORY"),
            counter: catalog.counter(&object.name),
            counts: counting.contains(&object.name),
            partitioned: partitioned.contains(&object.name),
            seeded: false,
            unique: unique.contains(&object.name),
            texts: texts.contains(&object.name),
            small: false,
            computes: computing.contains(&object.name),
            indexes_deleted: indexing.contains(&object.name) && object.kind != Kind::Versioned,
            triggers: catalog.objects.iter().any(|trigger| trigger.table.as_ref() == Some(&object.name)),
            columns: columns.stored.remove(&object.name).unwrap_or_default(),
            computed: columns.computed.remove(&object.name).unwrap_or_default(),
            key: columns.keys.remove(&object.name).unwrap_or_default(),
            order: columns.orders.remove(&object.name),
        })
        .collect();
    let names = catalog.objects.iter().filter(|object| object.kind == Kind::Sequence).map(|object| object.name.clone());
    let sequences = sequences(connection, name, names.collect()).await?;
    let index: HashMap<&str, usize> =
        tables.iter().enumerate().map(|(index, table)| (table.name.as_str(), index)).collect();
    let mut cascades: HashMap<usize, Vec<usize>> = HashMap::new();
    for mut row in keyed {
        let (child, parent) = (row.pop().flatten().unwrap_or_default(), row.pop().flatten().unwrap_or_default());
        if let (Some(parent), Some(child)) = (index.get(parent.as_str()), index.get(child.as_str())) {
            cascades.entry(*parent).or_default().push(*child);
        }
    }
    let mut template = Template {
        name: name.to_owned(),
        catalog,
        tables,
        sequences,
        cascades,
        features,
        statements: marks::statements(connection, features).await?,
        own: Own::on(server),
        helper: Helper::on(server),
        has_files_here: server.is_on_loopback(),
        unproven: AtomicBool::new(true),
    };
    let all: Vec<usize> = (0..template.tables.len()).collect();
    for index in with_rows(connection, &template, name, &all).await? {
        template.tables[index].seeded = true;
    }
    for index in small(connection, &template).await? {
        template.tables[index].small = true;
    }
    Ok(template)
}

/// The columns of all tables, by the tables' names.
#[derive(Default)]
struct Columns {
    /// Those that are not generated.
    stored: HashMap<String, Vec<Column>>,
    /// Those that are, and are stored.
    computed: HashMap<String, Vec<Column>>,
    keys: HashMap<String, Vec<String>>,
    orders: HashMap<String, KeyColumn>,
}

impl Columns {
    /// Out of their names and types, and those of the primary keys' columns with their order, and how many columns of each table can be NULL.
    fn of([stored, computed, keyed, nullable]: [Vec<TextRow>; 4]) -> Self {
        let mut columns = Self::default();
        let pair = |row: TextRow| match fixed(row) {
            [Some(table), Some(count)] => Some((table, count.parse().ok()?)),
            _ => None,
        };
        let nullable: HashMap<String, usize> = nullable.into_iter().filter_map(pair).collect();
        let mut can_begin_keys = HashMap::new();
        for row in stored {
            let [Some(table), Some(name), Some(data_type), Some(column_type), charset, collation, longest] = fixed(row)
            else {
                continue;
            };
            let data_type = data_type.to_lowercase();
            let longest = longest.and_then(|longest| longest.parse().ok());
            let (charset, collation) = (charset.as_deref(), collation.as_deref());
            let column = Described { data_type: &data_type, column_type: &column_type, charset, collation, longest };
            if let Some(key) = KeyColumn::of(&column, nullable.get(&table).copied().unwrap_or(0)) {
                can_begin_keys.insert((table.clone(), name.clone()), key);
            }
            columns.stored.entry(table).or_default().push(Column { name, data_type });
        }
        for row in computed {
            let [Some(table), Some(name), Some(data_type)] = fixed(row) else { continue };
            columns.computed.entry(table).or_default().push(Column { name, data_type: data_type.to_lowercase() });
        }
        for row in keyed {
            let [Some(table), Some(name), direction] = fixed(row) else { continue };
            let key = columns.keys.entry(table.clone()).or_default();
            if key.is_empty() && direction.as_deref() == Some("A") {
                let first = can_begin_keys.remove(&(table.clone(), name.clone()));
                columns.orders.extend(first.map(|first| (table, first)));
            }
            key.push(name);
        }
        columns
    }
}

/// Which of `some` tables have a row, in history too.
pub(super) async fn with_rows(
    connection: &mut MySqlConnection,
    template: &Template,
    database: &str,
    some: &[usize],
) -> Result<Vec<usize>, sqlx::Error> {
    those_of(connection, some, |some| template.probe(database, some)).await
}

/// Those of `some` tables that a question is answered for by 1, asked of so many at a time.
async fn those_of(
    connection: &mut MySqlConnection,
    some: &[usize],
    question: impl Fn(&[usize]) -> String,
) -> Result<Vec<usize>, sqlx::Error> {
    let mut found = Vec::new();
    for some in some.chunks(PROBES) {
        found.extend(with_a_row(some, rows(connection, &question(some)).await?));
    }
    Ok(found)
}

/// Fails where a template, or a copy of it that should be pristine, has lost rows with the end of a server.
pub(super) async fn check_volatile(
    connection: &mut MySqlConnection,
    template: &Template,
    database: &str,
) -> Result<(), Error> {
    let some: Vec<usize> = (0..template.tables.len())
        .filter(|index| template.tables[*index].volatile && template.tables[*index].seeded)
        .collect();
    let there = with_rows(connection, template, database, &some).await;
    let there = there.map_err(|error| explain::<Mysql>(format!("failed to look into `{database}`"), error))?;
    match some.iter().find(|index| !there.contains(index)) {
        None => Ok(()),
        Some(lost) => Err(Error::new(
            ErrorKind::Database,
            format!(
                "the server has started anew, and table {}, which is kept in memory, is empty in `{database}` since then",
                identifier(&template.tables[*lost].name)
            ),
        )
        .hint("make the template anew, by `FRESHDB_REBUILD=1` or `PoolBuilder::rebuild`, or have the schema keep that table on disk")),
    }
}

/// Which of the tables that have a row have no more than a few.
async fn small(connection: &mut MySqlConnection, template: &Template) -> Result<Vec<usize>, sqlx::Error> {
    let seeded: Vec<usize> = (0..template.tables.len()).filter(|index| template.tables[*index].seeded).collect();
    let is_small = |index: &usize| {
        let table = qualified(&template.name, &template.tables[*index].name);
        format!("(SELECT COUNT(*) <= {FEW} FROM (SELECT 1 FROM {table} LIMIT {}) few)", FEW + 1)
    };
    let are_small = |some: &[usize]| {
        let each: Vec<String> = some.iter().map(is_small).collect();
        format!("SELECT CONCAT({})", each.join(","))
    };
    those_of(connection, &seeded, are_small).await
}

/// The rows of sequences.
pub(super) async fn sequences(
    connection: &mut MySqlConnection,
    database: &str,
    names: Vec<String>,
) -> Result<Vec<Sequence>, sqlx::Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql: Vec<String> = names.iter().map(|name| format!("SELECT * FROM {}", qualified(database, name))).collect();
    let results = results(connection, &sql.join(";")).await?;
    let rows = results.into_iter().map(|rows| rows.into_iter().next().unwrap_or_default());
    Ok(names.into_iter().zip(rows).map(|(name, row)| Sequence { name, row }).collect())
}

/// A table's name with its database's.
pub(super) fn qualified(database: &str, table: &str) -> String {
    format!("{}.{}", identifier(database), identifier(table))
}
