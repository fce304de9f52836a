//! SeaORM's entities.

use freshdb_databases::schema::{self, Schema, SeaOrmEntities};
use test_support::Engine;

use crate::harness::{apply, fingerprint, refusal, texts};

/// An entity: its table, its columns, and those that lead to others.
macro_rules! entity {
    ($name:ident, $table:literal, { $($columns:tt)* }, { $($relations:tt)* }) => {
        #[allow(unreachable_pub, reason = "SeaORM's macros want what is public")]
        mod $name {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                #[sea_orm(primary_key)]
                pub id: i32,
                $($columns)*
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {
                $($relations)*
            }

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

#[allow(unreachable_pub, reason = "SeaORM's macros want what is public")]
mod mood {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
    #[sea_orm(rs_type = "String", db_type = "Enum", enum_name = "mood")]
    pub enum Mood {
        #[sea_orm(string_value = "glad")]
        Glad,
        #[sea_orm(string_value = "sad")]
        Sad,
    }
}

entity!(author, "author", {
    #[sea_orm(unique)]
    pub name: String,
    pub mood: super::mood::Mood,
    pub friend_id: Option<i32>,
}, {
    #[sea_orm(belongs_to = "super::author::Entity", from = "Column::FriendId", to = "super::author::Column::Id")]
    Friend,
});
entity!(book, "select", {
    pub author_id: i32,
    #[sea_orm(indexed)]
    pub year: i32,
    pub mood: super::mood::Mood,
}, {
    #[sea_orm(belongs_to = "super::author::Entity", from = "Column::AuthorId", to = "super::author::Column::Id")]
    Author,
});
// SQLite and MySQL have no such column.
entity!(host, "host", {
    #[sea_orm(column_type = "Inet")]
    pub address: String,
    #[sea_orm(column_type = "Interval(None, None)")]
    pub lease: String,
}, {});
// PostgreSQL and SQLite have none.
entity!(vintage, "vintage", {
    #[sea_orm(column_type = "Year")]
    pub year: i16,
}, {});
entity!(hen, "hen", { pub egg_id: i32, }, {
    #[sea_orm(belongs_to = "super::egg::Entity", from = "Column::EggId", to = "super::egg::Column::Id")]
    Egg,
});
entity!(egg, "egg", { pub hen_id: i32, }, {
    #[sea_orm(belongs_to = "super::hen::Entity", from = "Column::HenId", to = "super::hen::Column::Id")]
    Hen,
});

on_every_engine! {
    async fn are_made_in_the_order_of_their_keys(database: &TestDatabase) {
        // The one with the key comes first, and one comes twice.
        let entities = SeaOrmEntities::new().with(book::Entity).with(author::Entity).with(book::Entity);
        let quote = if matches!(database.engine, Engine::Mysql | Engine::Mariadb) { '`' } else { '"' };
        let rows = format!(
            "INSERT INTO author (name, mood) VALUES ('x', 'glad'); \
             INSERT INTO {quote}select{quote} (author_id, year, mood) VALUES (1, 2000, 'sad')"
        );
        apply(entities.then(schema::sql(rows)), database).await.expect("the schema");
        assert_eq!(texts(database, "SELECT name FROM author").await, ["x"]);

        let twice = schema::sql("INSERT INTO author (name, mood) VALUES ('x', 'sad')");
        assert!(apply(twice, database).await.is_err(), "its name is unique");
        // SQLite checks keys for those alone who ask for it.
        let checked = if database.engine == Engine::Sqlite { "PRAGMA foreign_keys = ON; " } else { "" };
        let nobody = format!("{checked}INSERT INTO {quote}select{quote} (author_id, year, mood) VALUES (9, 2000, 'sad')");
        let nobody = schema::sql(nobody);
        assert!(apply(nobody, database).await.is_err(), "its author must be there");
        let indexes = match database.engine {
            Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE '%year%'",
            Engine::Postgres => "SELECT indexname::text FROM pg_indexes WHERE indexname LIKE '%year%'",
            Engine::Mysql | Engine::Mariadb => {
                "SELECT CAST(index_name AS CHAR) FROM information_schema.statistics \
                 WHERE table_schema = DATABASE() AND index_name LIKE '%year%'"
            }
        };
        assert_eq!(texts(database, indexes).await, ["idx-select-year"]);

        let (message, _) = refusal(SeaOrmEntities::new().with(author::Entity), database).await;
        let expected = if database.engine == Engine::Postgres { "an enum of the entity of" } else { "the entity of" };
        assert!(message.starts_with(&format!("{expected} `author` cannot be made: ")), "{message}");
    }
}

on_every_engine! {
    async fn what_cannot_be_ordered_is_refused(database: &TestDatabase) {
        let (message, hint) = refusal(SeaOrmEntities::new().with(author::Entity).with(hen::Entity).with(egg::Entity), database).await;
        assert_eq!(message, "the entities refer to each other in a circle: `hen` → `egg` → `hen`");
        assert!(hint.is_some());
        let (message, hint) = refusal(SeaOrmEntities::new().with(book::Entity), database).await;
        assert_eq!(message, "the entity of `select` refers to `author`, which is not among the entities");
        assert!(hint.is_some());
    }
}

on_every_engine! {
    async fn one_may_be_of_an_engine_alone(database: &TestDatabase) {
        let entities = match database.engine {
            Engine::Postgres => SeaOrmEntities::new().with(host::Entity),
            Engine::Mysql | Engine::Mariadb => SeaOrmEntities::new().with(vintage::Entity),
            Engine::Sqlite => SeaOrmEntities::new().with(author::Entity),
        };
        fingerprint(&entities);
        assert!(format!("{entities:?}").starts_with("SeaOrmEntities([\""));
        apply(entities, database).await.expect("the schema");
    }
}

#[test]
fn a_fingerprint_tells_one_list_from_another() {
    let authors = fingerprint(&SeaOrmEntities::new().with(author::Entity));
    let both = fingerprint(&SeaOrmEntities::new().with(author::Entity).with(book::Entity));
    assert_ne!(authors, both);
    // In either order they are made the same way.
    assert_eq!(fingerprint(&SeaOrmEntities::new().with(book::Entity).with(author::Entity)), both);
}
