//! One reset after another: of three tables that refer to each other, with the connection that helps to truncate, and without; and after one
//! that was broken off.

use std::time::{Duration, Instant};

use super::super::copy::help_lock;
use super::super::helper::Helper;
use super::*;

const DEADLINE: Duration = Duration::from_mins(1);

on_both!(with_help, without_help, what_is_still_being_done_to_a_database_is_over_before_it_is_put_back);

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

/// A server goes on with what a process has sent it that is gone.
async fn what_is_still_being_done_to_a_database_is_over_before_it_is_put_back(kind: Kind) {
    let mut fixture = Fixture::new(kind, "broken_off", &["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (server, name) = (server(kind), fixture.slot.name.clone());

    let number = break_off(&mut fixture.admin, &mut fixture.slot.connection, &name).await;
    // The connection ends with it, and nobody says goodbye.
    let next = Mysql::open(&server, &fixture.template, &name, "").await.expect("it can be opened");
    drop(std::mem::replace(&mut fixture.slot, next));
    assert_over(&mut fixture, number).await;

    let mut helper = admin(kind).await;
    execute(&mut helper, &format!("DO GET_LOCK('{}', 0)", help_lock(&name))).await.expect("it is free");
    let number = break_off(&mut fixture.admin, &mut helper, &name).await;
    drop(helper);
    let next = Mysql::open(&server, &fixture.template, &name, "").await.expect("it can be opened");
    Mysql::close(std::mem::replace(&mut fixture.slot, next)).await;
    assert_over(&mut fixture, number).await;
    fixture.drop().await;
}

/// Sends what takes long, and does not wait for the end of it.
async fn break_off(admin: &mut MySqlConnection, connection: &mut MySqlConnection, name: &str) -> String {
    let number = rows(connection, "SELECT CONNECTION_ID()").await.expect("a number");
    let number = number[0][0].clone().expect("a number");
    let is_at_work = format!("{} AND info LIKE 'DO SLEEP%'", is_there(&number));
    let sql = format!("DO SLEEP(4); TRUNCATE TABLE {name}.t");
    tokio::select! {
        answer = execute(connection, &sql) => panic!("not broken off: {answer:?}"),
        () = until(admin, &is_at_work, "1") => number,
    }
}

async fn assert_over(fixture: &mut Fixture, number: String) {
    outcome(&fixture.reset().await);
    fixture.run("INSERT INTO t VALUES (1)").await.close().await.expect("it closes");
    until(&mut fixture.admin, &is_there(&number), "0").await;
    let count = format!("SELECT COUNT(*) FROM {}.t", fixture.slot.name);
    assert_eq!(fixture.rows(&count).await, [[Some("1".to_owned())]], "{}", fixture.kind);
    outcome(&fixture.reset().await);
}

fn is_there(number: &str) -> String {
    format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number}")
}

async fn until(admin: &mut MySqlConnection, question: &str, answer: &str) {
    let deadline = Instant::now() + DEADLINE;
    while rows(admin, question).await.expect("the server answers") != [[Some(answer.to_owned())]] {
        assert!(Instant::now() < deadline, "`{question}` is not {answer}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
