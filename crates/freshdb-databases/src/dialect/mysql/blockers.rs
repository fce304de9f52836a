//! What holds locks on a database without a session on it: prepared transactions.

use sqlx::MySqlConnection;

use super::connection::{OWN, SETTINGS, binary, bytes, execute, literal, number, rows};
use super::template::qualified;

const XAER_NOTA: u16 = 1397;
const XAER_RMFAIL: u16 = 1399;
/// It is rolled back, and would have been in any case: it had timed out, or was chosen to end a deadlock.
const XA_RB: [u16; 3] = [1402, 1613, 1614];
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// The name of a prepared transaction, as `XA ROLLBACK` takes it.
pub(super) type Xid = String;

/// Every prepared transaction of the server: which database it wrote to, no server says.
pub(super) async fn prepared(connection: &mut MySqlConnection) -> Result<Vec<Xid>, sqlx::Error> {
    let rows = bytes(connection, "XA RECOVER").await?;
    Ok(rows.into_iter().filter_map(|row| xid(&row)).collect())
}

/// formatID, gtrid_length, bqual_length, data: any bytes.
fn xid(row: &[Option<Vec<u8>>]) -> Option<Xid> {
    let number = |index: usize| std::str::from_utf8(row.get(index)?.as_ref()?).ok()?.parse::<usize>().ok();
    let (format, global, data) = (number(0)?, number(1)?, row.get(3)?.as_ref()?);
    let (global, branch) = data.split_at_checked(global)?;
    Some(format!("{},{},{format}", binary(global), binary(branch)))
}

/// Rolls back the prepared transactions that are not among those `known` when the database was last pristine, for as long as the
/// database is locked: which of them it is that locks it, no server says. Where nothing of the database is locked, nothing is done.
pub(super) async fn end(connection: &mut MySqlConnection, name: &str, known: &mut Vec<Xid>) -> Result<(), sqlx::Error> {
    let mut suspects = prepared(connection).await?;
    // One that has ended may come again, as another one.
    known.retain(|xid| suspects.contains(xid));
    suspects.retain(|xid| !known.contains(xid));
    for xid in suspects {
        if !locked(connection, name).await? {
            break;
        }
        match execute(connection, &format!("XA ROLLBACK {xid}")).await {
            // A session still has it, or has just ended it.
            Err(error) if matches!(number(&error), Some(XAER_NOTA | XAER_RMFAIL)) => {}
            Err(error) if number(&error).is_some_and(|number| XA_RB.contains(&number)) => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// Whether anything holds a lock on a table: of the server's definitions, or of InnoDB's. One prepared transaction outlives its session
/// with both, another with the latter only.
async fn locked(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
    // Those of now: a transaction may have written to a table that the template does not have.
    let sql = format!(
        "{OWN}SELECT table_name FROM information_schema.tables WHERE table_schema = {} AND table_type NOT LIKE '%VIEW'",
        literal(name)
    );
    let tables = rows(connection, &sql).await?.into_iter().flatten().flatten();
    let tables: Vec<String> = tables.map(|table| format!("{} WRITE", qualified(name, &table))).collect();
    if tables.is_empty() {
        return Ok(false);
    }
    // InnoDB's own lock on a table is taken only by who is in a transaction.
    execute(
        connection,
        "SET SESSION autocommit = 0, innodb_table_locks = 1, lock_wait_timeout = 1, innodb_lock_wait_timeout = 1",
    )
    .await?;
    let mut answer = wait_for(connection, &tables.join(", ")).await?;
    if answer == Wait::Refused {
        // A table that nobody can open, for a trigger of it is broken, hides what is locked of the others.
        for table in &tables {
            answer = wait_for(connection, table).await?;
            if answer == Wait::Locked {
                break;
            }
        }
    }
    execute(connection, SETTINGS).await?;
    Ok(answer == Wait::Locked)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Over,
    Locked,
    /// The statement is no good: that is found out later.
    Refused,
}

/// Waits for a moment until some tables can be locked, and lets go of them.
async fn wait_for(connection: &mut MySqlConnection, tables: &str) -> Result<Wait, sqlx::Error> {
    let attempt = execute(connection, &format!("LOCK TABLES {tables}")).await;
    execute(connection, "UNLOCK TABLES; ROLLBACK").await?;
    match attempt {
        Err(error) if number(&error) == Some(LOCK_WAIT_TIMEOUT) => Ok(Wait::Locked),
        Err(error) if number(&error).is_some() => Ok(Wait::Refused),
        answer => answer.map(|()| Wait::Over),
    }
}
