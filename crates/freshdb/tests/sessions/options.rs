//! What an engine is told when it is made.

use std::time::{Duration, Instant};

use freshdb::EngineOptions;

use crate::harness::{CLOSE, number, patient};

with_every_driver! {
    async fn statements_for_new_connections_may_end_as_they_like(database: &TestDatabase, open: Open) {
        let options = patient()
            .on_connect("CREATE TEMPORARY TABLE made (n INTEGER);\n")
            .on_connect("")
            .on_connect("INSERT INTO made VALUES (1) -- with a remark")
            .on_connect("INSERT INTO made VALUES (2) -- and another");
        let engine = open(database.url(), options);
        assert_eq!(number(&engine, "SELECT COUNT(*) FROM made").await.expect("all are executed"), 2);
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}

with_every_driver! {
    [sqlite]
    /// It waits for other writers first, and then for a connection.
    async fn a_transaction_waits_no_longer_than_a_session(database: &TestDatabase, open: Open) {
        let limit = Duration::from_secs(2);
        let engine = open(database.url(), EngineOptions::new().max_connections(2).acquire_timeout(limit));
        let tx = engine.begin().await.expect("a transaction");
        let reader = engine.session().await.expect("a session");
        let waits = async {
            let started = Instant::now();
            let begun = engine.begin().await;
            (begun.map(drop), started.elapsed())
        };
        // Its turn for a connection comes before that of the next transaction.
        let takes = async { engine.session().await.expect("a session") };
        let ends = async {
            tokio::time::sleep(limit * 7 / 10).await;
            drop(tx);
        };
        let ((begun, waited), taken, ()) = tokio::join!(waits, takes, ends);
        assert!(begun.expect_err("every connection is in use").is_exhausted());
        assert!(waited < limit * 3 / 2, "{waited:?}");
        drop((taken, reader));
        engine.close(CLOSE).await.expect("nothing leaks");
    }
}
