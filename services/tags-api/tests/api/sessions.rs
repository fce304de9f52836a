//! How the service's sessions are set on each engine, as its README has it.

use sea_orm::{ConnectionTrait, DbErr, Statement};
use test_support::Engine;

use crate::harness::{TestApp, schema};

#[freshdb::test(schema = schema())]
async fn isolation_and_durability_are_as_they_are_promised(app: TestApp) -> Result<(), DbErr> {
    let (sql, expected) = match app.elsewhere.engine {
        // FULL: <https://www.sqlite.org/pragma.html#pragma_synchronous>.
        Engine::Sqlite => ("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", "2"),
        Engine::Mysql => ("SELECT @@SESSION.transaction_isolation", "READ-COMMITTED"),
        Engine::Mariadb => ("SELECT @@SESSION.tx_isolation", "READ-COMMITTED"),
        Engine::Postgres => ("SELECT current_setting('transaction_isolation')", "read committed"),
    };
    let session = app.database.session().await.expect("a session");
    let row = session.query_one_raw(Statement::from_string(session.backend(), sql)).await?.expect("a row");
    assert_eq!(row.try_get_by_index::<String>(0)?, expected);
    Ok(())
}
