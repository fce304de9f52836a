//! Servers of MySQL and MariaDB that are set up so that the end of a transaction begins another.

use freshdb_databases::{Kind, Pool, Server, schema};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection};

use crate::harness::Place;

async fn connect(url: &str) -> MySqlConnection {
    url.parse::<MySqlConnectOptions>().unwrap().connect().await.unwrap()
}

/// What freshdb reads in such a transaction is as it was when that began.
async fn databases_are_pristine_all_the_same(kind: Kind) {
    let place = Place::new();
    let server = Server::of(kind, &place.config()).await.unwrap();
    let mut admin = connect(&server.url().reveal()).await;
    sqlx::raw_sql("SET GLOBAL completion_type = 'CHAIN'").execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    let sql = "CREATE TABLE words (word VARCHAR(50) PRIMARY KEY); INSERT INTO words VALUES ('fresh')";
    let pool = Pool::builder(server.clone(), schema::sql(sql)).limit(1).open().await.unwrap();
    for number in 0..4 {
        let lease = pool.lease().await.unwrap();
        let mut client = connect(&lease.url().reveal()).await;
        let words: Vec<String> = sqlx::query_scalar("SELECT word FROM words").fetch_all(&mut client).await.unwrap();
        assert_eq!(words, ["fresh"], "lease {number}");
        let sql = "UPDATE words SET word = 'stale'; BEGIN; INSERT INTO words VALUES ('new'); COMMIT";
        sqlx::raw_sql(sql).execute(&mut client).await.unwrap();
        client.close().await.unwrap();
        let report = lease.give_back().await.unwrap();
        assert_eq!(report.changed(), None, "lease {number} was not made anew");
    }
    pool.close().await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn mysql() {
    databases_are_pristine_all_the_same(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb() {
    databases_are_pristine_all_the_same(Kind::Mariadb).await;
}
