//! What a reset of a file puts back, whatever was done to it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _};
use tempfile::TempDir;

use super::super::{Dialect, Outcome, REGISTRY};
use super::{Slot, Sqlite, Template};
use crate::{DatabaseUrl, ErrorKind};

const SCHEMA: &str = "
    CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE);
    CREATE TABLE \"a \"\"quoted\"\" `order` 🦀\" (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE, b BLOB);
    CREATE TABLE log (at TEXT DEFAULT '2000-01-01', what TEXT);
    CREATE VIEW names AS SELECT name FROM parent;
    CREATE TRIGGER added AFTER INSERT ON parent BEGIN INSERT INTO log (what) VALUES (new.name); END;
    INSERT INTO parent (id, name) VALUES (7, 'seven'), (9, '');
    INSERT INTO \"a \"\"quoted\"\" `order` 🦀\" VALUES (1, 7, x'00ff'), (2, NULL, NULL);
";

impl Template {
    /// What a copy of it holds.
    fn content(&self) -> Vec<u8> {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = directory.path().join("copy");
        self.write_to(&copy).expect("a copy");
        fs::read(copy).expect("the copy")
    }
}

struct Fixture {
    _directory: TempDir,
    server: DatabaseUrl,
    template: Template,
    slot: Slot,
}

impl Fixture {
    async fn new(journal: SqliteJournalMode) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let server = DatabaseUrl::file(directory.path().join("server"));
        Sqlite::create_registry(&server).await.expect("a registry");
        let mut admin = Sqlite::connect(&server, REGISTRY).await.expect("the registry");
        Sqlite::create(&mut admin, "template").await.expect("a database");

        let options = SqliteConnectOptions::new().filename(path(&server, "template")).journal_mode(journal);
        let mut connection = options.connect().await.expect("the template");
        run(&mut connection, SCHEMA).await;
        connection.close().await.expect("closed");

        let template = Sqlite::read_template(&server, "template").await.expect("a template");
        let slot = Sqlite::copy(&server, &template, "slot").await.expect("a slot");
        Self { _directory: directory, server, template, slot }
    }

    fn slot(&self) -> PathBuf {
        path(&self.server, "slot")
    }

    /// All that belongs to the slot.
    fn files(&self) -> Vec<PathBuf> {
        super::files::list(&super::files::directory_of(&self.slot())).expect("a list")
    }

    async fn open(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.slot());
        options.connect().await.expect("the slot")
    }

    /// Resets the slot and looks whether it equals the template, byte for byte and as SQLite's own tool tells it.
    async fn reset(&mut self) -> usize {
        let reset = Sqlite::reset(&mut self.slot, &self.template, &[]).await.expect("a reset");
        let template = path(&self.server, "template");
        let equal = fs::read(self.slot()).expect("the slot") == fs::read(&template).expect("the template");
        assert!(equal, "the slot differs from the template");
        assert_eq!(self.files(), [self.slot().canonicalize().expect("a file")], "something was left");
        assert_eq!(dump(&self.slot()), dump(&template));
        let Outcome::Pristine { touched } = reset.outcome else { panic!("{:?}", reset.outcome) };
        touched
    }
}

fn path(server: &DatabaseUrl, name: &str) -> PathBuf {
    server.with_database(name).path().expect("a path").to_owned()
}

/// A file is its own dump: two that are equal byte for byte hold the same.
fn dump(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file")
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect(sql);
}

/// Statements that dirty a database.
const DIRT: &[&str] = &[
    "INSERT INTO parent (name) VALUES ('new')",
    "UPDATE parent SET name = 'Seven' WHERE id = 7; DELETE FROM log",
    "DELETE FROM parent",
    "PRAGMA foreign_keys = ON; DELETE FROM parent WHERE id = 7",
    "UPDATE sqlite_sequence SET seq = 4711",
    "CREATE TABLE another (x); CREATE INDEX i ON parent (name); ALTER TABLE log ADD COLUMN more INTEGER",
    "DROP TRIGGER added; DROP VIEW names; DROP TABLE \"a \"\"quoted\"\" `order` 🦀\"; ALTER TABLE log RENAME TO log2",
    "PRAGMA user_version = 42; PRAGMA application_id = 7",
    "VACUUM",
    "PRAGMA auto_vacuum = FULL; PRAGMA page_size = 8192; VACUUM",
    "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'log'",
    "ANALYZE",
    "ATTACH 'file:attached?mode=memory' AS other; CREATE TABLE other.t (x); INSERT INTO parent (name) VALUES ('a')",
    "CREATE TEMP TABLE parent (x); INSERT INTO parent VALUES (1); INSERT INTO main.parent (name) VALUES ('b')",
    "BEGIN; INSERT INTO parent (name) VALUES ('c'); ROLLBACK",
    "INSERT INTO log (what) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) \
     SELECT 'row ' || i FROM n",
];

async fn dirt_is_put_back(template: SqliteJournalMode, test: SqliteJournalMode) {
    let mut fixture = Fixture::new(template).await;
    for sql in DIRT {
        for leak in [false, true] {
            let options = SqliteConnectOptions::new().filename(fixture.slot()).journal_mode(test).foreign_keys(false);
            let mut connection = options.connect().await.expect("the slot");
            run(&mut connection, sql).await;
            // One is left open in the middle of a transaction, and goes on afterwards.
            if leak {
                run(&mut connection, "BEGIN IMMEDIATE; CREATE TABLE leaked (x); INSERT INTO leaked VALUES (1)").await;
                fixture.reset().await;
                let next = fixture.open().await;
                // It may succeed, or fail: what counts is where it writes to.
                let sql = "INSERT INTO leaked VALUES (2); COMMIT; CREATE TABLE leaked_too (x)";
                drop(sqlx::raw_sql(sql).execute(&mut connection).await);
                drop(connection.close().await);
                next.close().await.expect("closed");
                assert_eq!(fixture.reset().await, 0, "the leaked connection wrote to the next one's database: {sql}");
            } else {
                connection.close().await.expect("closed");
                fixture.reset().await;
            }
        }
    }
}

#[tokio::test]
async fn dirt_is_put_back_with_a_journal() {
    dirt_is_put_back(SqliteJournalMode::Delete, SqliteJournalMode::Delete).await;
    dirt_is_put_back(SqliteJournalMode::Delete, SqliteJournalMode::Persist).await;
}

#[tokio::test]
async fn dirt_is_put_back_with_a_log() {
    dirt_is_put_back(SqliteJournalMode::Delete, SqliteJournalMode::Wal).await;
    dirt_is_put_back(SqliteJournalMode::Wal, SqliteJournalMode::Wal).await;
    dirt_is_put_back(SqliteJournalMode::Wal, SqliteJournalMode::Delete).await;
}

/// SQLite looks for a log when it first reads, and finds it by its name.
#[tokio::test]
async fn a_leaked_connection_that_has_not_read_yet_leaves_the_next_one_alone() {
    for journal in ["WAL", "DELETE", "PERSIST", "TRUNCATE"] {
        let mut fixture = Fixture::new(SqliteJournalMode::Delete).await;
        let mut idle = fixture.open().await;
        let mut leaked = fixture.open().await;
        run(&mut leaked, &format!("PRAGMA journal_mode = {journal}; DELETE FROM log")).await;
        fixture.reset().await;

        let mut next = fixture.open().await;
        run(&mut next, "BEGIN; INSERT INTO parent (name) VALUES ('next')").await;
        for (connection, name) in [(&mut idle, "late"), (&mut leaked, "later")] {
            // It may succeed, or fail for want of a file.
            let sql = format!("INSERT INTO parent (name) VALUES ('{name}')");
            drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await);
        }
        run(&mut next, "COMMIT").await;
        drop(idle.close().await);
        drop(leaked.close().await);
        let names = sqlx::query_scalar::<_, String>("SELECT name FROM parent ORDER BY id").fetch_all(&mut next).await;
        assert_eq!(names.expect("names"), ["seven", "", "next"], "{journal}");
        next.close().await.expect("closed");
        fixture.reset().await;
    }
}

#[tokio::test]
async fn an_untouched_slot_says_so_and_a_touched_one_too() {
    let mut fixture = Fixture::new(SqliteJournalMode::Delete).await;
    assert_eq!(fixture.reset().await, 0);
    let mut connection = fixture.open().await;
    run(&mut connection, "SELECT * FROM parent").await;
    connection.close().await.expect("closed");
    assert_eq!(fixture.reset().await, 0);
    let mut connection = fixture.open().await;
    // As many bytes as before.
    run(&mut connection, "UPDATE parent SET name = 'SEVEN' WHERE id = 7").await;
    connection.close().await.expect("closed");
    assert_eq!(fixture.reset().await, 1);
}

#[tokio::test]
async fn a_file_that_is_gone_or_is_no_database_any_more_is_put_back() {
    let mut fixture = Fixture::new(SqliteJournalMode::Delete).await;
    fs::remove_file(fixture.slot()).expect("removed");
    fixture.reset().await;

    fs::write(fixture.slot(), "not a database").expect("written");
    fs::write(fixture.slot().with_extension("db-journal"), "nor a journal").expect("written");
    fixture.reset().await;

    fs::OpenOptions::new().append(true).open(fixture.slot()).expect("open").write_all(&[0; 4096]).expect("written");
    fs::set_permissions(fixture.slot(), fs::Permissions::from_mode(0o400)).expect("changed");
    fixture.reset().await;

    // A link is replaced. What it points to is not freshdb's.
    let elsewhere = tempfile::NamedTempFile::new().expect("a file");
    fs::remove_file(fixture.slot()).expect("removed");
    std::os::unix::fs::symlink(elsewhere.path(), fixture.slot()).expect("a link");
    fixture.reset().await;
    assert_eq!(fs::read(elsewhere.path()).expect("there"), b"");
}

/// As a run's directory goes with the run, while a test of it lives on.
#[tokio::test]
async fn a_server_that_is_gone_stays_gone() {
    let mut fixture = Fixture::new(SqliteJournalMode::Delete).await;
    let server = fixture.server.path().expect("a path").to_owned();
    fs::remove_dir_all(&server).expect("removed");
    let error = Sqlite::reset(&mut fixture.slot, &fixture.template, &[]).await.expect_err("no server");
    assert_eq!(error.kind(), ErrorKind::Files);
    let copied = Sqlite::copy(&fixture.server, &fixture.template, "another").await;
    assert_eq!(copied.expect_err("no server").kind(), ErrorKind::Files);
    assert!(!server.exists());
}

#[tokio::test]
async fn a_slot_of_another_process_is_put_back() {
    let mut fixture = Fixture::new(SqliteJournalMode::Wal).await;
    let mut connection = fixture.open().await;
    run(&mut connection, "DELETE FROM parent").await;
    // As a killed process leaves it: with its log.
    fixture.slot = Sqlite::open(&fixture.server, &fixture.template, "slot", "").await.expect("opened");
    fixture.reset().await;
    drop(connection.close().await);
    fixture.reset().await;
}

#[tokio::test]
async fn a_template_that_somebody_has_open_is_refused() {
    for (journal, sql) in [
        (SqliteJournalMode::Wal, "SELECT 1"),
        (SqliteJournalMode::Wal, "BEGIN IMMEDIATE"),
        (SqliteJournalMode::Delete, "BEGIN IMMEDIATE; CREATE TABLE x (y)"),
    ] {
        let fixture = Fixture::new(journal).await;
        let options = SqliteConnectOptions::new().filename(path(&fixture.server, "template"));
        let mut connection = options.connect().await.expect("the template");
        run(&mut connection, "SELECT * FROM parent").await;
        run(&mut connection, sql).await;
        let error = Sqlite::read_template(&fixture.server, "template").await.expect_err(sql);
        assert!(matches!(error.kind(), ErrorKind::Schema | ErrorKind::Database), "{error:?}");
        connection.close().await.expect("closed");
        Sqlite::read_template(&fixture.server, "template").await.expect("nobody has it open any more");
    }
}

/// Every process of a run reads it when it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_read_by_many_at_once() {
    for journal in [SqliteJournalMode::Wal, SqliteJournalMode::Delete] {
        let fixture = Fixture::new(journal).await;
        for _ in 0..20 {
            let read = || {
                let server = fixture.server.clone();
                tokio::spawn(async move { Sqlite::read_template(&server, "template").await })
            };
            let reads: Vec<_> = (0..8).map(|_| read()).collect();
            for read in reads {
                let template = read.await.expect("no panic").expect("a template");
                assert_eq!(template.content(), fixture.template.content());
            }
        }
    }
}

/// By all processes but the one that made it.
#[tokio::test]
async fn a_template_is_restored_until_somebody_writes_to_it() {
    for journal in [SqliteJournalMode::Wal, SqliteJournalMode::Delete] {
        let fixture = Fixture::new(journal).await;
        let mut admin = Sqlite::connect(&fixture.server, REGISTRY).await.expect("the registry");
        let stored = Sqlite::store(&fixture.template).expect("it can be stored");
        let mut restored = async || {
            let restored = Sqlite::restore(&mut admin, &fixture.server, "template", &stored).await.expect("an answer");
            restored.map(|template| template.content())
        };
        assert_eq!(restored().await, Some(fixture.template.content()), "{journal:?}");
        assert_eq!(restored().await, Some(fixture.template.content()), "{journal:?}");

        let mut other = super::connection::open(&path(&fixture.server, "template")).await.expect("the template");
        run(&mut other, "BEGIN IMMEDIATE; DELETE FROM log").await;
        assert_eq!(restored().await, None, "{journal:?}");
        run(&mut other, "COMMIT").await;
        other.close().await.expect("closed");
        assert_eq!(restored().await, None, "{journal:?}");
    }
}

#[tokio::test]
async fn nothing_is_copied_of_a_template_that_somebody_wrote_to() {
    for journal in [SqliteJournalMode::Wal, SqliteJournalMode::Delete] {
        let mut fixture = Fixture::new(journal).await;
        let mut other = super::connection::open(&path(&fixture.server, "template")).await.expect("the template");
        run(&mut other, DIRT[DIRT.len() - 1]).await;
        other.close().await.expect("closed");
        let error = Sqlite::reset(&mut fixture.slot, &fixture.template, &[]).await.expect_err("no copy");
        assert!(format!("{error:?}").contains("was written to after it was complete"), "{journal:?}: {error:?}");
    }
}

/// A process that reads it has it open for a moment, and so its log is there.
#[tokio::test]
async fn whoever_has_a_template_open_for_a_moment_is_waited_for() {
    let fixture = Fixture::new(SqliteJournalMode::Wal).await;
    let mut other = super::connection::open(&path(&fixture.server, "template")).await.expect("the template");
    run(&mut other, "SELECT count(*) FROM parent").await;
    assert!(super::files::has_log(&path(&fixture.server, "template")).expect("an answer"));
    let (read, closed) = tokio::join!(Sqlite::read_template(&fixture.server, "template"), other.close());
    closed.expect("closed");
    assert_eq!(read.expect("a template").content(), fixture.template.content());
}

#[tokio::test]
async fn a_lock_is_one_connections_and_ends_with_it() {
    let fixture = Fixture::new(SqliteJournalMode::Delete).await;
    let mut one = Sqlite::connect(&fixture.server, REGISTRY).await.expect("a connection");
    let mut other = Sqlite::connect(&fixture.server, REGISTRY).await.expect("a connection");

    assert!(Sqlite::try_lock(&mut one, "a").await.expect("an answer"));
    assert!(!Sqlite::try_lock(&mut other, "a").await.expect("an answer"));
    assert!(Sqlite::try_lock(&mut other, "b").await.expect("an answer"));
    Sqlite::unlock(&mut one, "a").await.expect("unlocked");
    Sqlite::unlock(&mut one, "a").await.expect("a lock that is not held is no failure");
    Sqlite::unlock(&mut one, "b").await.expect("nor is another's");
    assert!(!Sqlite::try_lock(&mut one, "b").await.expect("an answer"));
    assert!(Sqlite::try_lock(&mut other, "a").await.expect("an answer"));
    drop(other);
    assert!(Sqlite::try_lock(&mut one, "a").await.expect("an answer"));
}

/// Between `fork` and `exec` a child has open what its parent has.
#[tokio::test]
async fn a_lock_ends_with_its_connection_while_children_are_started() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let fixture = Fixture::new(SqliteJournalMode::Delete).await;
    let done = Arc::new(AtomicBool::new(false));
    let starters = [(); 3].map(|()| {
        let done = done.clone();
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                assert!(std::process::Command::new("true").status().expect("a child").success());
            }
        })
    });
    let mut refused = 0;
    let mut connection = Sqlite::connect(&fixture.server, REGISTRY).await.expect("a connection");
    for _ in 0..3000 {
        refused += u32::from(!Sqlite::try_lock(&mut connection, "a").await.expect("an answer"));
        // As if it had been dropped, which takes longer.
        connection.forget_locks();
    }
    done.store(true, Ordering::Relaxed);
    for starter in starters {
        starter.join().expect("children were started");
    }
    assert_eq!(refused, 0);
}

/// Locks are files that come and go, and whoever opened one in time may lock it too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lock_is_never_held_twice() {
    use std::sync::atomic::{AtomicU32, Ordering};

    static HOLDERS: AtomicU32 = AtomicU32::new(0);
    let fixture = Fixture::new(SqliteJournalMode::Delete).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let mut connection = Sqlite::connect(&fixture.server, REGISTRY).await.expect("a connection");
        tasks.push(tokio::spawn(async move {
            let mut taken = 0;
            while taken < 2000 {
                if Sqlite::try_lock(&mut connection, "a").await.expect("an answer") {
                    assert_eq!(HOLDERS.fetch_add(1, Ordering::SeqCst), 0, "two hold one lock");
                    taken += 1;
                    assert_eq!(HOLDERS.fetch_sub(1, Ordering::SeqCst), 1, "two hold one lock");
                    Sqlite::unlock(&mut connection, "a").await.expect("unlocked");
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_make_one_registry() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = DatabaseUrl::file(directory.path().join("of").join("freshdb"));
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let server = server.clone();
            tokio::spawn(async move {
                Sqlite::create_registry(&server).await.expect("a registry");
                let mut connection = Sqlite::connect(&server, REGISTRY).await.expect("a connection");
                Sqlite::execute(&mut connection, "CREATE TABLE IF NOT EXISTS t (n)").await.expect("a table");
                Sqlite::execute(&mut connection, &format!("INSERT INTO t VALUES ({number})")).await.expect("a row");
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let mut connection = Sqlite::connect(&server, REGISTRY).await.expect("a connection");
    let rows = Sqlite::rows(&mut connection, "SELECT COUNT(*), NULL, 1.5, x'41', 'é' FROM t").await.expect("rows");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [[text("8"), None, text("1.5"), text("A"), text("é")]]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(server.path().expect("a path")), 0o700);
    assert_eq!(mode(&path(&server, REGISTRY)), 0o600);
    let mut left: Vec<_> = fs::read_dir(server.path().expect("a path"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| !name.starts_with(&format!("{REGISTRY}.db")))
        .collect();
    left.sort();
    assert_eq!(left, ["locks"]);
}

#[tokio::test]
async fn databases_come_and_go() {
    let fixture = Fixture::new(SqliteJournalMode::Delete).await;
    let mut admin = Sqlite::connect(&fixture.server, REGISTRY).await.expect("the registry");
    assert!(Sqlite::exists(&mut admin, "slot").await.expect("an answer"));
    let error = Sqlite::create(&mut admin, "slot").await.expect_err("it is there");
    assert!(matches!(error, sqlx::Error::Io(_)), "{error:?}");
    let error = Sqlite::copy(&fixture.server, &fixture.template, "slot").await.expect_err("it is there");
    assert_eq!(error.kind(), ErrorKind::Files);

    for companion in ["-wal", "-shm", "-journal"] {
        fs::write(format!("{}{companion}", fixture.slot().display()), "x").expect("written");
    }
    Sqlite::drop(&mut admin, "slot").await.expect("dropped");
    Sqlite::drop(&mut admin, "slot").await.expect("what is not there is no failure");
    assert!(!Sqlite::exists(&mut admin, "slot").await.expect("an answer"));
    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
    let identity = Sqlite::identity(&mut admin).await.expect("an identity");
    assert!(identity.starts_with("SQLite 3.") && identity.contains("THREADSAFE"), "{identity}");
    let gone = Sqlite::connect(&fixture.server, "slot").await;
    assert!(gone.is_err(), "connecting makes no database");
}
