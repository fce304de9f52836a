//! Keys: of several columns, given or generated, and what is the same key.

use freshdb::OrmEngine;
use freshdb::test::schema::SeaOrmEntities;
use freshdb::test::{Kind, Lease};
use freshdb::upsert::RowOutcome::{Inserted, Unchanged, Updated};
use freshdb::upsert::{Upsert, UpsertError};
use sea_orm::ConnectionTrait;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Alias, ColumnDef, Index, Query, Table};

use crate::harness::{counts, elsewhere, items, note, notes, outcomes, stored_notes};

mod membership {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "memberships")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub team: i32,
        #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(32))")]
        pub person: String,
        pub since: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[freshdb::test(schema = SeaOrmEntities::new().with(membership::Entity))]
async fn a_key_may_have_several_columns(connection: OrmEngine) {
    use membership::{Column, Entity, Model};

    let upsert = |rows: [(i32, &'static str, Option<i64>); 4]| {
        Upsert::into(Entity)
            .key([Column::Team, Column::Person])
            .columns([Column::Team, Column::Person, Column::Since])
            .rows(rows)
    };
    let rows = [(1, "Ann", Some(1)), (1, "Bob", None), (2, "Ann", Some(1)), (2, "Ann", Some(2))];
    let outcome = upsert(rows).execute(&connection).await.expect("an outcome");
    assert_eq!((outcomes(&outcome), counts(&outcome)), (vec![Inserted; 4], [3, 0, 0]));
    let rows = [(1, "Ann", Some(1)), (1, "Bob", Some(9)), (2, "Bob", None), (2, "Ann", None)];
    let outcome = upsert(rows).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Unchanged, Updated, Inserted, Updated]);
    let mut stored = Entity::find().all(&connection).await.expect("rows");
    stored.sort_by_key(|row| (row.team, row.person.clone()));
    let model = |team, person: &str, since| Model { team, person: person.into(), since };
    let expected = [model(1, "Ann", Some(1)), model(1, "Bob", Some(9)), model(2, "Ann", None), model(2, "Bob", None)];
    assert_eq!(stored, expected);
}

#[freshdb::test(schema = items())]
async fn the_key_may_be_the_number_that_the_database_would_generate(connection: OrmEngine) {
    let upsert = |rows: [(i64, &'static str); 2]| {
        Upsert::into("items").key(["id"]).columns(["id", "name"]).returning::<i64>("id").rows(rows)
    };
    let outcome = upsert([(7, "seven"), (10, "ten")]).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Inserted, Inserted]);
    let outcome = upsert([(9, "nine"), (10, "Ten")]).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Inserted, Updated]);
    assert_eq!(outcome.rows().iter().map(|row| row.returned).collect::<Vec<_>>(), [9, 10]);
    assert_eq!(stored_notes(&connection).await, [note("seven", None), note("nine", None), note("Ten", None)]);
}

#[freshdb::test]
async fn the_database_says_which_keys_are_the_same(connection: OrmEngine, lease: Lease) {
    let table = || Alias::new("words");
    let create = Table::create()
        .table(table())
        .col(
            ColumnDef::new("word")
                .string_len(64)
                .not_null()
                .unique_key()
                .extra(elsewhere(&lease).ignoring_case().await),
        )
        .col(ColumnDef::new("number").integer())
        .take();
    connection.execute(&create).await.expect("the table is made");
    let upsert =
        |rows: Vec<(&'static str, i32)>| Upsert::into("words").key(["word"]).columns(["word", "number"]).rows(rows);

    let error = upsert(vec![("b", 0), ("Rust", 1), ("rust", 2)]).execute(&connection).await.expect_err("an error");
    assert!(matches!(error, UpsertError::EqualKeys { row: 1, other: 2 }), "{error:?}");

    let outcome = upsert(vec![("Rust", 1)]).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Inserted]);
    let outcome = upsert(vec![("rust", 1)]).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Unchanged]);
    let outcome = upsert(vec![("RUST", 2)]).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Updated]);

    let error = upsert(vec![("rust", 3), ("b", 0), ("RUST", 4)]).execute(&connection).await.expect_err("an error");
    assert!(matches!(error, UpsertError::EqualKeys { row: 0, other: 2 }), "{error:?}");
    let rows =
        connection.query_all(&Query::select().columns(["word", "number"]).from(table()).take()).await.expect("rows");
    let rows: Vec<(String, i32)> = rows
        .iter()
        .map(|row| (row.try_get_by_index(0).expect("a word"), row.try_get_by_index(1).expect("a number")))
        .collect();
    assert_eq!(rows, [("Rust".to_owned(), 2)], "the row keeps the key it was inserted with");
}

/// PostgreSQL has no such text.
#[freshdb::test(schema = items(), on = [sqlite, mysql, mariadb])]
async fn keys_differ_behind_a_nul(connection: OrmEngine) {
    let rows = [("a\0b", None), ("a\0c", None)];
    let outcome = notes(rows).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Inserted, Inserted]);
    let outcome = notes(rows).execute(&connection).await.expect("an outcome");
    assert_eq!(outcomes(&outcome), [Unchanged, Unchanged]);
}

/// Quotes, a backtick, a space, a dot, marks of parameters, a bracket, an emoji and words of SQL. MySQL and MariaDB
/// take no characters beyond the basic plane in names: <https://dev.mysql.com/doc/refman/9.7/en/identifiers.html>.
#[freshdb::test]
async fn names_may_be_anything(connection: OrmEngine) {
    let names = |name: &'static str| Alias::new(format!("{name} \"' `.?$1[\u{26a1}"));
    let order = Alias::new("order");
    let create = Table::create()
        .table(order.clone())
        .col(ColumnDef::new(names("key")).integer().not_null())
        .col(ColumnDef::new(Alias::new("group")).integer().not_null())
        .col(ColumnDef::new(names("select")).integer())
        .index(Index::create().unique().name("the key").col(names("key")).col(Alias::new("group")))
        .take();
    connection.execute(&create).await.expect("the table is made");
    let upsert = |value: i32| {
        Upsert::into(order.clone())
            .key([names("key"), Alias::new("group")])
            .columns([names("select"), Alias::new("group"), names("key")])
            .returning::<i32>(names("select"))
            .rows([(value, 1, 1), (0, 2, 1)])
    };
    for (value, expected) in [(1, [Inserted, Inserted]), (2, [Updated, Unchanged])] {
        let outcome = upsert(value).execute(&connection).await.expect("an outcome");
        assert_eq!((outcomes(&outcome), outcome.rows()[0].returned), (expected.to_vec(), value));
    }
}

#[freshdb::test]
async fn a_key_that_is_stored_as_another_is_an_error(connection: OrmEngine, lease: Lease) {
    let create = Table::create()
        .table(Alias::new("rounded"))
        .col(ColumnDef::new("key").decimal_len(10, 2).not_null().unique_key())
        .col(ColumnDef::new("note").string_len(8))
        .take();
    connection.execute(&create).await.expect("the table is made");
    let upsert = Upsert::into("rounded").key(["key"]).columns(["key", "note"]);
    match upsert.rows([(1.125_f64, "n")]).execute(&connection).await {
        // SQLite rounds nothing.
        Ok(outcome) => assert_eq!((lease.kind(), outcomes(&outcome)), (Kind::Sqlite, vec![Inserted])),
        Err(error) => assert!(matches!(error, UpsertError::NotFound { row: 0 }), "{error:?}"),
    }
}

/// A cast to a domain cuts off what is longer than the domain's own type:
/// <https://www.postgresql.org/docs/15/datatype-character.html>.
#[freshdb::test(on = [postgres])]
async fn a_key_of_a_domain_is_not_shortened_to_another(connection: OrmEngine) {
    for sql in [
        "CREATE DOMAIN code AS varchar(3)",
        "CREATE DOMAIN written_code AS code CHECK (VALUE <> '')",
        "CREATE TABLE people (code written_code PRIMARY KEY, name text, nickname code)",
        "INSERT INTO people VALUES ('abc', 'Ann', 'A')",
    ] {
        connection.execute_unprepared(sql).await.expect("it is executed");
    }
    let upsert = |row: (&'static str, &'static str, &'static str)| {
        Upsert::into("people").key(["code"]).columns(["code", "name", "nickname"]).rows([row])
    };
    for row in [("abcd", "Bob", "B"), ("abc", "Ann", "Annie")] {
        let error = upsert(row).execute(&connection).await.expect_err("it is too long");
        assert!(matches!(error, UpsertError::Database(_)), "{error:?}");
    }
    for (row, expected) in [(("abc", "Ann", "A"), Unchanged), (("abc", "Ann", "Z"), Updated), (("b", "", ""), Inserted)]
    {
        let outcome = upsert(row).execute(&connection).await.expect("an outcome");
        assert_eq!(outcomes(&outcome), [expected]);
    }
}

/// MySQL and MariaDB have no statement that would say so.
#[freshdb::test(schema = items(), on = [sqlite, postgres])]
async fn a_key_that_is_not_unique_is_refused(connection: OrmEngine) {
    let upsert = Upsert::into("items").key(["note"]).columns(["note", "name"]).rows([("n", "a")]);
    let error = upsert.execute(&connection).await.expect_err("an error");
    assert!(matches!(error, UpsertError::Database(_)), "{error:?}");
}

/// These engines do not say that a key is not unique, but two rows of one key do.
#[freshdb::test(schema = items(), on = [mysql, mariadb])]
async fn two_rows_of_one_key_are_an_error(connection: OrmEngine) {
    notes([("a", Some("n")), ("b", Some("n"))]).execute(&connection).await.expect("an outcome");
    let upsert = Upsert::into("items").key(["note"]).columns(["note", "name"]).rows([("n", "c")]);
    let error = upsert.execute(&connection).await.expect_err("an error");
    assert!(matches!(error, UpsertError::NotUnique { row: 0 }), "{error:?}");
}
