//! A PostgreSQL that vacuums by itself while freshdb is at work. Private servers have that turned off, and others look once a minute.

use std::time::{Duration, Instant};

use freshdb_databases::{DatabaseUrl, Kind, Pool, Server, schema};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::harness::Place;

/// A table's settings: to vacuum it takes hours, and begins as soon as there is something to do.
const SLOWLY: &str = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 0, \
    autovacuum_vacuum_scale_factor = 0";

/// Who may not put rows back has each database replaced. To end a vacuum in it by force is a superuser's alone.
mod who_is_no_superuser_drops_what_it_is_in {
    #[tokio::test]
    async fn postgres() {
        super::drops_what_a_vacuum_is_in().await;
    }
}

async fn drops_what_a_vacuum_is_in() {
    let place = Place::new();
    let server = vacuuming_server(&place).await;
    let mut admin = connect(server.url()).await;
    execute(&mut admin, "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'secret'").await;
    let mut maker = url::Url::parse(&server.url().reveal()).unwrap();
    maker.set_username("maker").unwrap();
    maker.set_password(Some("secret")).unwrap();
    let maker = DatabaseUrl::parse(maker.as_str()).unwrap();
    let tables = schema::sql("CREATE TABLE words (word VARCHAR(50) PRIMARY KEY); INSERT INTO words VALUES ('fresh')");
    let pool = Pool::builder(Server::existing(maker), tables).limit(1).open().await.unwrap();

    let lease = pool.lease().await.unwrap();
    let mut client = connect(lease.url()).await;
    let rows =
        "INSERT INTO old SELECT generate_series(1, 200000); UPDATE old SET x = 0; UPDATE words SET word = 'stale'";
    execute(&mut client, &format!("CREATE TABLE old (x int) WITH ({SLOWLY}); {rows}")).await;
    client.close().await.unwrap();
    let name = lease.url().database().unwrap();
    let vacuums = format!("datname = '{name}' AND backend_type = 'autovacuum worker' AND query LIKE '%old'");
    eventually(&mut admin, &format!("SELECT count(*) = 1 FROM pg_stat_activity WHERE {vacuums}")).await;

    lease.give_back().await.unwrap();
    eventually(&mut admin, &format!("SELECT count(*) = 0 FROM pg_database WHERE datname = '{name}'")).await;
    let lease = pool.lease().await.unwrap();
    let mut client = connect(lease.url()).await;
    assert_eq!(value::<String>(&mut client, "SELECT word FROM words").await, "fresh");
    client.close().await.unwrap();
    lease.give_back().await.unwrap();
    pool.close().await.unwrap();
    admin.close().await.unwrap();
    server.stop().await.unwrap();
}

/// A private server that looks each second for what is to be vacuumed. The last of two settings decides.
async fn vacuuming_server(place: &Place) -> Server {
    // A server that runs tells where its programs are.
    let usual = Server::of(Kind::Postgres, &place.config()).await.unwrap();
    let program = std::fs::read_link(format!("/proc/{}/exe", usual.process().unwrap())).unwrap();
    usual.stop().await.unwrap();
    let directory = program.parent().unwrap().display().to_string();
    place.program("initdb", &format!(r#"exec '{directory}/initdb' "$@""#));
    let settings = "-c autovacuum=on -c autovacuum_naptime=1s";
    let bin = place.program("postgres", &format!(r#"exec '{directory}/postgres' "$@" {settings}"#));
    // It is another program, and its data are made anew.
    Server::of(Kind::Postgres, &place.cold_config().with_program_dirs([bin])).await.unwrap()
}

async fn connect(url: &DatabaseUrl) -> PgConnection {
    url.reveal().parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

async fn value<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap()
}

async fn eventually(connection: &mut PgConnection, sql: &str) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !value::<bool>(connection, sql).await {
        assert!(Instant::now() < deadline, "{sql}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
