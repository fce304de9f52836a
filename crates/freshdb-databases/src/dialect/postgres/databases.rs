//! Making, copying and dropping whole databases.

use std::time::{Duration, Instant};

use super::super::REGISTRY;
use super::connection::{
    APPLICATION, Connection, INSUFFICIENT_PRIVILEGE, connect, execute, identifier, is, literal, rows, value,
};
use super::server::{key, sessions_on};
use super::template::DatabaseSettings;
use crate::{DatabaseUrl, Kind};

/// For how long a template or a database that somebody is in is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two attempts. The server itself waits up to five seconds within each for sessions to go.
const PAUSE: Duration = Duration::from_millis(20);

const OBJECT_IN_USE: &str = "55006";
const DUPLICATE_DATABASE: &str = "42P04";
const UNIQUE_VIOLATION: &str = "23505";
const INVALID_CATALOG_NAME: &str = "3D000";
const SYNTAX_ERROR: &str = "42601";
const WRONG_OBJECT_TYPE: &str = "42809";
/// `tuple concurrently updated`, for one.
const INTERNAL_ERROR: &str = "XX000";

/// The variables of a database whose values are lists of names, which is nowhere in the catalogs: pg_dump has the same list.
const LISTS: [&str; 4] = ["local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces"];

/// Nobody else speaks its protocol.
pub(super) async fn engine(server: &DatabaseUrl) -> Result<Kind, sqlx::Error> {
    administration(server).await?.close().await?;
    Ok(Kind::Postgres)
}

pub(super) async fn create_registry(server: &DatabaseUrl) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut connection = administration(server).await?;
    while !exists(&mut connection, REGISTRY).await? {
        match create(&mut connection, REGISTRY).await {
            Ok(()) => break,
            // Another process was faster. Its database is seen as soon as its transaction is.
            Err(error) if is(&error, &[DUPLICATE_DATABASE, UNIQUE_VIOLATION]) && Instant::now() < deadline => {}
            Err(error) if is(&error, &[OBJECT_IN_USE]) && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
    connection.close().await
}

/// A connection to a database that is there before freshdb's own is: the URL's, or those that a server is made with.
async fn administration(server: &DatabaseUrl) -> Result<Connection, sqlx::Error> {
    let mut refused = None;
    for database in server.database().into_iter().chain(["postgres".to_owned(), "template1".to_owned()]) {
        match connect(server, &database).await {
            Err(error) if is(&error, &[INVALID_CATALOG_NAME]) => refused = Some(error),
            answer => return answer,
        }
    }
    Err(refused.expect("there was at least one database to try"))
}

pub(super) async fn exists(connection: &mut Connection, name: &str) -> Result<bool, sqlx::Error> {
    let sql = format!("SELECT 1 FROM pg_database WHERE datname = {}", literal(name));
    Ok(value(connection, &sql).await?.is_some())
}

/// From `template0`, which is the same on every server of a version, and which nobody can be in.
pub(super) async fn create(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    let sql = format!("CREATE DATABASE {} TEMPLATE template0", identifier(name));
    begin_making(connection, name).await?;
    let created = execute(connection, &sql).await;
    end_making(connection, name, created).await
}

/// The lock of whoever makes a database. The server goes on with that when its client has ended, and nobody sees the database before it is done;
/// so whoever is to drop it waits for this. It ends with the session.
fn lock_of_making(name: &str) -> i64 {
    key(&format!("making {name}"))
}

async fn begin_making(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, &format!("SELECT pg_advisory_lock({})", lock_of_making(name))).await
}

async fn end_making(connection: &mut Connection, name: &str, made: Result<(), sqlx::Error>) -> Result<(), sqlx::Error> {
    let unlocked = execute(connection, &format!("SELECT pg_advisory_unlock({})", lock_of_making(name))).await;
    made.and(unlocked)
}

/// Waits until nobody makes it any more.
async fn await_making(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    let limit = PATIENCE.as_millis();
    let lock = lock_of_making(name);
    execute(connection, &format!("SET LOCAL lock_timeout = {limit}; SELECT pg_advisory_xact_lock({lock})")).await
}

/// Alters a database as several may at once, each to its own end: the server refuses to wait for who is about it.
pub(super) async fn alter(connection: &mut Connection, name: &str, options: &str) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + PATIENCE;
    let sql = format!("ALTER DATABASE {} {options}", identifier(name));
    loop {
        match execute(connection, &sql).await {
            Err(error) if is(&error, &[INTERNAL_ERROR]) && Instant::now() < deadline => {}
            answer => return answer,
        }
        tokio::time::sleep(PAUSE.mul_f64(fastrand::f64())).await;
    }
}

/// Makes a copy of a template. `clauses` are of `CREATE DATABASE`, or nothing.
pub(super) async fn copy(
    connection: &mut Connection,
    template: &str,
    clauses: &str,
    name: &str,
) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + PATIENCE;
    let sql = format!("CREATE DATABASE {} TEMPLATE {}{clauses}", identifier(name), identifier(template));
    begin_making(connection, name).await?;
    let copied = loop {
        match execute(connection, &sql).await {
            // A session on the template is in the way: one of freshdb's own, which reads it, will be gone presently.
            Err(error) if is(&error, &[OBJECT_IN_USE]) && Instant::now() < deadline => {
                end_sessions(connection, template, true).await?;
                tokio::time::sleep(PAUSE).await;
            }
            answer => break answer,
        }
    };
    end_making(connection, name, copied).await
}

/// Gives a copy what is said of the template itself.
pub(super) async fn copy_settings(
    connection: &mut Connection,
    settings: &DatabaseSettings,
    name: &str,
) -> Result<(), sqlx::Error> {
    if let Some(comment) = &settings.comment {
        execute(connection, &format!("COMMENT ON DATABASE {} IS {}", identifier(name), literal(comment))).await?;
    }
    if let Some(privileges) = &settings.privileges {
        copy_privileges(connection, privileges, name).await?;
    }
    for (role, variable, value) in &settings.variables {
        let whose = match role {
            Some(role) => format!("ALTER ROLE {} IN DATABASE {}", identifier(role), identifier(name)),
            None => format!("ALTER DATABASE {}", identifier(name)),
        };
        let quoted = variable.split('.').map(identifier).collect::<Vec<_>>().join(".");
        let value = literal(value);
        // A literal would be the only element of a list, which is set and then taken over.
        let sql = if LISTS.contains(&variable.as_str()) {
            format!("SELECT set_config({}, {value}, true); {whose} SET {quoted} FROM CURRENT", literal(variable))
        } else {
            format!("{whose} SET {quoted} = {value}")
        };
        execute(connection, &sql).await?;
    }
    Ok(())
}

/// Grants what a list of privileges says, in its order, after all that any new database grants is revoked.
async fn copy_privileges(connection: &mut Connection, privileges: &str, name: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %I', datname, pg_get_userbyid(datdba))
            FROM pg_database WHERE datname = {name}
        UNION ALL (SELECT format('GRANT %s ON DATABASE %I TO %s%s', privilege_type, {name},
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM aclexplode({}::aclitem[]) WITH ORDINALITY ORDER BY ordinality)",
        literal(privileges),
        name = literal(name),
    );
    let statements = rows(connection, &sql).await?.into_iter().flatten().flatten().collect::<Vec<_>>();
    execute(connection, &statements.join(";")).await
}

/// The privileges of a database as the server writes them; nothing if they are those of any new database.
pub(super) async fn privileges(connection: &mut Connection, name: &str) -> Result<Option<String>, sqlx::Error> {
    value(connection, &format!("SELECT datacl FROM pg_database WHERE datname = {}", literal(name))).await
}

/// Ends the sessions on a database of freshdb's, but for those that administer it if they are to be spared.
async fn end_sessions(connection: &mut Connection, name: &str, spare: bool) -> Result<(), sqlx::Error> {
    let own = if spare { format!("AND a.application_name <> {}", literal(APPLICATION)) } else { String::new() };
    let sessions = format!("{} {own}", sessions_on(&literal(name)));
    execute(connection, &format!("SELECT pg_terminate_backend(pid::int) FROM ({sessions}) s")).await
}

pub(super) async fn drop(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    await_making(connection, name).await?;
    let deadline = Instant::now() + PATIENCE;
    let forced = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    let plain = format!("DROP DATABASE IF EXISTS {}", identifier(name));
    let mut sql = &forced;
    loop {
        match execute(connection, sql).await {
            // A server that cannot do it by force.
            Err(error) if is(&error, &[SYNTAX_ERROR]) && *sql == forced => sql = &plain,
            // An autovacuum is nobody's but a superuser's to end by force. Without force the server ends it itself, and waits for all others.
            Err(error) if is(&error, &[INSUFFICIENT_PRIVILEGE]) && *sql == forced => {
                sql = &plain;
                end_sessions(connection, name, false).await?;
            }
            Err(error) if is(&error, &[OBJECT_IN_USE, WRONG_OBJECT_TYPE]) && Instant::now() < deadline => {
                remove_obstacles(connection, name).await?;
                end_sessions(connection, name, false).await?;
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Removes from a database what even `FORCE` stops at: being a template, replication slots, prepared transactions,
/// subscriptions.
async fn remove_obstacles(connection: &mut Connection, name: &str) -> Result<(), sqlx::Error> {
    alter(connection, name, "IS_TEMPLATE false ALLOW_CONNECTIONS true").await?;
    end_sessions(connection, name, false).await?;
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = {} AND NOT active",
        literal(name),
    );
    execute(connection, &sql).await?;
    // A subscription's slot on the other server, if there is one, is that server's.
    let sql = format!(
        "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = {name}
        UNION ALL SELECT format('ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE);
            DROP SUBSCRIPTION %1$I', subname) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
            WHERE d.datname = {name}",
        name = literal(name),
    );
    let statements = rows(connection, &sql).await?;
    if statements.is_empty() {
        return Ok(());
    }
    // Both can only be ended from within their own database: this connection is to another.
    let mut inside = connection.elsewhere(name).await?;
    for sql in statements.into_iter().flatten().flatten() {
        execute(&mut inside, &sql).await?;
    }
    inside.close().await
}
