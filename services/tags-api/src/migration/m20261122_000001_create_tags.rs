//! Creates the table `tags`.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::prelude::*;

use crate::database::dialect;
use crate::tags::{MAX_DESCRIPTION_CHARS, MAX_TAG_ID_CHARS};

/// See the module.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum Tags {
    Table,
    TagId,
    Description,
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // A tag's identity is its exact code points: no folding of case or accents, no padding of trailing spaces.
        let exactly = dialect::collation_by_code_point(manager.get_connection()).await?;
        let mut tag_id = ColumnDef::new(Tags::TagId);
        tag_id.string_len(MAX_TAG_ID_CHARS).extra(format!("COLLATE {exactly}")).not_null().primary_key();
        let mut description = ColumnDef::new(Tags::Description);
        description.string_len(MAX_DESCRIPTION_CHARS).extra(format!("COLLATE {exactly}")).null();
        manager.create_table(Table::create().table(Tags::Table).col(&mut tag_id).col(&mut description).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Tags::Table).to_owned()).await
    }
}
