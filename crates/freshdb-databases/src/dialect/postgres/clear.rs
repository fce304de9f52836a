//! Ending what goes on in a slot: sessions, prepared transactions, replication slots.

use std::time::{Duration, Instant};

use super::super::{Grace, ServerSession};
use super::connection::{Connection, execute, literal, prepared};
use super::server::{oid, session, sessions_on};

/// By when all must have ended.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(1);

/// Ends all that others do in this database, but for the sessions that are `staying`, which have a moment to finish what they do. A
/// session leaves the list only after it has written down its statistics, rolled back, and dropped its temporary tables.
///
/// `Err(session)` inside is one that does not end.
pub(super) async fn clear(
    connection: &mut Connection,
    staying: &[u64],
) -> Result<Result<Vec<ServerSession>, ServerSession>, sqlx::Error> {
    let start = Instant::now();
    let mut grace = Grace::start(staying);
    let mut ended: Vec<ServerSession> = Vec::new();
    let mut found = look(connection, staying).await?;
    while let Some(session) = found.sessions.first() {
        grace.looked();
        if start.elapsed() > PATIENCE {
            return Ok(Err(session.clone()));
        }
        // Told again each time: who connects anew meanwhile is told too.
        let told: Vec<&ServerSession> = found.sessions.iter().filter(|session| grace.is_over_for(session)).collect();
        if !told.is_empty() {
            let pids = told.iter().map(|session| format!("pg_terminate_backend({})", session.id)).collect::<Vec<_>>();
            execute(connection, &format!("SELECT {}", pids.join(", "))).await?;
            for session in told {
                if !ended.iter().any(|known| known.id == session.id) {
                    ended.push(session.clone());
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        found = look(connection, staying).await?;
    }
    for gid in &found.transactions {
        execute(connection, &format!("ROLLBACK PREPARED {}", literal(gid))).await?;
    }
    for slot in &found.replication_slots {
        execute(connection, &format!("SELECT pg_drop_replication_slot({})", literal(slot))).await?;
    }
    Ok(Ok(ended))
}

/// Whether anybody but those who are staying is connected to this database.
pub(super) async fn is_somebody_there(connection: &mut Connection, staying: &[u64]) -> Result<bool, sqlx::Error> {
    Ok(!look(connection, staying).await?.sessions.is_empty())
}

/// The question for all that others do in this database, of the functions that the views for that are made of: see [`sessions_on`].
pub(super) fn question() -> String {
    let (sessions, here) = (sessions_on("current_database()"), oid("current_database()"));
    format!(
        "SELECT 'session', s.* FROM ({sessions}) s
        UNION ALL SELECT 'transaction', gid::text, null, null, null, null, null, null FROM pg_prepared_xact()
            WHERE dbid = {here}
        UNION ALL SELECT 'replication slot', slot_name::text, null, null, null, null, null, null FROM pg_get_replication_slots()
            WHERE datoid = {here} AND NOT temporary"
    )
}

/// Whether a row of the answer tells of a session that stays.
pub(super) fn stays(row: &[Option<String>], staying: &[u64]) -> bool {
    matches!(row, [Some(what), row @ ..] if what == "session" && session(row.to_vec()).stays(staying))
}

struct Found {
    sessions: Vec<ServerSession>,
    transactions: Vec<String>,
    replication_slots: Vec<String>,
}

async fn look(connection: &mut Connection, staying: &[u64]) -> Result<Found, sqlx::Error> {
    let mut found = Found { sessions: Vec::new(), transactions: Vec::new(), replication_slots: Vec::new() };
    for mut row in prepared(connection, &question(), &[]).await? {
        match row.remove(0).as_deref() {
            Some("session") => found.sessions.extend(Some(session(row)).filter(|session| !session.stays(staying))),
            Some("transaction") => found.transactions.extend(row.swap_remove(0)),
            _ => found.replication_slots.extend(row.swap_remove(0)),
        }
    }
    Ok(found)
}
