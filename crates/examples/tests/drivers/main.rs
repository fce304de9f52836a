//! Drivers that freshdb knows nothing of, each on the URL of a bare lease; and what is said of a connection that such a driver
//! leaves open.

mod diesel_async;
mod mysql_async;
mod rusqlite;
mod tokio_postgres;

use freshdb::test::{Guarded, Leftovers, Schema, schema};

fn tags() -> impl Schema {
    schema::sql("CREATE TABLE tags (tag_id VARCHAR(50) PRIMARY KEY, description VARCHAR(50))")
}

/// What is said at the end of a test that has left a connection open.
async fn end_of_leaky(database: Guarded) -> String {
    database.end().await.map_err(|leftovers: Leftovers| leftovers.to_string()).expect_err("it was left open")
}
