//! SeaORM's entities: `create_all`.

use std::fmt;

use sea_orm::sea_query::extension::postgres::TypeCreateStatement;
use sea_orm::sea_query::{
    ForeignKeyCreateStatement, IndexCreateStatement, IntoIden, TableCreateStatement, TableName, TableRef,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, Statement};

use super::connection;
use crate::schema::{BoxFuture, Fingerprint, Schema, SchemaError, Target};
use crate::{Error, ErrorKind};

/// The tables of SeaORM entities, with their indexes, their foreign keys, and on PostgreSQL the enums of their columns.
///
/// Tables that others refer to are made before those; otherwise the order is that in which the entities are given, so that it is
/// the same each time. Entities that refer to each other in a circle cannot be made in any order: make such a schema with
/// migrations. The fingerprint is made of what they are on every engine; a build of the program that changes no entity needs no new
/// template.
///
/// # Examples
///
/// ```
/// use freshdb_databases::schema::{Schema, SeaOrmEntities, Target};
///
/// mod tag {
///     use sea_orm::entity::prelude::*;
///
///     #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
///     #[sea_orm(table_name = "tags")]
///     pub struct Model {
///         #[sea_orm(primary_key)]
///         pub id: i32,
///         #[sea_orm(unique)]
///         pub name: String,
///     }
///
///     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
///     pub enum Relation {}
///
///     impl ActiveModelBehavior for ActiveModel {}
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let directory = tempfile::tempdir()?;
/// # let file = directory.path().join("test.db");
/// # std::fs::File::create(&file)?;
/// # let target = Target::new(freshdb_databases::DatabaseUrl::file(file));
/// SeaOrmEntities::new().with(tag::Entity).apply(&target).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct SeaOrmEntities {
    entities: Vec<fn(DbBackend) -> Table>,
}

/// What one entity needs. It is no SQL yet: not every engine has every type, and SeaORM panics where it shall write one that it does not have.
struct Table {
    name: String,
    enums: Vec<TypeCreateStatement>,
    create: TableCreateStatement,
    indexes: Vec<IndexCreateStatement>,
    /// The tables that its foreign keys lead to, but itself.
    refers_to: Vec<String>,
}

impl SeaOrmEntities {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this one, too.
    #[must_use]
    pub fn with<E: EntityTrait>(mut self, _: E) -> Self {
        self.entities.push(table_of::<E>);
        self
    }

    /// The tables, those that others refer to first.
    fn tables(&self, backend: DbBackend) -> Result<Vec<Table>, Error> {
        let mut waiting: Vec<Table> = Vec::new();
        for table in self.entities.iter().map(|table_of| table_of(backend)) {
            if !waiting.iter().any(|other| other.name == table.name) {
                waiting.push(table);
            }
        }
        require_all(&waiting)?;
        let mut sorted: Vec<Table> = Vec::new();
        while !waiting.is_empty() {
            let is_made = |name: &String| sorted.iter().any(|table| table.name == *name);
            let Some(next) = waiting.iter().position(|table| table.refers_to.iter().all(is_made)) else {
                return Err(circle(&waiting));
            };
            sorted.push(waiting.remove(next));
        }
        Ok(sorted)
    }
}

fn table_of<E: EntityTrait>(backend: DbBackend) -> Table {
    let schema = sea_orm::Schema::new(backend);
    let entity = E::default();
    let create = schema.create_table_from_entity(entity);
    let name = create.get_table_name().map(name_of).unwrap_or_default();
    let mut refers_to: Vec<String> = create.get_foreign_key_create_stmts().iter().filter_map(referred).collect();
    refers_to.retain(|other| *other != name);
    Table {
        enums: schema.create_enum_from_entity(entity),
        indexes: schema.create_index_from_entity(entity),
        create,
        name,
        refers_to,
    }
}

fn referred(key: &ForeignKeyCreateStatement) -> Option<String> {
    key.get_foreign_key().get_ref_table().map(name_of)
}

/// With the schema, where one is named.
fn name_of(table: &TableRef) -> String {
    match table {
        TableRef::Table(TableName(Some(schema), table), _) => {
            format!("{}.{}", schema.1.clone().into_iden().inner(), table.inner())
        }
        TableRef::Table(TableName(None, table), _) => table.inner().to_string(),
        _ => String::new(),
    }
}

fn require_all(tables: &[Table]) -> Result<(), Error> {
    for table in tables {
        if let Some(missing) = table.refers_to.iter().find(|name| !tables.iter().any(|table| table.name == **name)) {
            let fact = format!("the entity of `{}` refers to `{missing}`, which is not among the entities", table.name);
            return Err(Error::new(ErrorKind::Schema, fact).hint("add its entity with `.with(…)`"));
        }
    }
    Ok(())
}

/// Whoever is followed long enough among tables that all wait for another is in a circle.
fn circle(waiting: &[Table]) -> Error {
    let mut path = vec![&waiting[0]];
    loop {
        let last = path[path.len() - 1];
        let next = waiting.iter().find(|table| last.refers_to.contains(&table.name));
        let next = next.expect("a table waits only for another that waits");
        if let Some(start) = path.iter().position(|table| table.name == next.name) {
            let mut names: Vec<String> = path[start..].iter().map(|table| format!("`{}`", table.name)).collect();
            names.push(format!("`{}`", next.name));
            let fact = format!("the entities refer to each other in a circle: {}", names.join(" → "));
            return Error::new(ErrorKind::Schema, fact)
                .hint("make these tables with migrations, or with SQL, which can add a foreign key afterwards");
        }
        path.push(next);
    }
}

impl Table {
    async fn create(&self, connection: &DatabaseConnection, made: &mut Vec<Statement>) -> Result<(), Error> {
        let backend = connection.get_database_backend();
        for statement in &self.enums {
            let statement = backend.build(statement);
            // Several tables may have columns of one enum.
            if !made.contains(&statement) {
                self.run(connection, &statement, "an enum of the entity of").await?;
                made.push(statement);
            }
        }
        self.run(connection, &backend.build(&self.create), "the entity of").await?;
        for statement in &self.indexes {
            self.run(connection, &backend.build(statement), "an index of the entity of").await?;
        }
        Ok(())
    }

    async fn run(&self, connection: &DatabaseConnection, statement: &Statement, what: &str) -> Result<(), Error> {
        debug_assert!(statement.values.is_none(), "a definition has no parameters");
        // Prepared, each would be kept by the driver until there are a hundred. To give one up again takes sqlx 0.9.0 40 ms on MySQL.
        connection.execute_unprepared(&statement.sql).await.map(drop).map_err(|error| {
            Error::new(ErrorKind::Schema, format!("{what} `{}` cannot be made", self.name)).because(error)
        })
    }
}

impl Schema for SeaOrmEntities {
    fn fingerprint(&self, fingerprint: &mut Fingerprint) -> Result<(), SchemaError> {
        fingerprint.add("sea-orm", "entities");
        for backend in [DbBackend::Sqlite, DbBackend::MySql, DbBackend::Postgres] {
            for table in self.tables(backend)? {
                fingerprint.add("table", &table.name);
                fingerprint.add("statements", format!("{:?}", (&table.enums, &table.create, &table.indexes)));
            }
        }
        Ok(())
    }

    fn apply<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), SchemaError>> {
        Box::pin(async move {
            let connection = connection::open(target).await?;
            let done = create_all(self, &connection).await;
            Ok(connection::close_after(connection, done).await?)
        })
    }
}

async fn create_all(entities: &SeaOrmEntities, connection: &DatabaseConnection) -> Result<(), Error> {
    let mut enums = Vec::new();
    for table in entities.tables(connection.get_database_backend())? {
        table.create(connection, &mut enums).await?;
    }
    Ok(())
}

impl fmt::Debug for SeaOrmEntities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.entities.iter().map(|table_of| table_of(DbBackend::Sqlite).name);
        formatter.debug_tuple("SeaOrmEntities").field(&names.collect::<Vec<_>>()).finish()
    }
}
