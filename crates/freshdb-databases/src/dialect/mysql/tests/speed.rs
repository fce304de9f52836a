//! What a reset costs: printed, for a shared machine proves no limit.

use std::time::Duration;

use super::*;

on_both!(three_of_thirty);

async fn three_of_thirty(kind: Kind) {
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
    let mut fixture = Fixture::new(kind, "speed", &schema).await;
    let mut resets = Vec::new();
    for _ in 0..25 {
        let inserts = "INSERT INTO t0 (name) VALUES ('x'); INSERT INTO t1 (name) VALUES ('x'); INSERT INTO t2 (name) VALUES ('x')";
        fixture.run(inserts).await.close().await.expect("it closes");
        let reset = fixture.reset().await;
        assert_eq!(outcome(&reset), 3);
        resets.push(reset.steps);
    }
    let total = |steps: &[(&str, Duration)]| steps.iter().map(|(_, took)| *took).sum::<Duration>();
    resets.sort_by_key(|steps| total(steps));
    for (what, steps) in [("best", &resets[0]), ("median", &resets[12])] {
        println!("{kind}, 3 of 30 tables, {what}: {:?}: {steps:?}", total(steps));
    }
    fixture.assert_pristine("25 resets");
    fixture.drop().await;
}
