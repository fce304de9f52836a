//! The bare handler: an axum router and a plain sqlx pool, running the SQL that tags-api runs. No log, no metrics, no
//! limits, no validation: what a service costs on top of this is its own.

use std::str::FromStr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use sqlx::pool::{Pool, PoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Database, Encode, Executor, FromRow, IntoArguments, MySql, Postgres, Sqlite, Type};
use tokio::net::TcpListener;

use super::request::{Tag, Tags};
use crate::engine::Engine;
use crate::failure::{Failure, OrFail};

/// As many connections as tags-api has.
const CONNECTIONS: u32 = 10;

/// Which database to serve.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's engine
    #[arg(long)]
    engine: Engine,
    /// The database, in which the table exists
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
    /// Do not ask each connection whether it lives before it is used
    #[arg(long)]
    no_ping: bool,
}

/// Serves until it is killed.
pub(crate) async fn serve(args: Args) -> Result<(), Failure> {
    match args.engine {
        Engine::Sqlite => serve_on::<Sqlite>(&args).await,
        Engine::Mysql | Engine::Mariadb => serve_on::<MySql>(&args).await,
        Engine::Postgres => serve_on::<Postgres>(&args).await,
    }
}

/// The statements that tags-api sends, as its option `--echo` shows them.
trait Dialect: Database {
    const LIST: &'static str;
    const BEGIN: &'static str = "BEGIN";
    const UPSERT: &'static str;

    /// Sets what tags-api sets for a database to be the same.
    fn adjust(options: ConnectOptionsOf<Self>) -> ConnectOptionsOf<Self> {
        options
    }
}

type ConnectOptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

impl Dialect for Sqlite {
    const LIST: &'static str =
        r#"SELECT "tags"."tag_id", "tags"."description" FROM "tags" ORDER BY "tags"."tag_id" ASC"#;
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const UPSERT: &'static str = r#"INSERT INTO "tags" ("tag_id", "description") VALUES (?, ?), (?, ?) ON CONFLICT ("tag_id") DO UPDATE SET "description" = "excluded"."description""#;

    fn adjust(options: SqliteConnectOptions) -> SqliteConnectOptions {
        options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full)
    }
}

impl Dialect for MySql {
    const LIST: &'static str = "SELECT `tags`.`tag_id`, `tags`.`description` FROM `tags` ORDER BY `tags`.`tag_id` ASC";
    const UPSERT: &'static str = "INSERT INTO `tags` (`tag_id`, `description`) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE `description` = VALUES(`description`)";
}

impl Dialect for Postgres {
    const LIST: &'static str =
        r#"SELECT "tags"."tag_id", "tags"."description" FROM "tags" ORDER BY "tags"."tag_id" ASC"#;
    const UPSERT: &'static str = r#"INSERT INTO "tags" ("tag_id", "description") VALUES ($1, $2), ($3, $4) ON CONFLICT ("tag_id") DO UPDATE SET "description" = "excluded"."description""#;
}

async fn serve_on<DB>(args: &Args) -> Result<(), Failure>
where
    DB: Dialect,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    String: Type<DB> + for<'q> Encode<'q, DB>,
    Option<String>: for<'q> Encode<'q, DB>,
    (String, Option<String>): for<'r> FromRow<'r, DB::Row>,
{
    let options =
        ConnectOptionsOf::<DB>::from_str(&args.database_url).or_fail(|| "cannot read the database's URL".into())?;
    let pool = PoolOptions::<DB>::new().max_connections(CONNECTIONS).test_before_acquire(!args.no_ping);
    let pool = pool.connect_with(DB::adjust(options)).await.or_fail(|| "cannot open the database".into())?;
    let router =
        Router::new().route("/api/tag", get(list::<DB>)).route("/api/tags", post(upsert::<DB>)).with_state(pool);

    let listener = TcpListener::bind("127.0.0.1:0").await.or_fail(|| "cannot listen".into())?;
    let address = listener.local_addr().or_fail(|| "cannot read the address listened on".into())?;
    eprintln!("bare\n  listening  http://{address}");
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("a connection keeps its delay: {error}");
        }
    });
    axum::serve(listener, router).await.or_fail(|| "cannot serve".into())
}

async fn list<DB>(State(pool): State<Pool<DB>>) -> Result<Json<Tags>, StatusCode>
where
    DB: Dialect,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    (String, Option<String>): for<'r> FromRow<'r, DB::Row>,
{
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(DB::LIST).fetch_all(&pool).await.map_err(refused)?;
    let tags = rows.into_iter().map(|(tag_id, description)| Tag { tag_id, description }).collect();
    Ok(Json(Tags { tags }))
}

async fn upsert<DB>(
    State(pool): State<Pool<DB>>,
    Json(body): Json<Tags<[Tag; 2]>>,
) -> Result<(StatusCode, Json<Tags<[Tag; 2]>>), StatusCode>
where
    DB: Dialect,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    String: Type<DB> + for<'q> Encode<'q, DB>,
    Option<String>: for<'q> Encode<'q, DB>,
{
    let mut transaction = pool.begin_with(DB::BEGIN).await.map_err(refused)?;
    let mut upsert = sqlx::query::<DB>(DB::UPSERT);
    for tag in &body.tags {
        upsert = upsert.bind(tag.tag_id.clone()).bind(tag.description.clone());
    }
    upsert.execute(&mut *transaction).await.map_err(refused)?;
    transaction.commit().await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(body)))
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes the error by value")]
fn refused(error: sqlx::Error) -> StatusCode {
    eprintln!("the database refused a statement: {error}");
    StatusCode::INTERNAL_SERVER_ERROR
}
