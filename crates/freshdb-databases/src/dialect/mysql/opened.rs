//! Which tables were opened: of a large schema, the few that a test can have touched.
//!
//! A server lists the tables that it has open, and forgets one when it is told to by FLUSH TABLES, when its definition changes, and
//! when too many are open. After a reset those that it has looked at are closed that way. So if none of these three happened
//! since, what is not in the list was not read or written either.

use std::collections::HashSet;

use sqlx::MySqlConnection;

use super::super::{REGISTRY, ServerSession};
use super::connection::{TextRow, execute, identifier, literal, number, rows};
use super::sessions::session;
use super::template::{Template, qualified};

/// Of so many tables it pays to ask first, which takes another round trip.
const MANY: usize = 64;

/// From which reset of this process on the tables are closed: that each has to be opened again costs something, which a process
/// that tests once never gets back.
const CLOSED_FROM: usize = 2;

/// How many definitions a server has open, and has opened since it started.
pub(super) const COUNTERS: [&str; 2] = ["Open_table_definitions", "Opened_table_definitions"];

/// Where a server has more definitions open than one of so many parts of those that it keeps, it is not gone by that it will forget none.
const PARTS: u64 = 4;

/// How many definitions of tables a server has open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definitions {
    /// What [`COUNTERS`] said.
    now: u64,
    ever: u64,
    /// How many it keeps: so many of the server's own, and so many of InnoDB's.
    limit: u64,
}

/// What a server has open of a database: tables, views and sequences.
#[derive(Clone, Debug)]
pub(super) struct Opened(Vec<String>);

impl Template {
    /// Whether what was opened is asked for: of MariaDB, and of many tables.
    pub(super) fn has_many_tables(&self) -> bool {
        !self.features.truncate_is_cheaper && self.tables.len() >= MANY
    }
}

impl Definitions {
    /// Out of the server's counters, [`COUNTERS`] among them.
    pub(super) fn of(counters: &[TextRow], limit: u64) -> Option<Self> {
        let count = |name: &str| {
            let row = counters
                .iter()
                .find(|row| matches!(row.first(), Some(Some(found)) if found.eq_ignore_ascii_case(name)))?;
            row.get(1)?.as_ref()?.parse().ok()
        };
        let [now, ever] = COUNTERS.map(count);
        Some(Self { now: now?, ever: ever?, limit })
    }

    /// Whether none was forgotten for want of room that was used since `then`: there were never so many at once as are kept, and those that were
    /// used last are the last to be forgotten.
    pub(super) fn all_are_kept_since(&self, then: &Self) -> bool {
        let opened = self.ever.checked_sub(then.ever);
        let most = opened.and_then(|opened| then.now.checked_add(opened));
        most.is_some_and(|most| most < self.limit.min(then.limit))
    }

    /// Whether they are so few that none will be forgotten soon.
    pub(super) fn are_few(&self) -> bool {
        self.now < self.limit / PARTS
    }
}

impl Opened {
    /// To be asked before the server's counters are: what is closed before this is counted by then.
    pub(super) fn question(name: &str) -> String {
        format!("SHOW OPEN TABLES FROM {}", identifier(name))
    }

    /// Out of the answer.
    pub(super) fn of(tables: Vec<TextRow>) -> Self {
        Self(tables.into_iter().filter_map(|row| row.into_iter().nth(1).flatten()).collect())
    }

    /// The tables of a template that can have been read or written since all were closed, provided that none was closed again: they are open, or
    /// a foreign key leads to them from one that is. Nothing, if that cannot be told.
    pub(super) fn tables(&self, template: &Template) -> Option<Vec<usize>> {
        // However the file system writes them.
        let fold = |name: &str| name.to_lowercase();
        let mut open: HashSet<String> = self.0.iter().map(|name| fold(name)).collect();
        let mut found: Vec<usize> =
            (0..template.tables.len()).filter(|index| open.contains(&fold(&template.tables[*index].name))).collect();
        for object in &template.catalog.objects {
            open.remove(&fold(&object.name));
        }
        // A name that nobody knows is a table's that is called otherwise here.
        if !open.is_empty() {
            return None;
        }
        found.extend(template.cascaded(found.iter().copied()));
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

/// Closes tables that are pristine. One that stays open is looked at again, so nothing depends on it.
pub(super) async fn close(
    connection: &mut MySqlConnection,
    template: &Template,
    name: &str,
    some: Option<&[usize]>,
    resets: usize,
) -> Result<(), sqlx::Error> {
    let all: Vec<usize> = (0..template.tables.len()).collect();
    let some = some.unwrap_or(&all);
    if !template.has_many_tables() || (some.len() >= MANY && resets < CLOSED_FROM) {
        return Ok(());
    }
    for some in some.chunks(MANY) {
        let names: Vec<String> = some.iter().map(|index| qualified(name, &template.tables[*index].name)).collect();
        let ticket = template.own.flushes.begin(1);
        match execute(connection, &format!("FLUSH LOCAL TABLES {}", names.join(","))).await {
            // Whoever may not do that pays with a look at every table.
            Err(error) if number(&error).is_some() => return Ok(()),
            answer => answer?,
        }
        ticket.done();
    }
    Ok(())
}

/// Whether somebody may be closing tables: a FLUSH is counted when it begins, and only when it has ended are the tables closed that it
/// closes.
pub(super) async fn somebody_closes(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    let sessions = rows(connection, "SHOW FULL PROCESSLIST").await?.into_iter().filter_map(session);
    // Those who administer close tables by name, and only their own.
    Ok(sessions.filter(|session| session.database.as_deref() != Some(REGISTRY)).any(|session| may_close(&session)))
}

/// Whether it executes a FLUSH, or something that can have one in it: a procedure, a prepared or a compound statement.
fn may_close(session: &ServerSession) -> bool {
    const OTHERS: &str =
        "alter commit create delete drop insert replace rollback savepoint select show start truncate update use";

    let Some(statement) = &session.statement else { return session.state.as_deref() == Some("Refresh") };
    let word: String = statement.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    OTHERS.split(' ').all(|other| !other.eq_ignore_ascii_case(&word))
}

/// The question for what the server knows of some tables.
pub(super) fn tables_of(template: &Template, name: &str, some: &[usize]) -> String {
    // By OR it would look through every database, and by IN through every table.
    let of = |index: &usize| {
        format!("{} AND table_name = {}", template.features.tables(name), literal(&template.tables[*index].name))
    };
    let each: Vec<String> = some.iter().map(of).collect();
    if each.is_empty() { "DO 0".to_owned() } else { each.join(" UNION ALL ") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn definitions_are_kept_while_there_is_room() {
        let definitions = |now: &str, ever: &str, limit| {
            let row = |(name, value): (&str, &str)| vec![Some(name.to_owned()), Some(value.to_owned())];
            Definitions::of(&[(COUNTERS[0], now), (COUNTERS[1], ever)].map(row), limit).expect("both were counted")
        };
        let then = definitions("90", "1000", 100);
        let all_are_kept = |now: Definitions| now.all_are_kept_since(&then);
        assert!(all_are_kept(definitions("91", "1001", 100)));
        assert!(all_are_kept(definitions("90", "1009", 100)));
        assert!(!all_are_kept(definitions("90", "1010", 100)), "so many were opened that some had to be closed");
        assert!(!all_are_kept(definitions("91", "1001", 91)), "since then there is less room");
        assert!(!all_are_kept(definitions("2", "3", 100)), "it has begun to count anew");
        assert!(definitions("24", "1000", 100).are_few());
        assert!(!definitions("25", "1000", 100).are_few());
        assert!(Definitions::of(&[], 100).is_none());
    }

    #[test]
    fn who_may_close_tables_is_told_from_who_does_not() {
        let session = |state: &str, statement: Option<&str>| ServerSession {
            id: 7,
            database: None,
            user: "somebody".to_owned(),
            client: None,
            state: Some(state.to_owned()),
            statement: statement.map(str::to_owned),
            since: Duration::ZERO,
        };
        for statement in [
            "FLUSH TABLES",
            "/* all */ flush tables",
            "CALL p()",
            "EXECUTE it",
            "BEGIN NOT ATOMIC FLUSH TABLES; END",
            "",
        ] {
            assert!(may_close(&session("Query", Some(statement))), "{statement}");
        }
        for statement in ["SELECT 1", "  update t SET a = 1", "INSERT INTO flush VALUES (1)", "drop table t"] {
            assert!(!may_close(&session("Query", Some(statement))), "{statement}");
        }
        assert!(may_close(&session("Refresh", None)));
        assert!(!may_close(&session("Sleep", None)));
    }
}
