//! Reading and writing tags.
//!
//! Each function takes the [`Database`], so that it may run its work again where the database asks for that: a deadlock,
//! a connection that a restarted server has closed.

use std::sync::Arc;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Statement};

use super::batch::Batch;
use super::entity::{Column, Entity};
use super::tag::{NewTag, Tag, TagId};
use crate::database::{self, Database};

/// Which tags to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Only tags that begin with this, code point for code point.
    pub prefix: String,
    /// Only tags that come after this one.
    pub after: Option<String>,
    /// At most this many, or all.
    pub limit: Option<u64>,
}

/// Stores all of `tags`, or none: new ones are inserted, and of known ones the description is changed where one was
/// given. Repeats count as if they had been posted one after another.
///
/// # Errors
///
/// If the database does not answer, or other writers won too often. Nothing is stored then.
///
/// # Cancellation
///
/// Safe: dropped before the commit was sent, nothing will be stored; afterwards, all of it may be.
pub async fn upsert(database: &Database, tags: &[NewTag]) -> Result<(), database::Error> {
    if tags.is_empty() {
        return Ok(());
    }
    let statements: Arc<[Statement]> = Batch::of(tags).statements(database.backend()).collect();
    database
        .write(move |mut transaction| {
            let statements = statements.clone();
            async move {
                for statement in &*statements {
                    transaction.execute(statement).await?;
                }
                transaction.commit().await
            }
        })
        .await
}

/// The tags of a listing, in the order of their code points.
///
/// # Errors
///
/// If the database does not answer.
///
/// # Cancellation
///
/// Safe.
pub async fn list(database: &Database, listing: &Listing) -> Result<Vec<Tag>, database::Error> {
    let mut select = Entity::find().select_only().columns([Column::TagId, Column::Description]);
    select = select.order_by_asc(Column::TagId);
    // A range and not LIKE, whose escapes and case rules differ from engine to engine.
    if !listing.prefix.is_empty() {
        select = select.filter(Column::TagId.gte(listing.prefix.as_str()));
        if let Some(end) = after_every_text_with(&listing.prefix) {
            select = select.filter(Column::TagId.lt(end));
        }
    }
    if let Some(after) = &listing.after {
        select = select.filter(Column::TagId.gt(after.as_str()));
    }
    if let Some(limit) = listing.limit {
        select = select.limit(limit);
    }
    let rows = database.fetch::<(String, Option<String>)>(select.build(database.backend())).await?;
    Ok(rows.into_iter().map(|(tag_id, description)| Tag { tag_id, description }).collect())
}

/// The tag of this identity, if it is stored.
///
/// # Errors
///
/// If the database does not answer.
///
/// # Cancellation
///
/// Safe.
pub async fn find(database: &Database, tag_id: &TagId) -> Result<Option<Tag>, database::Error> {
    let select = Entity::find_by_id(tag_id.as_str()).select_only().columns([Column::TagId, Column::Description]);
    let rows = database.fetch::<(String, Option<String>)>(select.build(database.backend())).await?;
    Ok(rows.into_iter().next().map(|(tag_id, description)| Tag { tag_id, description }))
}

/// Deletes the tag of this identity, and says whether there was one.
///
/// # Errors
///
/// If the database does not answer, or other writers won too often. The tag is stored still then.
///
/// # Cancellation
///
/// Safe: dropped before the commit was sent, the tag stays; afterwards, it may be gone.
pub async fn delete(database: &Database, tag_id: &TagId) -> Result<bool, database::Error> {
    let delete = Entity::delete_many().filter(Column::TagId.eq(tag_id.as_str())).build(database.backend());
    let delete = Arc::new(delete);
    database
        .write(move |mut transaction| {
            let delete = delete.clone();
            async move {
                let deleted = transaction.execute(&delete).await?;
                transaction.commit().await?;
                Ok(deleted > 0)
            }
        })
        .await
}

/// The least text that is greater than every text that begins with `prefix`, or `None` if none is.
fn after_every_text_with(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // `char`'s range steps over the surrogates, as the order of code points in UTF-8 does.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::after_every_text_with;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_every_text_with("ab"), Some("ac".into()));
        assert_eq!(after_every_text_with("a\u{d7ff}"), Some("a\u{e000}".into()));
        assert_eq!(after_every_text_with("a\u{10ffff}"), Some("b".into()));
        assert_eq!(after_every_text_with("\u{10ffff}"), None);
        assert_eq!(after_every_text_with(""), None);
    }

    proptest! {
        #[test]
        fn a_text_is_in_the_range_just_if_it_has_the_prefix(prefix in ".{0,3}", text in ".{0,5}") {
            let in_range = text >= prefix && after_every_text_with(&prefix).is_none_or(|end| text < end);
            prop_assert_eq!(in_range, text.starts_with(&prefix));
            let longer = format!("{prefix}{text}");
            prop_assert!(after_every_text_with(&prefix).is_none_or(|end| longer >= prefix && longer < end));
        }
    }
}
