//! One round trip that asks a server all that a reset has to know, as far as it costs little.

use std::time::Duration;

use sqlx::MySqlConnection;
use tokio::time::timeout;

use super::super::ServerSession;
use super::connection::results_until;
use super::marks::Marks;
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
    pub(super) async fn take(
        connection: &mut MySqlConnection,
        template: &Template,
        name: &str,
        patience: Patience,
    ) -> Result<Self, sqlx::Error> {
        let own = &template.own;
        let probes = if template.features.patience { probes(template, name, patience) } else { Vec::new() };
        let prefix = if template.features.patience { at_once(patience) } else { "" };
        let mut sql = vec![
            "SHOW FULL PROCESSLIST".to_owned(),
            "XA RECOVER".to_owned(),
            // MySQL's performance_schema.global_status leaves these out.
            "SHOW GLOBAL STATUS LIKE 'Com\\_%'".to_owned(),
            // Before the tables are: what is written after that is not older.
            "SELECT UNIX_TIMESTAMP()".to_owned(),
            format!("{prefix}{}", template.features.tables(name)),
        ];
        let asked = sql.len() + probes.len();
        sql.extend(probes);

        let quiet = timeout(LONGEST_WAIT, own.quiet.write()).await;
        let done = (own.alters.done(), own.truncates.done());
        let (lists, refused) = results_until(connection, &sql.join(";")).await?;
        let is_whole = refused.is_none() && lists.len() == asked;
        let mut lists = lists.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        let sessions = next().into_iter().filter_map(session).collect();
        let prepared = !next().is_empty();
        let (counters, clock, tables) = (next(), next(), next());
        let marks = Marks::of(template.features, own, done, counters, clock, tables);
        drop(quiet);

        let is_partial = !is_whole || !marks.are_whole;
        let asks = template.features.patience && !is_partial;
        let filled = lists.flatten().flatten().flatten().filter_map(|index| index.parse().ok()).collect();
        Ok(Self { sessions, prepared, marks, filled: asks.then_some(filled), is_partial })
    }
}

/// Which of the tables that are empty in the template have a row now.
fn probes(template: &Template, name: &str, patience: Patience) -> Vec<String> {
    let empty: Vec<usize> = (0..template.tables.len()).filter(|index| !template.tables[*index].seeded).collect();
    let union = |some: &[usize]| format!("{}{}", at_once(patience), template.probe(name, some));
    empty.chunks(PROBES).map(union).collect()
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
