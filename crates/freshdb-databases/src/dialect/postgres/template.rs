//! What a template holds.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::catalog::{self, Catalog, Schema};
use super::connection::{Connection, connect, connect_unseen, execute, is, literal, rows, value};
use super::databases::alter;
use super::fault::{failed, is_refused};
use super::probe::{self, Probe};
use super::unlogged;
use crate::{DatabaseUrl, Error};

/// For how long another process that reads the same template is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// `ALLOW_CONNECTIONS false`.
const NOT_ACCEPTING_CONNECTIONS: &str = "55000";

/// The rows of a table are kept at hand if they take no more bytes on disk than this: to write more back takes longer than a new copy.
const KEPT: u64 = 512 << 10;

/// What the rows of a relation take on disk, with the values that are stored apart from their rows; of the `pg_class` row `c`.
const SIZE: &str = "pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0)";

/// What all copies of a template must equal.
#[derive(Deserialize, Serialize)]
pub(crate) struct Template {
    pub(super) name: String,
    /// The clause of `CREATE DATABASE` that makes copies cheapest on this server; nothing where there is no choice.
    pub(super) strategy: String,
    /// Whether the server's counters are complete as soon as a session has ended.
    pub(super) counters: bool,
    /// Whether triggers fire when somebody logs in.
    pub(super) greets: bool,
    pub(super) catalogs: Vec<Catalog>,
    pub(super) signatures: Vec<String>,
    pub(super) schema: Schema,
    pub(super) relations: Vec<Relation>,
    pub(super) sequences: Vec<Sequence>,
    /// What is said of the database itself.
    pub(super) database: String,
    pub(super) settings: DatabaseSettings,
    pub(super) probe: Probe,
}

/// What is said of a database itself and `CREATE DATABASE` does not copy.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct DatabaseSettings {
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`: the role, if it is for one, the name, the value.
    pub(super) variables: Vec<(Option<String>, String, String)>,
    pub(super) comment: Option<String>,
    /// The clauses of `CREATE DATABASE` for its owner and its limit on connections, where they are not those of any new database.
    pub(super) clauses: String,
    /// Its privileges as the server writes them; nothing if it has those of any new database.
    pub(super) privileges: Option<String>,
}

/// Something that stores rows: a table, a partition, a materialized view.
#[derive(Deserialize, Serialize)]
pub(super) struct Relation {
    pub(super) oid: String,
    /// As SQL writes it, its schema included.
    pub(super) name: String,
    /// The file that its rows are in. Copies have the same.
    pub(super) file: String,
    /// [`SIZE`] of it.
    pub(super) size: u64,
    /// The oid of what stores the values that are apart from their rows, or 0. Copies have the same.
    pub(super) toast: String,
    /// Whether its rows can be written: not those of a materialized view.
    pub(super) writable: bool,
    /// Whether a crash of the server empties it.
    pub(super) unlogged: bool,
    /// Whether there is a trigger or a rule on it that fires even for freshdb.
    pub(super) guarded: bool,
    /// Nothing if the table is empty.
    pub(super) seed: Option<Seed>,
}

/// The rows of a template's table.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Seed {
    pub(super) mark: Mark,
    /// How to write them back, and what; nothing if they are too many.
    pub(super) rows: Option<Rows>,
}

/// By what rows are known to be the template's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Mark {
    /// Where the last row is. Those that are added come behind it, unless there are gaps.
    pub(super) last: String,
    /// The number of the first transaction that can have written others: of those that come into gaps.
    pub(super) next: String,
    /// How many rows, and the sum of the transactions that wrote them.
    pub(super) signature: String,
}

impl Mark {
    /// How many rows.
    pub(super) fn count(&self) -> &str {
        self.signature.split('/').next().unwrap_or_default()
    }
}

/// The rows themselves.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Rows {
    /// The statement that writes them. `COPY` takes the driver three packets one behind another, and so forty milliseconds, for it
    /// leaves it to the system when small ones are sent.
    pub(super) insert: String,
    /// The columns that are stored. Of others a value may fail to be computed.
    pub(super) stored: String,
    /// A hash of what [`hash`] reads: their content and their order.
    pub(super) hash: [u8; 32],
}

#[derive(Deserialize, Serialize)]
pub(super) struct Sequence {
    pub(super) oid: String,
    pub(super) name: String,
    /// Whether a crash of the server sets it back.
    pub(super) unlogged: bool,
    /// `5t`: the last value, and whether it was given out.
    pub(super) value: String,
}

/// Reads a template and seals it: a session on it, of a monitoring tool for one, would keep everybody from copying it.
pub(super) async fn read(server: &DatabaseUrl, name: &str) -> Result<Template, Error> {
    let fact = || format!("failed to read the template `{name}`");
    let mut admin = connect(server, super::super::REGISTRY).await.map_err(failed(fact()))?;
    let (mut inside, sealed_before) = open(&mut admin, server, name).await.map_err(failed(fact()))?;
    let read = read_whole(&mut inside, name, !sealed_before).await;
    // Whatever became of the reading, nobody is left on the template.
    let closed = inside.close().await.map_err(failed(fact()));
    let sealed = alter(&mut admin, name, "ALLOW_CONNECTIONS false").await;
    let template = read?;
    closed?;
    sealed.map_err(failed(format!("failed to close the template `{name}` to others")))?;
    admin.close().await.map_err(failed(fact()))?;
    Ok(template)
}

/// Connects to a template, which another process may have sealed, and may be about to seal again. Says whether it was sealed.
async fn open(admin: &mut Connection, server: &DatabaseUrl, name: &str) -> Result<(Connection, bool), sqlx::Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut sealed = false;
    loop {
        let connected =
            if admin.has_login_triggers() { connect_unseen(server, name).await } else { connect(server, name).await };
        match connected {
            Err(error) if is(&error, &[NOT_ACCEPTING_CONNECTIONS]) && Instant::now() < deadline => {
                alter(admin, name, "ALLOW_CONNECTIONS true").await?;
                sealed = true;
            }
            answer => return Ok((answer?, sealed)),
        }
    }
}

async fn read_whole(inside: &mut Connection, name: &str, first: bool) -> Result<Template, Error> {
    let failed = || failed(format!("failed to read the template `{name}`"));
    let template = read_open(inside, name, first).await.map_err(failed())?;
    match unlogged::lost_by_template(inside, &template).await.map_err(failed())? {
        Some(lost) => Err(unlogged::error(name, &lost)),
        None => Ok(template),
    }
}

async fn read_open(inside: &mut Connection, name: &str, first: bool) -> Result<Template, sqlx::Error> {
    if first {
        // Other processes may be at the same work, and a busy machine takes its time for all of it.
        execute(inside, "SET lock_timeout = '5min'").await?;
        // Of each of the server's own tables that another role than a superuser's cannot vacuum it says so.
        execute(inside, "SET client_min_messages = error").await?;
        // Once for all copies: statistics for the planner, and nothing that each copy's autovacuum would find to do.
        execute(inside, "VACUUM (FREEZE)").await?;
        analyze(inside).await?;
        close_gaps(inside).await?;
        write_down_sequences(inside).await?;
        execute(inside, "RESET client_min_messages; RESET lock_timeout").await?;
    }
    // Servers with this function write statistics to shared memory; older ones send them, and nobody knows when they arrive.
    let counters = server_counts(inside).await? && schema_lets_count(inside).await?;
    let greets = greets(inside).await?;
    let catalogs = catalog::list(inside).await?;
    let all = catalogs.iter().collect::<Vec<_>>();
    let signatures = catalog::signatures(inside, &all).await?;
    let schema = Schema::of(&catalog::content(inside, &all).await?);
    let relations = relations(inside).await?;
    let sequences = sequences(inside).await?;
    let database = value(inside, &format!("SELECT {}", probe::DATABASE)).await?.unwrap_or_default();
    let settings = settings(inside).await?;
    let strategy = strategy(inside).await?.to_owned();
    let probe = Probe::new(counters, &catalogs, &relations, &sequences);
    let name = name.to_owned();
    Ok(Template {
        name,
        strategy,
        counters,
        greets,
        catalogs,
        signatures,
        schema,
        relations,
        sequences,
        database,
        settings,
        probe,
    })
}

/// Of the server's own tables a new database has statistics from the day the server was set up; to make these anew takes three times as long as all the rest.
async fn analyze(inside: &mut Connection) -> Result<(), sqlx::Error> {
    let sql =
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
            AND has_schema_privilege(n.oid, 'USAGE') ORDER BY c.oid";
    let tables = rows(inside, sql).await?.into_iter().flatten().flatten().collect::<Vec<_>>();
    if tables.is_empty() {
        return Ok(());
    }
    match execute(inside, &format!("ANALYZE {}", tables.join(", "))).await {
        Err(error) if is_refused(&error) => {}
        answer => return answer,
    }
    for table in tables {
        match execute(inside, &format!("ANALYZE {table}")).await {
            // It may have an index of an expression that fails here.
            Err(error) if is_refused(&error) => tracing::debug!("there are no statistics of {table}: {error}"),
            answer => answer?,
        }
    }
    Ok(())
}

/// Rows that are written back lie one behind another. So they do in the template: where a row was deleted before it was complete, one that a test
/// adds would come to lie among the others, and be read among them.
async fn close_gaps(inside: &mut Connection) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND c.relkind = 'r' AND c.relpersistence <> 't' AND {SIZE} <= {KEPT}
            AND pg_relation_size(c.oid) > 0"
    );
    for name in rows(inside, &sql).await?.into_iter().flatten().flatten() {
        // It makes the indexes anew, of which one may be of an expression that fails here.
        match execute(inside, &format!("VACUUM (FULL, FREEZE, ANALYZE) {name}")).await {
            Err(error) if is_refused(&error) => {
                tracing::debug!("gaps between the rows of {name} stay: {error}");
            }
            answer => answer?,
        }
    }
    Ok(())
}

/// The server writes a sequence down ahead of the values that it gives out, and goes on from there after a crash: in the template too, and in copies
/// that are made of it then. A value that is set is written down as it is.
async fn write_down_sequences(inside: &mut Connection) -> Result<(), sqlx::Error> {
    for Sequence { oid, name, .. } in sequences(inside).await? {
        let sql = format!(
            "SELECT setval({oid}::regclass, last_value, is_called) FROM {name} WHERE has_sequence_privilege({oid}, 'UPDATE')"
        );
        execute(inside, &sql).await?;
    }
    Ok(())
}

/// What another process has read. Since then the server may count no longer; that all of the schema lets it count is known from then.
pub(super) async fn restore(connection: &mut Connection, stored: &str) -> Result<Option<Template>, sqlx::Error> {
    let Ok(template) = serde_json::from_str::<Template>(stored) else { return Ok(None) };
    let counters = template.counters && server_counts(connection).await?;
    Ok(Some(Template { counters, ..template }))
}

/// Whether the server counts what every session does as soon as that has ended, as far as that can be known beforehand.
pub(super) async fn server_counts(connection: &mut Connection) -> Result<bool, sqlx::Error> {
    let sql =
        "SELECT to_regproc('pg_catalog.pg_stat_force_next_flush') IS NOT NULL AND current_setting('track_counts')::bool
        AND NOT EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS u(s) WHERE s LIKE 'track_counts=%')";
    yes(connection, sql).await
}

/// Whether no function of the schema has it not counted.
pub(super) async fn schema_lets_count(inside: &mut Connection) -> Result<bool, sqlx::Error> {
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_proc, unnest(proconfig) AS u(s) WHERE s LIKE 'track_counts=%')";
    yes(inside, sql).await
}

async fn greets(inside: &mut Connection) -> Result<bool, sqlx::Error> {
    yes(inside, "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtevent = 'login' AND evtenabled <> 'D')").await
}

async fn yes(inside: &mut Connection, sql: &str) -> Result<bool, sqlx::Error> {
    Ok(value(inside, sql).await?.as_deref() == Some("t"))
}

/// `FILE_COPY` takes half the time of `WAL_LOG`, but has the server write all that is not on disk yet, of every database: where
/// writing is waited for, that can cost more than the copy does.
async fn strategy(inside: &mut Connection) -> Result<&'static str, sqlx::Error> {
    // The choice came together with this function; a server without it copies files.
    if !yes(inside, "SELECT to_regproc('pg_catalog.pg_stat_force_next_flush') IS NOT NULL").await? {
        return Ok("");
    }
    let sql = format!("SELECT current_setting('fsync') = 'off' OR pg_database_size(current_database()) > {}", 64 << 20);
    Ok(if yes(inside, &sql).await? { " STRATEGY FILE_COPY" } else { " STRATEGY WAL_LOG" })
}

async fn relations(inside: &mut Connection) -> Result<Vec<Relation>, sqlx::Error> {
    let sql = format!(
        "SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.relkind = 'r', c.relpersistence = 'u', c.relispopulated,
            EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('A', 'R'))
                OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled IN ('A', 'R')),
            (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
            (SELECT CASE WHEN bool_and(t.typarray <> 0 AND t.typcategory NOT IN ('A', 'C')) THEN
                string_agg(format('quote_literal(array_agg(%I)::text) || %L', attname,
                        concat('::', quote_ident(l.nspname), '.', quote_ident(list.typname))),
                    ', ' ORDER BY attnum) END
                FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type list ON list.oid = t.typarray
                    LEFT JOIN pg_namespace l ON l.oid = list.typnamespace
                WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
            (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'),
            {SIZE}, pg_relation_filenode(c.oid), c.reltoastrelid
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't' ORDER BY c.oid"
    );
    let mut relations = Vec::new();
    for row in rows(inside, &sql).await? {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten().unwrap_or_default();
        let (oid, name, writable, unlogged) = (next(), next(), next() == "t", next() == "t");
        let (populated, guarded) = (next() == "t", next() == "t");
        let (columns, lists, stored) = (next(), next(), next());
        let (size, file, toast) = (next().parse().unwrap_or(u64::MAX), next(), next());
        // A row of no columns has no text.
        let keeps = writable && size <= KEPT && !columns.is_empty();
        let kept = keeps.then_some((columns.as_str(), lists.as_str(), stored.as_str()));
        let seed = if populated { seed(inside, &name, writable, kept).await? } else { None };
        relations.push(Relation { oid, name, file, size, toast, writable, unlogged, guarded, seed });
    }
    Ok(relations)
}

async fn seed(
    inside: &mut Connection,
    name: &str,
    writable: bool,
    kept: Option<(&str, &str, &str)>,
) -> Result<Option<Seed>, sqlx::Error> {
    let mark = match mark(inside, name).await? {
        Some(mark) => mark,
        None if writable => return Ok(None),
        // What a view has made can be compared, and nothing else.
        None => Mark { last: String::new(), next: String::new(), signature: "0".to_owned() },
    };
    let rows = match kept {
        Some((columns, lists, stored)) => Some(Rows {
            insert: insert(inside, name, columns, lists).await?,
            stored: stored.to_owned(),
            hash: hash(inside, name, stored).await?,
        }),
        None => None,
    };
    Ok(Some(Seed { mark, rows }))
}

/// The statement that writes all rows of a table: a list for each column takes the server half as long as each row by itself, which it has to be
/// where a column is of lists or of rows.
async fn insert(inside: &mut Connection, name: &str, columns: &str, lists: &str) -> Result<String, sqlx::Error> {
    let all = if lists.is_empty() {
        let rows = rows(inside, &format!("SELECT {columns} FROM ONLY {name}")).await?.into_iter().map(|row| {
            let values = row.into_iter().map(|value| value.map_or_else(|| "NULL".to_owned(), |value| literal(&value)));
            format!("({})", values.collect::<Vec<_>>().join(","))
        });
        format!("VALUES {}", rows.collect::<Vec<_>>().join(","))
    } else {
        let lists = value(inside, &format!("SELECT array_to_string(ARRAY[{lists}], ', ') FROM ONLY {name}"))
            .await?
            .unwrap_or_default();
        format!("SELECT * FROM unnest({lists})")
    };
    Ok(format!("INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE {all};"))
}

/// A hash of all rows of a table in their order on disk: of these columns.
pub(super) async fn hash(connection: &mut Connection, name: &str, stored: &str) -> Result<[u8; 32], sqlx::Error> {
    let mut hash = Sha256::new();
    let mut text = connection.wire.copy_out_raw(&format!("COPY (SELECT {stored} FROM ONLY {name}) TO STDOUT")).await?;
    while let Some(bytes) = text.try_next().await? {
        hash.update(&bytes);
    }
    Ok(hash.finalize().into())
}

/// How the rows of a table are known again; nothing if it has none.
pub(super) async fn mark(connection: &mut Connection, name: &str) -> Result<Option<Mark>, sqlx::Error> {
    let sql = format!(
        "SELECT (SELECT ctid FROM ONLY {name} ORDER BY ctid DESC LIMIT 1),
            pg_snapshot_xmax(pg_current_snapshot())::xid, ({})",
        signature(name)
    );
    let mut values = rows(connection, &sql).await?.into_iter().flatten();
    let (last, mut next) = (values.next().flatten(), || values.next().flatten().unwrap_or_default());
    Ok(last.map(|last| Mark { last, next: next(), signature: next() }))
}

/// A query for [`Mark::signature`]. As in the catalogs: who writes a row anew writes it under a younger transaction.
pub(super) fn signature(name: &str) -> String {
    catalog::signature(&format!("ONLY {name}"))
}

async fn sequences(inside: &mut Connection) -> Result<Vec<Sequence>, sqlx::Error> {
    let sql = "SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.relpersistence = 'u'
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid >= 16384 AND c.relkind = 'S' AND c.relpersistence <> 't' ORDER BY c.oid";
    let mut sequences = Vec::new();
    for row in rows(inside, sql).await? {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        let (oid, name, unlogged) = (next(), next(), next() == "t");
        let value = value(inside, &probe::sequence(&name)).await?.unwrap_or_default();
        sequences.push(Sequence { oid, name, unlogged, value });
    }
    Ok(sequences)
}

async fn settings(inside: &mut Connection) -> Result<DatabaseSettings, sqlx::Error> {
    let sql = "SELECT (SELECT rolname FROM pg_roles r WHERE r.oid = s.setrole), split_part(c, '=', 1),
            substr(c, strpos(c, '=') + 1)
        FROM pg_db_role_setting s, unnest(s.setconfig) c
        WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut settings = DatabaseSettings::default();
    for row in rows(inside, sql).await? {
        let mut values = row.into_iter();
        let (role, name, value) = (values.next().flatten(), values.next().flatten(), values.next().flatten());
        settings.variables.push((role, name.unwrap_or_default(), value.unwrap_or_default()));
    }
    let sql = "SELECT shobj_description(oid, 'pg_database'),
            concat(CASE WHEN pg_get_userbyid(datdba) <> session_user THEN format(' OWNER %I', pg_get_userbyid(datdba)) END,
                CASE WHEN datconnlimit >= 0 THEN ' CONNECTION LIMIT ' || datconnlimit END), datacl
        FROM pg_database WHERE datname = current_database()";
    let mut values = rows(inside, sql).await?.into_iter().flatten();
    settings.comment = values.next().flatten();
    settings.clauses = values.next().flatten().unwrap_or_default();
    settings.privileges = values.next().flatten();
    Ok(settings)
}
