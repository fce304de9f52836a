//! Schemas out of SeaORM's migrations and entities.

mod connection;
mod entities;
#[cfg(feature = "sea-orm-migrations")]
mod migrations;

pub use entities::SeaOrmEntities;
#[cfg(feature = "sea-orm-migrations")]
pub use migrations::SeaOrmMigrations;
