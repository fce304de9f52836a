//! The sessions of MySQL's and MariaDB's servers.

use sqlx::{MySqlConnection, Row};

/// A session, as `SHOW PROCESSLIST` tells of it. `information_schema.processlist` cannot be read on MySQL while anybody executes a statement
/// with a character of four bytes.
pub(crate) struct Process {
    pub(crate) id: u64,
    database: String,
    command: String,
    seconds: i64,
}

impl Process {
    pub(crate) fn is_executing(&self) -> bool {
        self.command != "Sleep"
    }

    /// A statement that has been executed for a second waits for something.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_executing() && self.seconds >= 1
    }
}

/// All that are connected to a database.
pub(crate) async fn processes(connection: &mut MySqlConnection, database: &str) -> Vec<Process> {
    let rows = sqlx::raw_sql("SHOW PROCESSLIST").fetch_all(connection).await.expect("an answer");
    let processes = rows.iter().map(|row| {
        let text = |column: &str| row.get_unchecked::<Option<String>, _>(column).unwrap_or_default();
        Process {
            id: text("Id").parse().expect("a number"),
            database: text("db"),
            command: text("Command"),
            seconds: text("Time").parse().unwrap_or(0),
        }
    });
    processes.filter(|process| process.database == database).collect()
}

/// Those of others on the database of this connection.
pub(crate) async fn processes_beside(connection: &mut MySqlConnection) -> Vec<Process> {
    let own = sqlx::raw_sql("SELECT CONNECTION_ID(), DATABASE()").fetch_one(&mut *connection).await.expect("an answer");
    let (id, database): (u64, String) = (own.get_unchecked(0), own.get_unchecked(1));
    let mut processes = processes(connection, &database).await;
    processes.retain(|process| process.id != id);
    processes
}
