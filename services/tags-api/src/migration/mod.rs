//! The schema, as the steps that lead to it.

mod m20261122_000001_create_tags;

use std::collections::HashSet;

use sea_orm::{DbErr, EntityTrait};
use sea_orm_migration::{IntoSchemaManagerConnection, MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations};

use crate::database::dialect;

/// The service's migrations, in order.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_create_tags::Migration)]
    }
}

/// The names of the migrations that the database lacks, in order. Reads only, so a user without the right to change the
/// schema may ask, who has the right to read which were applied.
///
/// A database that is ahead, because a newer version of the service has migrated it, lacks none.
pub(crate) async fn pending<'c>(connection: impl IntoSchemaManagerConnection<'c>) -> Result<Vec<String>, DbErr> {
    let manager = SchemaManager::new(connection);
    let applied: HashSet<String> = if dialect::has_history(&manager).await? {
        let rows = seaql_migrations::Entity::find().all(manager.get_connection()).await?;
        rows.into_iter().map(|row| row.version).collect()
    } else {
        HashSet::new()
    };
    let names = Migrator::migrations().into_iter().map(|migration| migration.name().to_owned());
    Ok(names.filter(|name| !applied.contains(name)).collect())
}
