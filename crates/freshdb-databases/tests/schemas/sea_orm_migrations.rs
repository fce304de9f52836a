//! Migrations of SeaORM's.

use freshdb_databases::schema::{self, Schema, SeaOrmMigrations};
use sea_orm_migration::prelude::*;
use test_support::Engine;

use crate::harness::{apply, fingerprint, refusal, texts};

struct Tags;
struct Rows;
struct Fails;

macro_rules! named {
    ($($migration:ident: $name:literal),*) => {
        $(impl MigrationName for $migration {
            fn name(&self) -> &'static str {
                $name
            }
        })*
    };
}
named!(Tags: "m1_tags", Rows: "m2_rows", Fails: "m3_fails");

#[async_trait::async_trait]
impl MigrationTrait for Tags {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let name = ColumnDef::new("name").string().not_null().take();
        manager.create_table(Table::create().table("tags").col(name).take()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Rows {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.execute(Query::insert().into_table("tags").columns(["name"]).values_panic(["x".into()]).take()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Fails {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("not_there").take()).await
    }
}

macro_rules! migrator {
    ($name:ident: $($migration:ident),*) => {
        struct $name;

        impl MigratorTrait for $name {
            fn migrations() -> Vec<Box<dyn MigrationTrait>> {
                vec![$(Box::new($migration)),*]
            }
        }
    };
}
migrator!(First: Tags);
migrator!(Both: Tags, Rows);
migrator!(Failing: Tags, Rows, Fails);

on_every_engine! {
    [sqlite] async fn what_was_said_of_the_journal_stays(database: &TestDatabase) {
        let schema = schema::sql("PRAGMA journal_mode = WAL").then(SeaOrmMigrations::<Both>::new());
        apply(schema, database).await.expect("the schema");
        assert_eq!(texts(database, "PRAGMA journal_mode").await, ["wal"]);
    }
}

on_every_engine! {
    async fn are_applied_once(database: &TestDatabase) {
        apply(SeaOrmMigrations::<Both>::new(), database).await.expect("the schema");
        apply(SeaOrmMigrations::<Both>::new(), database).await.expect("the schema again");
        assert_eq!(texts(database, "SELECT name FROM tags").await, ["x"]);
        assert_eq!(texts(database, "SELECT version FROM seaql_migrations ORDER BY version").await, ["m1_tags", "m2_rows"]);
    }
}

on_every_engine! {
    async fn the_one_that_fails_is_named(database: &TestDatabase) {
        let (message, _) = refusal(SeaOrmMigrations::<Failing>::new(), database).await;
        let said = message.strip_prefix("the SeaORM migration `m3_fails` fails: Execution Error: error returned from database: ");
        let said = said.unwrap_or_else(|| panic!("{message}"));
        if database.engine == Engine::Postgres {
            assert_eq!(said, "table \"not_there\" does not exist");
        }
    }
}

#[test]
fn a_fingerprint_tells_one_migrator_from_another() {
    let first = fingerprint(&SeaOrmMigrations::<First>::new());
    assert_ne!(first, fingerprint(&SeaOrmMigrations::<Both>::new()));
    assert_eq!(first, fingerprint(&SeaOrmMigrations::<First>::default()));
    let shown: &dyn Schema = &SeaOrmMigrations::<Both>::new();
    assert_eq!(format!("{shown:?}"), r#"SeaOrmMigrations(["m1_tags", "m2_rows"])"#);
}
