//! The table `tags`, as SeaORM's entity.

use sea_orm::entity::prelude::*;

/// A row of `tags`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tags")]
pub struct Model {
    /// The tag's identity: its exact code points, in a column whose collation compares just those.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tag_id: String,
    /// What the tag means, where someone said so.
    pub description: Option<String>,
}

/// `tags` has no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
