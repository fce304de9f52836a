//! What is a change.

use freshdb::OrmEngine;
use freshdb::test::Lease;
use freshdb::upsert::RowOutcome::{Inserted, Unchanged, Updated};
use freshdb::upsert::Upsert;
use sea_orm::sea_query::{Alias, ColumnDef, Table};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use serde_json::json;

use crate::harness::{counts, elsewhere, outcomes};

/// Makes a table `valued` with a key and one column of this definition.
async fn valued(connection: &OrmEngine, column: &mut ColumnDef) {
    let create = Table::create()
        .table(Alias::new("valued"))
        .col(ColumnDef::new("key").integer().not_null().primary_key())
        .col(column.take())
        .take();
    connection.execute(&create).await.expect("the table is made");
}

/// Upserts one value after another into one row, and each once more.
async fn each_is_a_change(connection: &OrmEngine, values: &[Value]) {
    let upsert = async |value: &Value| {
        let upsert = Upsert::into("valued").key(["key"]).columns(["key", "value"]).rows([(1, value.clone())]);
        outcomes(&upsert.execute(connection).await.expect("an outcome"))
    };
    for (number, value) in values.iter().enumerate() {
        let expected = if number == 0 { Inserted } else { Updated };
        assert_eq!(upsert(value).await, [expected], "{value:?}");
        assert_eq!(upsert(value).await, [Unchanged], "{value:?} again");
    }
}

#[freshdb::test]
async fn texts_change_in_case_accents_and_spaces_under_any_collation(connection: OrmEngine, lease: Lease) {
    let ignoring_case = elsewhere(&lease).ignoring_case().await;
    valued(&connection, ColumnDef::new("value").string_len(64).extra(ignoring_case)).await;
    let texts = ["a", "A", "\u{e1}", "a ", "", " ", "ss", "\u{df}", "e\u{301}", "\u{e9}", "\u{1f980}", "NULL"];
    let mut values: Vec<Value> = texts.map(Value::from).to_vec();
    values.extend([Value::String(None), "".into(), Value::String(None), "NULL".into()]);
    each_is_a_change(&connection, &values).await;
}

/// PostgreSQL has no such text.
#[freshdb::test(on = [sqlite, mysql, mariadb])]
async fn texts_change_behind_a_nul(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").string_len(64)).await;
    each_is_a_change(&connection, &["a", "a\0", "a\0b", "a\0c", "\0", ""].map(Value::from)).await;
}

/// PostgreSQL compares no text with them, and takes none for them, unless it is told to.
#[freshdb::test(on = [postgres])]
async fn values_of_an_enumeration_are_inserted_and_change(connection: OrmEngine) {
    for sql in [
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TABLE people (mood mood PRIMARY KEY, first mood, last mood)",
    ] {
        connection.execute_unprepared(sql).await.expect("it is executed");
    }
    let upsert = async |last: &'static str| {
        let upsert = Upsert::into("people").key(["mood"]).columns(["first", "last", "mood"]).update(["last"]);
        let outcome = upsert.rows([("sad", Some(last), "glad"), ("glad", None, "sad")]).execute(&connection).await;
        outcomes(&outcome.expect("an outcome"))
    };
    assert_eq!(upsert("sad").await, [Inserted, Inserted]);
    assert_eq!(upsert("sad").await, [Unchanged, Unchanged]);
    assert_eq!(upsert("glad").await, [Updated, Unchanged]);
    let stored = "SELECT string_agg(concat_ws(' ', mood, first, last), ', ' ORDER BY mood) FROM people";
    let stored = Statement::from_string(DbBackend::Postgres, stored);
    let stored = connection.query_one_raw(stored).await.expect("an answer").expect("a row");
    assert_eq!(stored.try_get_by_index::<String>(0).expect("a text"), "sad glad, glad sad glad");
}

#[freshdb::test]
async fn numbers_change_to_null_and_back(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").big_integer()).await;
    let null = || Value::BigInt(None);
    each_is_a_change(&connection, &[null(), 0_i64.into(), null(), i64::MIN.into(), i64::MAX.into(), (-1_i64).into()])
        .await;
}

#[freshdb::test(on = [mysql, mariadb])]
async fn numbers_without_a_sign_change(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").big_unsigned()).await;
    let beyond = i64::MAX.unsigned_abs() + 1;
    each_is_a_change(&connection, &[u64::MAX.into(), beyond.into(), 0_u64.into(), Value::BigUnsigned(None)]).await;
}

/// SeaORM's statements would panic.
#[freshdb::test(on = [postgres, sqlite])]
async fn a_number_that_the_database_does_not_have_is_an_error(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").big_unsigned()).await;
    let upsert = async |rows: [(i32, u64); 3]| {
        let upsert = Upsert::into("valued").key(["key"]).columns(["key", "value"]).rows(rows);
        upsert.execute(&connection).await
    };
    let (largest, beyond) = (i64::MAX.unsigned_abs(), i64::MAX.unsigned_abs() + 1);
    let error = upsert([(1, 1), (2, 2), (2, beyond)]).await.expect_err("there is no such number");
    let said = "row 2 has a number in the column `value` that is larger than 9223372036854775807, the largest of this database";
    assert_eq!(error.to_string(), said);
    let outcome = upsert([(1, 1), (2, largest), (3, 0)]).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Inserted; 3], "nothing was stored before");
    // The last row of a key has another.
    let outcome = upsert([(1, 1), (2, beyond), (2, largest)]).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Unchanged; 3]);
}

/// In an array, too.
#[freshdb::test(on = [postgres])]
async fn a_number_in_an_array_that_the_database_does_not_have_is_an_error(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").array(sea_orm::sea_query::ColumnType::BigInteger)).await;
    let upsert =
        |value: Vec<u64>| Upsert::into("valued").key(["key"]).columns(["key", "value"]).rows([(1, Value::from(value))]);
    let error = upsert(vec![1, u64::MAX]).execute(&connection).await.expect_err("there is no such number");
    assert!(error.to_string().starts_with("row 0 has a number in the column `value`"), "{error}");
    let outcome = upsert(vec![1, 2]).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Inserted]);
}

#[freshdb::test]
async fn bytes_change(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").blob()).await;
    let bytes: [&[u8]; 6] = [b"", b"\0", b"a", b"A", b"\xff\xfe'\\\"", b"\xc3\x28"];
    let mut values: Vec<Value> = bytes.map(|bytes| bytes.to_vec().into()).to_vec();
    values.push(Value::Bytes(None));
    each_is_a_change(&connection, &values).await;
}

#[freshdb::test]
async fn fractions_change(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").double()).await;
    let next = f64::from_bits(0.1_f64.to_bits() + 1);
    each_is_a_change(&connection, &[0.1.into(), next.into(), 0.0.into(), 1e300.into(), Value::Double(None)]).await;
}

#[freshdb::test]
async fn booleans_change(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").boolean()).await;
    each_is_a_change(&connection, &[true.into(), false.into(), Value::Bool(None), true.into()]).await;
}

/// SQLite stores what it is given. The others round, and it is what they store that counts.
#[freshdb::test(on = [mysql, mariadb, postgres])]
async fn what_is_stored_alike_is_no_change(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").decimal_len(10, 2)).await;
    let upsert = async |value: f64| {
        let upsert = Upsert::into("valued").key(["key"]).columns(["key", "value"]).rows([(1, value)]);
        outcomes(&upsert.execute(&connection).await.expect("an outcome"))
    };
    assert_eq!(upsert(1.5).await, [Inserted]);
    assert_eq!(upsert(1.5).await, [Unchanged]);
    assert_eq!(upsert(1.501).await, [Unchanged]);
    assert_eq!(upsert(1.51).await, [Updated]);
}

fn documents() -> Vec<Value> {
    let json = [
        json!({ "b": 1, "a": [1, 2, "\u{1f980}"] }),
        json!({ "b": 1, "a": [2, 1] }),
        json!("x"),
        json!(null),
        json!({}),
    ];
    json.map(Value::from).into_iter().chain([Value::Json(None)]).collect()
}

/// A type without equality on PostgreSQL, a text on MariaDB, and one that the server writes in its own way on MySQL.
#[freshdb::test]
async fn json_changes(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").json()).await;
    each_is_a_change(&connection, &documents()).await;
}

/// PostgreSQL's other type for it.
#[freshdb::test]
async fn binary_json_changes(connection: OrmEngine) {
    valued(&connection, ColumnDef::new("value").json_binary()).await;
    each_is_a_change(&connection, &documents()).await;
}

/// By its default, MariaDB takes 16 MiB at once.
#[freshdb::test]
async fn values_may_be_large(connection: OrmEngine) {
    const MEGABYTE: usize = 1_000_000;
    // MySQL's and MariaDB's TEXT ends at 64 KiB.
    let text = if connection.backend() == DbBackend::MySql { "LONGTEXT" } else { "TEXT" };
    valued(&connection, ColumnDef::new("value").custom(Alias::new(text))).await;
    let upsert = async |rows: usize, length: usize, letter: &str| {
        let rows = (0..).take(rows).map(|key| (key, letter.repeat(length)));
        let upsert = Upsert::into("valued").key(["key"]).columns(["key", "value"]).rows(rows);
        counts(&upsert.execute(&connection).await.expect("an outcome"))
    };
    // Many of them, and one alone.
    assert_eq!(upsert(20, MEGABYTE, "a").await, [20, 0, 0]);
    assert_eq!(upsert(20, MEGABYTE, "b").await, [0, 20, 0]);
    assert_eq!(upsert(1, 6 * MEGABYTE, "c").await, [0, 1, 0]);
}
