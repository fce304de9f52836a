//! What a session's statements may have left behind on its connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::SqlStr;

use crate::sql::{Syntax, first_words, statements};
use crate::words::of_server;

/// In which state a connection is when its session ends: the worst that any of its statements may have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Conduct {
    /// Every statement ran to its end, and none was of a kind that can leave anything behind.
    Clean,
    /// Every statement ran to its end; one may have left a transaction or a lock.
    Doubtful,
    /// A statement may still be running: its rows were not read to the end, or the driver's connection was lent out.
    Unknown,
    /// Something is left that nothing but the end of the connection takes away.
    Spoiled,
    /// A statement was dropped before its answer came. The driver may have lost count of the answers it is owed.
    Cut,
    /// The driver waits for the answer to a statement that it has not sent.
    Confused,
    /// The connection is gone.
    Broken,
    /// The driver did not understand an answer, and may take the rest of it for that to the next statement.
    Garbled,
    /// It leads to a server that takes no writes.
    ReadOnly,
}

/// What a statement of this text can leave behind when it has run to its end: nothing, if it is one statement of those
/// that only read and write rows. Outside of a transaction each of them is one of its own.
pub(crate) fn conduct_of(sql: &str, syntax: Syntax) -> Conduct {
    const HARMLESS: [&str; 9] =
        ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "REPLACE", "VALUES", "EXPLAIN", "SHOW"];

    let sql = sql.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';');
    if statements(sql, syntax).any(|statement| outlasts_a_proof(statement, syntax)) {
        return Conduct::Spoiled;
    }
    let (word, _) = first_words(sql, syntax);
    let known = HARMLESS.iter().any(|harmless| word.eq_ignore_ascii_case(harmless));
    if known && !leaves_more_behind(sql.as_bytes()) { Conduct::Clean } else { Conduct::Doubtful }
}

/// What a text with which a transaction begins can leave behind when that has ended: nothing, if beginning one is all that it does.
pub(crate) fn conduct_of_beginning(sql: &str, syntax: Syntax) -> Conduct {
    let mut all = statements(sql, syntax).filter(|statement| !statement.is_empty());
    let (first, second) = first_words(all.next().unwrap_or_default(), syntax);
    let begins = first.eq_ignore_ascii_case("BEGIN")
        || first.eq_ignore_ascii_case("START") && second.eq_ignore_ascii_case("TRANSACTION");
    if begins && all.next().is_none() { Conduct::Clean } else { conduct_of(sql, syntax) }
}

/// Whether a statement of this text is a SELECT and nothing else: what begins with WITH may write.
pub(crate) fn is_select(sql: &str, syntax: Syntax) -> bool {
    let sql = sql.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';');
    first_words(sql, syntax).0.eq_ignore_ascii_case("SELECT") && !sql.contains(';')
}

/// What MySQL and MariaDB give up with the connection alone, or by words of their own: a lock on the instance or on its backups, which all
/// DDL waits for, and a table that is open for its rows. Nowhere else does a statement begin like that.
fn outlasts_a_proof(statement: &str, syntax: Syntax) -> bool {
    let (first, second) = first_words(statement, syntax);
    let is = |other: &str| first.eq_ignore_ascii_case(other);
    is("HANDLER") || is("BACKUP") || is("LOCK") && second.eq_ignore_ascii_case("INSTANCE")
}

/// A second statement; MySQL's comments that are executed; anything that names a lock, such as `GET_LOCK` and
/// `pg_advisory_lock`.
fn leaves_more_behind(sql: &[u8]) -> bool {
    sql.iter().enumerate().any(|(at, byte)| match byte {
        b';' => true,
        b'/' => matches!(sql[at + 1..], [b'*', b'!' | b'M', ..]),
        b'l' | b'L' => begins_with(&sql[at..], b"lock"),
        _ => false,
    })
}

fn begins_with(sql: &[u8], word: &[u8]) -> bool {
    sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether a statement of this text may read or write a variable of the session's, or something else that a session has for as long as it lives. An
/// address in a literal is taken for one too.
#[cfg(feature = "test")]
pub(crate) fn names_a_variable(sql: &str) -> bool {
    // PostgreSQL's: settings, which are written by an update of their view too, the seed of `random()`, and a threshold of `pg_trgm`'s; slots and
    // origins of replication; and the connections of `dblink`.
    const SETTERS: [&[u8]; 6] = [b"set_config", b"pg_settings", b"setseed", b"set_limit", b"replication_", b"dblink"];

    let sql = sql.as_bytes();
    sql.iter().enumerate().any(|(at, byte)| match byte {
        b'@' => true,
        b's' | b'S' | b'p' | b'P' | b'r' | b'R' | b'd' | b'D' => {
            SETTERS.iter().any(|setter| begins_with(&sql[at..], setter))
        }
        _ => false,
    })
}

/// Whether a statement of this text begins a transaction that another must end, or ends one, by the word with which it begins.
/// Nothing of what stands between or behind several statements at once but the last of these words counts.
#[cfg(feature = "test")]
pub(crate) fn boundary_in(sql: &str, syntax: Syntax) -> Option<Boundary> {
    statements(sql, syntax).filter_map(boundary_of).last()
}

#[cfg(feature = "test")]
fn boundary_of(statement: &str) -> Option<Boundary> {
    let mut words = statement.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let (first, second) = (words.next()?.to_ascii_uppercase(), words.next().unwrap_or_default().to_ascii_uppercase());
    match (first.as_str(), second.as_str()) {
        ("BEGIN", _) | ("START", "TRANSACTION") | ("XA", "START" | "BEGIN") => Some(Boundary::Begin),
        ("SET", "AUTOCOMMIT") if statement.trim_end().ends_with(['0', 'f', 'F']) => Some(Boundary::Begin),
        // Not back to a savepoint, which is inside of it.
        ("ROLLBACK", second) if second == "TO" || statement.to_ascii_uppercase().contains(" TO ") => None,
        ("COMMIT" | "ROLLBACK" | "END" | "ABORT", _)
        | ("XA", "COMMIT" | "ROLLBACK" | "PREPARE")
        | ("SET", "AUTOCOMMIT") => Some(Boundary::End),
        _ => None,
    }
}

/// What a statement of a session's own does to its transaction.
#[cfg(feature = "test")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    Begin,
    End,
}

/// A boundary that counts unless its statement fails.
#[cfg(feature = "test")]
#[derive(Debug)]
pub(crate) struct Crossing {
    boundary: Boundary,
    /// Whether nothing else is executed with it.
    is_alone: bool,
    /// What had begun the transaction before.
    before: Option<SqlStr>,
}

/// What a session executed last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last(Arc<Mutex<LastStatement>>);

#[derive(Clone, Debug, Default)]
pub(crate) enum LastStatement {
    /// Nothing yet.
    #[default]
    None,
    Seen(SqlStr),
    /// The driver's connection was lent out.
    Unseen,
}

impl Last {
    pub(crate) fn set(&self, last: LastStatement) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    pub(crate) fn get(&self) -> LastStatement {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Tells a transaction or savepoint from every other one that was begun on its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LevelId(u64);

impl LevelId {
    /// That of the first that is begun on a session.
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A transaction that is open on a session.
#[derive(Debug, Default)]
pub(crate) struct OpenTransaction {
    /// The transactions and savepoints that are open, one in the other. The driver's own count falls behind where it rolls
    /// back later.
    pub(crate) levels: Vec<LevelId>,
    /// What an error has done to it on the server, before whoever began it has ended it, and the error.
    pub(crate) undone: Option<(Undone, String)>,
}

/// What an error has done to the transaction in which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Nothing: it undid its own statement at the most.
    No,
    /// The transaction is good for nothing but to be rolled back, to a savepoint or whole.
    Aborted,
    /// The transaction is gone with its savepoints. What is executed next is not part of any.
    Gone,
}

/// What tells, beside an error itself, what it has done to the transaction in which it came.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    pub(crate) rolled_back: Arc<AtomicBool>,
    /// Whether the server is set up to roll the whole transaction back where it waits too long for a lock.
    #[cfg_attr(not(feature = "mysql"), expect(dead_code, reason = "it is MySQL's and MariaDB's alone"))]
    pub(crate) rolls_back_on_timeout: bool,
}

impl Signs {
    /// The database has rolled a transaction back, whoever asked for it.
    #[cfg(feature = "sqlite")]
    pub(crate) fn note_rollback(&self) {
        self.rolled_back.store(true, Ordering::Relaxed);
    }

    /// Whether it has, since a transaction began.
    #[cfg(feature = "sqlite")]
    pub(crate) fn has_rolled_back(&self) -> bool {
        self.rolled_back.load(Ordering::Relaxed)
    }

    /// Another transaction has begun.
    pub(crate) fn forget(&self) {
        self.rolled_back.store(false, Ordering::Relaxed);
    }
}

/// The marks that a statement makes on its session.
#[derive(Debug)]
pub(crate) struct Watch<'c> {
    #[cfg(feature = "test")]
    pub(crate) syntax: Syntax,
    pub(crate) conduct: &'c mut Conduct,
    pub(crate) transaction: &'c mut Option<OpenTransaction>,
    pub(crate) last: &'c Last,
    pub(crate) signs: &'c Signs,
    /// The statement of the session's own that began a transaction, until another has ended it.
    #[cfg(feature = "test")]
    pub(crate) begun: &'c mut Option<SqlStr>,
    /// What the statement that is under way does to that.
    #[cfg(feature = "test")]
    pub(crate) crossing: Option<Crossing>,
    /// Whether a statement named a variable of the session's.
    #[cfg(feature = "test")]
    pub(crate) variables: &'c mut bool,
}

impl Watch<'_> {
    pub(crate) fn conduct(&self) -> Conduct {
        *self.conduct
    }

    pub(crate) fn set(&mut self, conduct: Conduct) {
        *self.conduct = conduct;
    }

    pub(crate) fn remember(&mut self, sql: &SqlStr) {
        self.last.set(LastStatement::Seen(sql.clone()));
        #[cfg(feature = "test")]
        {
            *self.variables |= names_a_variable(sql.as_str());
            if let Some(boundary) = boundary_in(sql.as_str(), self.syntax) {
                let begins = (boundary == Boundary::Begin).then(|| sql.clone());
                let before = std::mem::replace(self.begun, begins);
                let is_alone =
                    statements(sql.as_str(), self.syntax).filter(|statement| !statement.is_empty()).count() == 1;
                self.crossing = Some(Crossing { boundary, is_alone, before });
            }
        }
    }

    /// The statement has failed. By itself it has begun no transaction then; of several, nobody says which it was that failed.
    #[cfg(feature = "test")]
    pub(crate) fn take_boundary_back(&mut self, refuses_commit: bool) {
        let Some(Crossing { boundary, is_alone, before }) = self.crossing.take() else { return };
        let is_as_before = match boundary {
            Boundary::Begin => is_alone,
            Boundary::End => refuses_commit,
        };
        if is_as_before {
            *self.begun = before;
        }
    }

    pub(crate) fn transaction_undone(&mut self, how: Undone, error: &(dyn sqlx::error::DatabaseError + 'static)) {
        // One that was dropped is noted until its ROLLBACK is answered, and what is executed then is no part of it.
        if let Some(open) = self.transaction
            && !open.levels.is_empty()
        {
            open.undone.get_or_insert_with(|| (how, of_server(error)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Conduct, conduct_of, conduct_of_beginning, is_select};
    use crate::sql::Syntax;

    const ALL: [Syntax; 3] = [Syntax::Standard, Syntax::Sqlite, Syntax::MySql];

    #[test]
    fn statements_on_rows_leave_nothing_behind() {
        for sql in [
            "SELECT 1",
            "  select * from t where a = ?;\n",
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "WITH x AS (SELECT 1) DELETE FROM t",
            "select /* a remark */ 1",
            "/* a remark */ select 1",
            "-- a remark\nINSERT INTO t VALUES (1)",
            "SELECT a/b FROM t",
        ] {
            assert_eq!(ALL.map(|syntax| conduct_of(sql, syntax)), [Conduct::Clean; 3], "{sql}");
        }
    }

    #[test]
    fn what_only_begins_a_transaction_leaves_nothing_behind() {
        for sql in ["BEGIN", "begin immediate;", "START TRANSACTION READ ONLY -- why;\n", "/* ; */ BEGIN; -- why"] {
            assert_eq!(ALL.map(|syntax| conduct_of_beginning(sql, syntax)), [Conduct::Clean; 3], "{sql}");
        }
        for sql in ["BEGIN; SELECT pg_advisory_lock(7)", "SET autocommit = 0; BEGIN", "START SLAVE", "SAVEPOINT a", ""]
        {
            assert_eq!(ALL.map(|syntax| conduct_of_beginning(sql, syntax)), [Conduct::Doubtful; 3], "{sql}");
        }
        for (sql, conduct) in
            [("BEGIN /*! ; SET @a = 1 */", Conduct::Doubtful), ("BEGIN; HANDLER t OPEN", Conduct::Spoiled)]
        {
            assert_eq!(conduct_of_beginning(sql, Syntax::MySql), conduct, "{sql}");
        }
    }

    #[test]
    fn what_only_reads_is_one_select() {
        for sql in ["SELECT 1", " select a FROM t; ", "SELECT\n1"] {
            assert!(ALL.iter().all(|syntax| is_select(sql, *syntax)), "{sql}");
        }
        for sql in
            ["", "INSERT INTO t SELECT 1", "WITH a AS (SELECT 1) DELETE FROM t", "SELECT 1; DELETE FROM t", "SELECTED"]
        {
            assert!(!ALL.iter().any(|syntax| is_select(sql, *syntax)), "{sql}");
        }
    }

    #[cfg(feature = "test")]
    #[test]
    fn transactions_of_a_sessions_own_are_told_by_their_words() {
        use super::{Boundary, boundary_in};

        for (sql, boundary) in [
            ("BEGIN", Some(Boundary::Begin)),
            ("begin immediate", Some(Boundary::Begin)),
            ("/* why; */ BEGIN", Some(Boundary::Begin)),
            ("-- COMMIT\nBEGIN", Some(Boundary::Begin)),
            ("START TRANSACTION READ ONLY", Some(Boundary::Begin)),
            ("SET autocommit = 0", Some(Boundary::Begin)),
            ("INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2)", Some(Boundary::Begin)),
            ("BEGIN; INSERT INTO t VALUES (2); COMMIT", Some(Boundary::End)),
            ("SET autocommit = 1", Some(Boundary::End)),
            ("ROLLBACK", Some(Boundary::End)),
            ("ROLLBACK TO SAVEPOINT a", None),
            ("ROLLBACK WORK TO a", None),
            ("SAVEPOINT a", None),
            ("SELECT 'BEGIN'", None),
            ("", None),
        ] {
            assert_eq!(ALL.map(|syntax| boundary_in(sql, syntax)), [boundary; 3], "{sql}");
        }
    }

    #[cfg(feature = "test")]
    #[test]
    fn variables_are_known_by_their_sign_and_by_what_sets_them() {
        use super::names_a_variable;

        for sql in [
            "SELECT @mine := 1",
            "SELECT a INTO @b FROM t",
            "select Set_Config('a.b', '1', false)",
            "UPDATE PG_Settings SET setting = '1' WHERE name = 'work_mem'",
            "SELECT setseed(0.5)",
            "SELECT set_limit(0.9)",
            "SELECT pg_create_physical_replication_slot('a', true, true)",
            "SELECT dblink_connect('a', 'dbname=b')",
        ] {
            assert!(names_a_variable(sql), "{sql}");
        }
        for sql in ["SELECT 1", "INSERT INTO sets (config) VALUES (?)", "SELECT set_conf"] {
            assert!(!names_a_variable(sql), "{sql}");
        }
    }

    #[test]
    fn what_no_proof_gives_up_is_discarded() {
        for sql in [
            "HANDLER t OPEN",
            "lock  instance for backup",
            "LOCK/* it */INSTANCE FOR BACKUP",
            "BACKUP LOCK t",
            "SELECT 1; BACKUP STAGE START",
            "/* why; */ HANDLER t OPEN",
            "/* /* */ HANDLER t OPEN",
            "-- it's why\nBACKUP STAGE START",
            "# it's why\nBACKUP STAGE START",
            "/*!50000 HANDLER t OPEN */",
            "SELECT '/*'; HANDLER t OPEN; SELECT '*/'",
            "SELECT 'it\\'s'; HANDLER t OPEN",
        ] {
            assert_eq!(conduct_of(sql, Syntax::MySql), Conduct::Spoiled, "{sql}");
        }
        for sql in
            ["LOCK TABLES t READ", "UNLOCK INSTANCE", "LOCK", "HANDLERS", "INSERT INTO t VALUES ('; HANDLER t OPEN')"]
        {
            assert_eq!(conduct_of(sql, Syntax::MySql), Conduct::Doubtful, "{sql}");
        }
    }

    #[test]
    fn anything_else_is_looked_into() {
        for sql in [
            "",
            ";",
            "BEGIN",
            "begin; select 1",
            "SELECT 1; BEGIN",
            "SET autocommit = 0",
            "START TRANSACTION",
            "CALL p()",
            "/* SELECT */ BEGIN",
            "-- SELECT\nBEGIN",
            "# SELECT\nBEGIN",
            "SELECT 1 /*! ; BEGIN */",
            "SELECT 1 /*M!100000 + 1 */",
            "SELECT GET_LOCK('a', 1)",
            "select pg_advisory_lock(1)",
            "SELECTED",
            "é",
        ] {
            assert_eq!(ALL.map(|syntax| conduct_of(sql, syntax)), [Conduct::Doubtful; 3], "{sql}");
        }
        // Where comments are in comments, that is no SELECT.
        assert_eq!(conduct_of("/* /* */ SELECT */ BEGIN", Syntax::Standard), Conduct::Doubtful);
    }
}
