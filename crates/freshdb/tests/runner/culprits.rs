//! Tests that leave something behind, each in its own way. `reports.rs` runs them.

use std::any::Any;
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use freshdb::OrmEngine;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, TransactionTrait as _};

use super::tags;

const GRACE: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(1);

/// What outlives a test.
static KEPT: Mutex<Vec<Box<dyn Any + Send>>> = Mutex::new(Vec::new());

pub(super) fn keep(what: impl Send + 'static) {
    KEPT.lock().expect("nobody panics with it").push(Box::new(what));
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn session_held(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    session.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('held')").await.expect("a row");
    keep(session);
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn transaction_open(engine: OrmEngine) {
    let tx = engine.begin().await.expect("a transaction");
    tx.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('open')").await.expect("a row");
    keep(tx);
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn raw_begin_left_open(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    session.execute_unprepared("BEGIN").await.expect("it begins");
    session.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('lost')").await.expect("a row");
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn sea_orm_transaction_held(connection: DatabaseConnection) {
    let tx = connection.begin().await.expect("a transaction");
    tx.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('open')").await.expect("a row");
    keep(tx);
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn sea_orm_transaction_of_an_engine_held(engine: OrmEngine) {
    let tx = sea_orm::TransactionTrait::begin(&engine).await.expect("a transaction");
    keep(tx);
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn task_running(engine: OrmEngine) {
    tokio::spawn(async move {
        let _session = engine.session().await.inspect(|_| OPEN.add_permits(1)).expect("a session");
        pending::<()>().await;
    });
    OPEN.acquire().await.expect("it is never closed").forget();
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn blocking_thread_running() {
    tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_mins(10)));
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn engine_in_a_static(lease: freshdb::test::Lease) {
    let engine = OrmEngine::lazy(&lease.url().reveal()).expect("an engine");
    engine.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('a')").await.expect("a row");
    keep(engine);
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn connection_forgotten(engine: OrmEngine) {
    std::mem::forget(engine.session().await.expect("a session"));
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn failed_and_leaked(engine: OrmEngine) -> Result<(), sea_orm::DbErr> {
    keep(engine.session().await.expect("a session"));
    Err(sea_orm::DbErr::RecordNotFound("the tag `Rust`".to_owned()))
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn panicked_in_a_transaction(engine: OrmEngine) {
    let tx = engine.begin().await.expect("a transaction");
    tx.execute_unprepared("INSERT INTO tags (tag_id) VALUES ('never')").await.expect("a row");
    panic!("the body's own words");
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE)]
async fn panicked_and_leaked(engine: OrmEngine) {
    keep(engine.session().await.expect("a session"));
    panic!("the body's own words");
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE, timeout = TIMEOUT)]
async fn blocked_thread(engine: OrmEngine) {
    let _tx = engine.begin().await.expect("a transaction");
    std::thread::sleep(Duration::from_mins(10));
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE, timeout = TIMEOUT, start_paused = true)]
async fn paused_clock(engine: OrmEngine) {
    let _session = engine.session().await.expect("a session");
    pending::<()>().await;
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE, timeout = TIMEOUT)]
async fn endless_loop(engine: OrmEngine) {
    let _session = engine.session().await.expect("a session");
    loop {
        std::hint::spin_loop();
    }
}

#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE, leaks = "warn")]
async fn forgiven(engine: OrmEngine) {
    keep(engine.session().await.expect("a session"));
}

/// The same body for the pools of sqlx's, whose types differ from engine to engine.
macro_rules! with_every_pool {
    ($($name:ident($pool:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            #[ignore = "run by the test of its report"]
            #[freshdb::test(schema = tags(), grace = GRACE, on = [sqlite])]
            async fn on_file($pool: sqlx::SqlitePool) $body

            #[ignore = "run by the test of its report"]
            #[freshdb::test(schema = tags(), grace = GRACE, on = [mysql, mariadb])]
            async fn on_mysql($pool: sqlx::MySqlPool) $body

            #[ignore = "run by the test of its report"]
            #[freshdb::test(schema = tags(), grace = GRACE, on = [postgres])]
            async fn on_postgres($pool: sqlx::PgPool) $body
        }
    )+};
}

with_every_pool! {
    pool_connection_held(pool) {
        let returned = pool.acquire().await.expect("a connection");
        keep(pool.acquire().await.expect("another"));
        drop(returned);
    }

    pool_connection_forgotten(pool) {
        std::mem::forget(pool.acquire().await.expect("a connection"));
    }

    pool_transaction_held(pool) {
        let mut tx = pool.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO tags (tag_id) VALUES ('open')").execute(&mut *tx).await.expect("a row");
        keep(tx);
    }

    pool_raw_begin_left_open(pool) {
        let mut connection = pool.acquire().await.expect("a connection");
        sqlx::raw_sql("BEGIN; INSERT INTO tags (tag_id) VALUES ('lost')").execute(&mut *connection).await.expect("a row");
    }

    pool_in_a_static(pool) {
        sqlx::query("INSERT INTO tags (tag_id) VALUES ('a')").execute(&pool).await.expect("a row");
        keep(pool);
    }

    connected_by_itself(pool) {
        let options = pool.connect_options();
        keep(sqlx::ConnectOptions::connect(&*options).await.expect("a connection of its own"));
    }

    pool_connection_detached(pool) {
        keep(pool.acquire().await.expect("a connection").detach());
    }

    pool_connection_forgotten_beside_one_that_was_closed(pool) {
        let closed = pool.acquire().await.expect("a connection");
        let detached = pool.acquire().await.expect("another");
        let forgotten = pool.acquire().await.expect("a third");
        closed.close().await.expect("it closes");
        sqlx::Connection::close(detached.detach()).await.expect("it closes");
        std::mem::forget(forgotten);
    }
}

/// Foreign keys are looked at when the transaction ends, which then does not end.
#[ignore = "run by the test of its report"]
#[freshdb::test(schema = tags(), grace = GRACE, on = [sqlite])]
async fn commit_refused(engine: OrmEngine) {
    let session = engine.session().await.expect("a session");
    for sql in [
        "CREATE TABLE names (tag_id REFERENCES tags DEFERRABLE INITIALLY DEFERRED)",
        "BEGIN",
        "INSERT INTO names VALUES ('no such tag')",
    ] {
        session.execute_unprepared(sql).await.expect("it is executed");
    }
    session.execute_unprepared("COMMIT").await.expect_err("there is no such tag");
}

mod second_database {
    use freshdb::SqliteEngine;
    use freshdb::test::{ArgumentError, Context, FromContext, Guarded, Kind};

    use super::{keep, tags};

    /// An engine on it, which ends with the test.
    struct Archive(SqliteEngine);

    impl FromContext for Archive {
        async fn from_context(context: &mut Context) -> Result<Self, ArgumentError> {
            let mut database = Guarded::lease(Kind::Sqlite, tags()).await?;
            let engine = database.get().await?;
            context.on_end("the archive", async move { Ok(database.end().await?) });
            Ok(Self(engine))
        }
    }

    #[ignore = "run by the test of its report"]
    #[freshdb::test(on = [sqlite])]
    async fn session_held(Archive(engine): Archive) {
        keep(engine.session().await.expect("a session"));
    }
}

/// Has a permit when the session of a task is open.
static OPEN: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(0);
