//! A server of MySQL whose counters of writes leave some out.

use freshdb_databases::{Kind, Pool, Server, schema};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection};

use crate::harness::Place;

async fn connect(url: &str) -> MySqlConnection {
    url.parse::<MySqlConnectOptions>().unwrap().connect().await.unwrap()
}

mod are_not_trusted {
    #[tokio::test]
    async fn mysql() {
        super::are_not_trusted().await;
    }
}

/// What an administrator turns off to look at one session alone, or to spare a server the work.
async fn are_not_trusted() {
    let place = Place::new();
    let server = Server::of(Kind::Mysql, &place.config()).await.unwrap();
    let mut admin = connect(&server.url().reveal()).await;
    for (off, on) in [
        ("UPDATE setup_actors SET enabled = 'NO'", "UPDATE setup_actors SET enabled = 'YES'"),
        ("DELETE FROM setup_actors", "INSERT INTO setup_actors VALUES ('%', '%', '%', 'YES', 'YES')"),
        (
            "UPDATE setup_objects SET enabled = 'NO' WHERE object_type = 'TABLE' AND object_schema = '%'",
            "UPDATE setup_objects SET enabled = 'YES' WHERE object_type = 'TABLE' AND object_schema = '%'",
        ),
        (
            "INSERT INTO setup_objects VALUES ('TABLE', '%', 'words', 'NO', 'NO')",
            "DELETE FROM setup_objects WHERE object_name = 'words'",
        ),
    ] {
        sqlx::raw_sql("USE performance_schema").execute(&mut admin).await.unwrap();
        sqlx::raw_sql(off).execute(&mut admin).await.unwrap();
        let sql = "CREATE TABLE words (word VARCHAR(50) PRIMARY KEY); INSERT INTO words VALUES ('fresh')";
        let pool =
            Pool::builder(server.clone(), schema::sql(format!("{sql}; -- {off}"))).limit(1).open().await.unwrap();
        for number in 0..2 {
            let lease = pool.lease().await.unwrap();
            let mut client = connect(&lease.url().reveal()).await;
            let words: Vec<String> = sqlx::query_scalar("SELECT word FROM words").fetch_all(&mut client).await.unwrap();
            assert_eq!(words, ["fresh"], "lease {number} after {off}");
            sqlx::raw_sql("UPDATE words SET word = 'stale'").execute(&mut client).await.unwrap();
            client.close().await.unwrap();
            lease.give_back().await.unwrap();
        }
        pool.close().await.unwrap();
        sqlx::raw_sql(on).execute(&mut admin).await.unwrap();
    }
    admin.close().await.unwrap();
    server.stop().await.unwrap();
}
