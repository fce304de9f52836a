//! One reset after another, of three tables that refer to each other: with the connection that helps to truncate, and without.

use super::super::helper::Helper;
use super::*;

on_both!(with_help, without_help);

async fn with_help(kind: Kind) {
    three_of_thirty(kind, |_| {}).await;
}

/// Nobody is there to help.
async fn without_help(kind: Kind) {
    let nowhere = DatabaseUrl::parse("mysql://nobody@127.0.0.1:1").expect("a URL");
    three_of_thirty(kind, |template| template.helper = Helper::on(&nowhere)).await;
}

async fn three_of_thirty(kind: Kind, change: impl FnOnce(&mut Template)) {
    let tables: Vec<String> = (0..30)
        .map(|index: u32| {
            let parent = index.saturating_sub(1);
            format!(
                "CREATE TABLE t{index} (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100) NOT NULL UNIQUE, parent INT,
                  FOREIGN KEY (parent) REFERENCES t{parent} (id))"
            )
        })
        .collect();
    let schema: Vec<&str> = tables.iter().map(String::as_str).collect();
    let mut fixture = Fixture::new(kind, "again", &schema).await;
    change(&mut fixture.template);
    for _ in 0..25 {
        let inserts = "INSERT INTO t0 (name) VALUES ('x'); INSERT INTO t1 (name) VALUES ('x'); INSERT INTO t2 (name) VALUES ('x')";
        fixture.run(inserts).await.close().await.expect("it closes");
        assert_eq!(outcome(&fixture.reset().await), 3);
    }
    fixture.assert_pristine("25 resets");
    fixture.drop().await;
}
