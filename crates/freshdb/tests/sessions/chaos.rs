//! Ten thousand sessions, and every way in which one can end: nothing is lost, and nobody notices the others.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use freshdb::{Dialect, Engine};
use sqlx::{AssertSqlSafe, Executor as _};
use test_support::eventually;

use crate::harness::{MACHINE, drop_after, number, patient, unique};

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, name VARCHAR(20))";

const SESSIONS: usize = 10_000;
const TASKS: usize = 8;
const POOL: u32 = 5;

/// At which sessions one is leaked.
const LEAKS: [usize; 3] = [3000, 6000, 8000];

/// From which session on the server kills some: after a loss every connection is asked before and after its use, and what
/// happens without that is to be seen as well.
const KILLS_FROM: usize = SESSIONS / 2;

/// How a session ends in order: on its connection nothing is under way.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Finished,
    Panicked,
    OnAnotherThread,
    BeginLeftOpen,
    Lent,
    LentBeginLeftOpen,
    Dropped,
    Committed,
    RolledBack,
    SavepointDropped,
}

const ENDINGS: [Ending; 10] = [
    Ending::Finished,
    Ending::Panicked,
    Ending::OnAnotherThread,
    Ending::BeginLeftOpen,
    Ending::Lent,
    Ending::LentBeginLeftOpen,
    Ending::Dropped,
    Ending::Committed,
    Ending::RolledBack,
    Ending::SavepointDropped,
];

/// And how in the middle of something: its connection is given up.
#[derive(Clone, Copy, Debug)]
enum BrutalEnding {
    StatementDropped,
    LongStatementDropped,
    StatementInTransactionDropped,
    CommitDropped,
    TaskAborted,
    Killed,
}

const BRUTAL_ENDINGS: [BrutalEnding; 6] = [
    BrutalEnding::StatementDropped,
    BrutalEnding::LongStatementDropped,
    BrutalEnding::StatementInTransactionDropped,
    BrutalEnding::CommitDropped,
    BrutalEnding::TaskAborted,
    BrutalEnding::Killed,
];

/// What is known of the rows, whoever wrote them.
#[derive(Debug, Default)]
struct Book {
    /// Whose COMMIT was answered.
    stored: BTreeSet<i64>,
    /// Whose COMMIT was dropped, and may have been executed or not.
    unknown: BTreeSet<i64>,
    /// Where sessions were leaked.
    leaks: Vec<u32>,
}

type Shared = Arc<Mutex<Book>>;

fn note(book: &Shared, entry: impl FnOnce(&mut Book)) {
    entry(&mut book.lock().unwrap_or_else(PoisonError::into_inner));
}

async fn leak<DB: Dialect>(engine: &Engine<DB>) -> u32 {
    let (session, line) = (engine.session().await.expect("a session"), line!());
    std::mem::forget(session);
    line
}

async fn leak_after_a_statement<DB: Dialect>(engine: &Engine<DB>) -> u32 {
    let (mut session, line) = (engine.session().await.expect("a session"), line!());
    session.execute(sqlx::raw_sql("SELECT 'leaked'")).await.expect("an answer");
    std::mem::forget(session);
    line
}

with_every_driver! {
    async fn ten_thousand_sessions(database: &TestDatabase, open: Open) {
        let _machine = MACHINE.lock().await;
        let seed = fastrand::u64(..);
        println!("the seed is {seed}");
        // Each connection of PostgreSQL's is a process of the server's: there, fewer are given up.
        let one_brutal_in = if database.engine == Kind::Postgres { 32 } else { 8 };
        database.execute(CREATE).await;
        let engine = open(database.url(), patient().max_connections(POOL).on_connect(database.without_durability()));
        let book = Shared::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let insert = format!("INSERT INTO items (id) VALUES ({})", database.parameter());
        let (sleep, check) = (database.sleep(30), database.fails_in_a_transaction());

        let mut observers = Vec::new();
        for _ in 0..TASKS {
            observers.push(database.observer().await);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
        let mut tasks = Vec::new();
        for (task, mut observer) in observers.into_iter().enumerate() {
            let (engine, book, begun) = (engine.clone(), book.clone(), begun.clone());
            let (insert, sleep, on_server) = (insert.clone(), sleep.clone(), database.engine != Kind::Sqlite);
            let mut random = fastrand::Rng::with_seed(seed.wrapping_add(task as u64));
            tasks.push(runtime.spawn(async move {
                let row = |id: i64| sqlx::query(AssertSqlSafe(insert.clone())).bind(id);
                let long = || sqlx::raw_sql(AssertSqlSafe(sleep.clone()));
                loop {
                    let count = begun.fetch_add(1, Ordering::Relaxed);
                    if count >= SESSIONS {
                        return;
                    }
                    if let Some(at) = LEAKS.iter().position(|leak| *leak == count) {
                        let line = if at == 0 { leak(&engine).await } else { leak_after_a_statement(&engine).await };
                        note(&book, |book| book.leaks.push(line));
                        continue;
                    }
                    let mut session = engine.session().await.expect("a session");
                    // Not each time: on some engines it makes the session one that is looked into when it ends.
                    if random.bool() {
                        session.execute(sqlx::raw_sql(check)).await.expect("no transaction is open");
                    }
                    let asked = unique();
                    if random.bool() {
                        let answer = number(&mut session, &format!("SELECT {asked}")).await.expect("an answer");
                        assert_eq!(answer, asked, "somebody else's answer");
                    }
                    let id = unique();
                    if random.u32(..one_brutal_in) > 0 {
                        match *random.choice(&ENDINGS).expect("one") {
                            Ending::Finished => {
                                row(id).execute(&mut session).await.expect("a row");
                                note(&book, |book| book.stored.extend([id]));
                            }
                            Ending::Panicked => {
                                // Without the panic's message: there would be a thousand.
                                let panicking = tokio::spawn(async move {
                                    let _session = session;
                                    resume_unwind(Box::new("chaos"));
                                });
                                assert!(panicking.await.expect_err("it panics").is_panic());
                            }
                            Ending::OnAnotherThread => {
                                std::thread::spawn(move || drop(session)).join().expect("nothing panics");
                            }
                            Ending::BeginLeftOpen => {
                                session.execute(sqlx::raw_sql("BEGIN")).await.expect("a transaction");
                                row(id).execute(&mut session).await.expect("a row");
                            }
                            Ending::Lent => {
                                row(id).execute(&mut *session).await.expect("a row");
                                note(&book, |book| book.stored.extend([id]));
                            }
                            Ending::LentBeginLeftOpen => {
                                (*session).execute(sqlx::raw_sql("BEGIN")).await.expect("a transaction");
                                row(id).execute(&mut *session).await.expect("a row");
                            }
                            Ending::Dropped => {
                                let mut tx = session.begin().await.expect("a transaction");
                                row(id).execute(&mut tx).await.expect("a row");
                            }
                            Ending::Committed => {
                                let mut tx = session.begin().await.expect("a transaction");
                                row(id).execute(&mut tx).await.expect("a row");
                                tx.commit().await.expect("it commits");
                                note(&book, |book| book.stored.extend([id]));
                            }
                            Ending::RolledBack => {
                                let mut tx = session.begin().await.expect("a transaction");
                                row(id).execute(&mut tx).await.expect("a row");
                                tx.rollback().await.expect("it rolls back");
                            }
                            Ending::SavepointDropped => {
                                let mut tx = session.begin().await.expect("a transaction");
                                row(id).execute(&mut tx).await.expect("a row");
                                let mut savepoint = tx.savepoint().await.expect("a savepoint");
                                row(unique()).execute(&mut savepoint).await.expect("a row");
                                drop(savepoint);
                                tx.commit().await.expect("it commits");
                                note(&book, |book| book.stored.extend([id]));
                            }
                        }
                        continue;
                    }
                    match *random.choice(&BRUTAL_ENDINGS).expect("one") {
                        BrutalEnding::StatementDropped => {
                            note(&book, |book| book.unknown.extend([id]));
                            let polls = random.usize(1..4);
                            if let Some(inserted) = drop_after(polls, row(id).execute(&mut session)).await {
                                inserted.expect("a row");
                                note(&book, |book| book.stored.extend([id]));
                            }
                        }
                        BrutalEnding::LongStatementDropped => {
                            assert!(drop_after(1, session.execute(long())).await.is_none());
                        }
                        BrutalEnding::StatementInTransactionDropped => {
                            let mut tx = session.begin().await.expect("a transaction");
                            row(id).execute(&mut tx).await.expect("a row");
                            assert!(drop_after(1, tx.execute(long())).await.is_none());
                        }
                        BrutalEnding::CommitDropped => {
                            let mut tx = session.begin().await.expect("a transaction");
                            row(id).execute(&mut tx).await.expect("a row");
                            note(&book, |book| book.unknown.extend([id]));
                            drop(drop_after(1, tx.commit()).await);
                        }
                        BrutalEnding::Killed if on_server && count >= KILLS_FROM => {
                            let server_id = session.connection_id().expect("a server's number");
                            let (killed, ()) = tokio::join!(session.execute(long()), observer.kill(server_id));
                            // MySQL's SLEEP may say that it was interrupted, and give its row all the same.
                            drop(killed);
                        }
                        BrutalEnding::TaskAborted | BrutalEnding::Killed => {
                            let statement = sleep.clone();
                            let running = tokio::spawn(async move {
                                session.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.map(drop)
                            });
                            tokio::task::yield_now().await;
                            running.abort();
                            assert!(running.await.expect_err("it is aborted").is_cancelled());
                        }
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap_or_else(|error| panic!("with the seed {seed}: {error}"));
        }
        runtime.shutdown_background();

        let leaked = LEAKS.len();
        eventually("all but the leaks have come back", async || engine.stats().in_use == leaked).await;
        assert_eq!(engine.stats().sessions, leaked);
        let mut rest = Vec::new();
        for _ in leaked..POOL as usize {
            rest.push(engine.session().await.expect("a session"));
        }
        for session in &mut rest {
            session.execute(sqlx::raw_sql(check)).await.expect("no transaction is open");
        }
        drop(rest);

        let mut observer = database.observer().await;
        let stored: BTreeSet<i64> = observer.numbers("SELECT id FROM items").await.into_iter().collect();
        let book = std::mem::take(&mut *book.lock().unwrap_or_else(PoisonError::into_inner));
        let lost: Vec<_> = book.stored.difference(&stored).collect();
        let never_committed: Vec<_> =
            stored.iter().filter(|id| !book.stored.contains(id) && !book.unknown.contains(id)).collect();
        assert!(lost.is_empty() && never_committed.is_empty(), "lost: {lost:?}, never committed: {never_committed:?}");

        println!("{}: {:?}, {} rows", database.engine.name(), engine.stats(), stored.len());
        let leaks = engine.close(Duration::from_millis(500)).await.expect_err("some have leaked");
        let mut places: Vec<u32> = leaks.sessions().iter().map(|session| session.place().line()).collect();
        assert!(leaks.sessions().iter().all(|session| session.place().file().ends_with("chaos.rs")), "{leaks}");
        assert_eq!({ places.sort_unstable(); places }, { let mut lines = book.leaks; lines.sort_unstable(); lines });
        eventually("the server has no session left", async || observer.sessions().await == 0).await;
    }
}
