//! One round trip that asks a server all that a reset has to know, as far as it costs little.

use std::time::Duration;

use sqlx::MySqlConnection;
use tokio::time::timeout;

use super::super::ServerSession;
use super::connection::results_until;
use super::marks::Marks;
use super::opened::{self, Opened};
use super::sessions::session;
use super::template::{Template, qualified};

/// For how long those who alter tables are waited for. Without them what is counted is exact; with them too much is compared.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// A `UNION` may have no more than some number of parts, which is not the same on all servers; and each opens a table.
pub(super) const PROBES: usize = 200;

/// How long a look waits for tables that somebody has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all: whoever is still on the database is in the list of sessions, and is ended first.
    None,
    /// As long as everything that is asked here.
    Usual,
}

/// What the server said.
pub(super) struct Look {
    /// Everybody who was connected, before anything else was asked.
    pub(super) sessions: Vec<ServerSession>,
    /// Whether there is a prepared transaction on the server.
    pub(super) prepared: bool,
    pub(super) marks: Marks,
    /// The tables that should be empty and have rows, where that is asked in the same breath and was answered.
    pub(super) filled: Option<Vec<usize>>,
    /// Whether it was broken off: a table is locked, or gone.
    pub(super) is_partial: bool,
}

impl Look {
    /// What was known `then`, of the same database, can spare it a look at most of many tables.
    pub(super) async fn take(
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        patience: Patience,
        then: Option<&Marks>,
    ) -> Result<Self, sqlx::Error> {
        let own = &template.own;
        let many = template.has_many_tables();
        let mut sql = vec![
            "SHOW FULL PROCESSLIST".to_owned(),
            "XA RECOVER".to_owned(),
            // MySQL's performance_schema.global_status leaves these out.
            "SHOW GLOBAL STATUS LIKE 'Com\\_%'".to_owned(),
            // Before the tables are: what is written after that is not older.
            "SELECT UNIX_TIMESTAMP()".to_owned(),
        ];
        if many {
            sql.extend(Opened::questions(name));
        }
        // Where not all tables may have to be looked at, that is asked first.
        let then = then.filter(|_| many);
        if then.is_none() {
            sql.extend(at_tables(template, name, patience, None));
        }

        let quiet = timeout(LONGEST_WAIT, own.quiet.write()).await;
        let done = [own.alters.done(), own.truncates.done(), own.flushes.done()];
        let wanted = sql.len();
        let (lists, refused) = results_until(connection, &sql.join(";")).await?;
        drop(quiet);
        let mut is_whole = refused.is_none() && lists.len() == wanted;
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let sessions = next().into_iter().filter_map(session).collect();
        let prepared = !next().is_empty();
        let (counters, clock) = (next(), next());
        let mut marks = Marks::of(own, done, counters, clock);
        if many {
            marks.note_opened([next(), next(), next()]);
        }
        if let Some(then) = then {
            if let Some(some) = marks.opened_since(then, template) {
                marks.look_only_at(some, then);
            }
            let sql = at_tables(template, name, patience, marks.looked_at());
            let asked = sql.len();
            let (at_tables, refused) = results_until(connection, &sql.join(";")).await?;
            is_whole &= refused.is_none() && at_tables.len() == asked;
            lists = at_tables.into_iter();
        }
        marks.note_tables(template.features, lists.next().unwrap_or_default());

        let is_partial = !is_whole || !marks.are_whole;
        let asks = template.features.patience && !is_partial;
        let filled = lists.flatten().flatten().flatten().filter_map(|index| index.parse().ok()).collect();
        Ok(Self { sessions, prepared, marks, filled: asks.then_some(filled), is_partial })
    }
}

/// What is known of the tables, and which of those that are empty in the template have a row now: of all, or of some.
fn at_tables(template: &Template, name: &str, patience: Patience, some: Option<&[usize]>) -> Vec<String> {
    let features = template.features;
    let known = match some {
        Some(some) if some.len() <= PROBES => opened::tables_of(template, name, some),
        _ => features.tables(name),
    };
    if !features.patience {
        return vec![known];
    }
    let all: Vec<usize> = (0..template.tables.len()).collect();
    let empty: Vec<usize> =
        some.unwrap_or(&all).iter().filter(|index| !template.tables[**index].seeded).copied().collect();
    let probes = empty.chunks(PROBES).map(|some| template.probe(name, some));
    std::iter::once(known).chain(probes).map(|sql| format!("{}{sql}", at_once(patience))).collect()
}

fn at_once(patience: Patience) -> &'static str {
    match patience {
        Patience::None => "SET STATEMENT lock_wait_timeout = 0, innodb_lock_wait_timeout = 0 FOR ",
        Patience::Usual => "",
    }
}

impl Template {
    /// A query for those of some tables that have a row, in history too.
    pub(super) fn probe(&self, database: &str, some: &[usize]) -> String {
        let probe = |index: &usize| {
            let table = &self.tables[*index];
            let history = if table.versioned { " FOR SYSTEM_TIME ALL" } else { "" };
            format!(" UNION ALL (SELECT {index} FROM {}{history} LIMIT 1)", qualified(database, &table.name))
        };
        let probes: Vec<String> = some.iter().map(probe).collect();
        // What stands first may have no brackets everywhere.
        format!("SELECT 0 FROM DUAL WHERE 1 = 0{}", probes.concat())
    }
}
