//! What an engine is told when it is made.

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
