//! A test that fails for what it leaves open, and the same one put right.

use std::sync::OnceLock;

use freshdb::PgEngine;
use freshdb::test::schema::SqlDirectory;
use tokio::sync::mpsc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

static LINES: OnceLock<mpsc::Sender<String>> = OnceLock::new();

/// Writes each line that it is sent, and commits when there will be no more.
async fn audit(engine: PgEngine, mut lines: mpsc::Receiver<String>) -> Result<(), Failure> {
    let mut tx = engine.begin().await?;
    while let Some(line) = lines.recv().await {
        sqlx::query("INSERT INTO audit VALUES ($1)").bind(line).execute(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[ignore = "fails, as docs/test.md shows"]
#[freshdb::test(schema = SqlDirectory::new("migrations"), on = [postgres])]
async fn what_is_done_is_noted(engine: PgEngine) -> Result<(), Failure> {
    let (sender, lines) = mpsc::channel(8);
    let sender = LINES.get_or_init(|| sender);
    tokio::spawn(audit(engine, lines));
    sender.send("tag `Rust` was stored".to_owned()).await?;
    Ok(())
}

#[freshdb::test(schema = SqlDirectory::new("migrations"), on = [postgres])]
async fn what_is_done_is_noted_in_time(engine: PgEngine) -> Result<(), Failure> {
    let (sender, lines) = mpsc::channel(8);
    let audit = tokio::spawn(audit(engine.clone(), lines));
    sender.send("tag `Rust` was stored".to_owned()).await?;

    drop(sender); // there will be no more lines
    audit.await??; // and so the audit ends

    let lines: Vec<String> = sqlx::query_scalar("SELECT line FROM audit").fetch_all(&engine).await?;
    assert_eq!(lines, ["tag `Rust` was stored"]);
    Ok(())
}
