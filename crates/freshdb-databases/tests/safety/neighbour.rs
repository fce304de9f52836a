//! Databases of somebody else's on the same server, one of them the one that the URL names: whatever freshdb does, they stay as they are.

use std::panic::AssertUnwindSafe;

use freshdb_databases::{DatabaseUrl, Garbage, Pool, Server, schema};
use futures_util::FutureExt;
use test_support::{Client, Engine, TestDatabase, on_every_engine};

use crate::clean;
use crate::dump::{Dump, Tool, difference};

const SCHEMA: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
     CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id));
     CREATE TABLE words (word VARCHAR(50) PRIMARY KEY);
     INSERT INTO words VALUES ('fresh');";

on_every_engine! {
    [mysql, mariadb, postgres]
    async fn a_neighbour_stays_as_it_is(database: &TestDatabase) {
        let prefix = prefix(database).await;
        // Such names as freshdb's own next ones; and one that is an attack wherever it is not quoted.
        let names = [
            format!("freshdb_t_{prefix}_neighbour1"),
            format!("freshdb_s_{prefix}_neighbour1"),
            format!("freshdb_s_{prefix}_n'\"`;-- ü"),
        ];
        for name in &names {
            database.execute(&format!("CREATE DATABASE {}", quoted(database.engine, name))).await;
        }
        let verdict = AssertUnwindSafe(all_stay(database, &names)).catch_unwind().await;
        for name in &names {
            database.execute(&format!("DROP DATABASE {}", quoted(database.engine, name))).await;
        }
        if let Err(panic) = verdict {
            std::panic::resume_unwind(panic);
        }
    }
}

async fn all_stay(database: &TestDatabase, names: &[String]) {
    let here = DatabaseUrl::parse(database.url()).unwrap();
    let urls: Vec<DatabaseUrl> = names.iter().map(|name| here.with_database(name)).chain([here.clone()]).collect();
    let mut sessions = Vec::new();
    for url in &urls {
        let mut client = Client::connect(&url.reveal()).await;
        furnish(&mut client, database.engine).await;
        sessions.push(client);
    }
    let before = dumps(database.engine, &urls).await;
    assert!(before.iter().all(|dump| dump.text.contains("of a neighbour")), "the dumps hold the rows");

    // The URL names the database with the worst name, which has tables of its own, some named like the schema's.
    life(database, &Server::existing(urls[2].clone())).await;

    for (index, after) in dumps(database.engine, &urls).await.iter().enumerate() {
        assert!(before[index] == *after, "{}:\n{}", urls[index], difference(&before[index], after));
    }
    for mut client in sessions {
        assert_eq!(client.number("SELECT COUNT(*) FROM words").await, 1, "nobody ended its session");
        client.close().await;
    }
}

/// All that a pool does.
async fn life(database: &TestDatabase, server: &Server) {
    let open = |sql: &str, rebuild| {
        Pool::builder(server.clone(), schema::sql(sql)).checkout(database.url()).rebuild(rebuild).limit(4).open()
    };
    let name = &quoted(database.engine, "a'\"`;DROP TABLE words;-- ü");
    let hostile = format!("{SCHEMA} CREATE TABLE {name} ({name} INTEGER PRIMARY KEY); INSERT INTO {name} VALUES (1);");
    for (sql, rebuild) in [(SCHEMA, false), (SCHEMA, true), (hostile.as_str(), false)] {
        let pool = open(sql, rebuild).await.unwrap();
        let dirt = [
            "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); DELETE FROM words",
            "TRUNCATE TABLE words",
            "ALTER TABLE child ADD COLUMN more INTEGER",
            "DROP TABLE child; CREATE TABLE other (id INTEGER)",
            "BEGIN; DELETE FROM words",
        ];
        for dirt in dirt {
            let lease = pool.lease().await.unwrap();
            let mut client = Client::connect(&lease.url().reveal()).await;
            assert_eq!(client.number("SELECT COUNT(*) FROM words").await, 1);
            client.execute(dirt).await;
            if sql == hostile {
                client.execute(&format!("DELETE FROM {name}")).await;
            }
            // It is ended by whoever puts the database back.
            lease.give_back().await.unwrap();
        }
        assert!(pool.lease().await.unwrap().keep("a'\"`;--").await.unwrap().is_kept());
        let collected = Garbage::everything().checkout(database.url()).collect(server).await.unwrap();
        assert!(collected.failed.is_empty(), "{collected:?}");
        pool.close().await.unwrap();
    }
    open("CREATE TABLE words (id INTEGER); CREATE TABLE words (id INTEGER)", false).await.unwrap_err();
    let collected = Garbage::everything().checkout(database.url()).collect(server).await.unwrap();
    assert!(collected.failed.is_empty() && !collected.dropped.is_empty(), "{collected:?}");
    clean(database).await;
}

/// What this test's databases are called, between the role and what is drawn by chance.
async fn prefix(database: &TestDatabase) -> String {
    let builder = Pool::builder(crate::server(database), schema::sql(SCHEMA)).checkout(database.url());
    let pool = builder.open().await.unwrap();
    let lease = pool.lease().await.unwrap();
    let parts: Vec<&str> = lease.name().split('_').collect();
    let prefix = format!("{}_{}", parts[2], parts[3]);
    lease.give_back().await.unwrap();
    pool.close().await.unwrap();
    clean(database).await;
    prefix
}

/// Tables with rows, a counter, a view, a routine and a trigger.
async fn furnish(client: &mut Client, engine: Engine) {
    client
        .execute("CREATE TABLE words (word VARCHAR(50) PRIMARY KEY); INSERT INTO words VALUES ('of a neighbour')")
        .await;
    client.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (7)").await;
    client.execute("CREATE VIEW seen AS SELECT word FROM words").await;
    let statements: &[&str] = match engine {
        Engine::Postgres => &[
            "CREATE TABLE counted (id SERIAL PRIMARY KEY, word TEXT); INSERT INTO counted (word) VALUES ('a'), ('b')",
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.word = NEW.word || '!'; RETURN NEW; END $$",
            "CREATE TRIGGER noted BEFORE INSERT ON counted FOR EACH ROW EXECUTE FUNCTION noted()",
        ],
        _ => &[
            "CREATE TABLE counted (id INTEGER AUTO_INCREMENT PRIMARY KEY, word VARCHAR(9)); INSERT INTO counted (word) VALUES ('a'), ('b')",
            "CREATE PROCEDURE noted() SELECT 1",
            "CREATE TRIGGER noted BEFORE INSERT ON counted FOR EACH ROW SET NEW.word = CONCAT(NEW.word, '!')",
        ],
    };
    for statement in statements {
        client.execute(statement).await;
    }
}

async fn dumps(engine: Engine, urls: &[DatabaseUrl]) -> Vec<Dump> {
    let tool = Tool::of(engine);
    let mut dumps = Vec::new();
    for url in urls {
        dumps.push(tool.dump(url, &url.database().unwrap()).await.unwrap());
    }
    dumps
}

fn quoted(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        _ => format!("`{}`", name.replace('`', "``")),
    }
}
