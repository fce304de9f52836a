//! Reading and writing tags.
//!
//! Each function takes the session or the transaction that it needs, whole: where the database asks for that, it runs its
//! work again on another one. A deadlock, a connection that a restarted server has closed.

use std::sync::atomic::{AtomicBool, Ordering};

use freshdb::{OrmSession, OrmTx};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
    Select, Statement,
};

use super::batch::Batch;
use super::entity::{Column, Entity};
use super::tag::{NewTag, Tag, TagId};
use crate::database;

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
/// If the database does not answer, or other writers won too often. Nothing is stored then, unless the last commit was not answered.
///
/// # Cancellation
///
/// Safe: dropped before the commit was sent, nothing will be stored; afterwards, all of it may be.
pub async fn upsert(tx: OrmTx, tags: &[NewTag]) -> Result<(), database::Error> {
    let statements: Vec<Statement> = Batch::of(tags).statements(tx.backend()).collect();
    let stored: Result<(), DbErr> = tx
        .run(async |tx| {
            for statement in &statements {
                tx.execute_raw(statement.clone()).await?;
            }
            tx.commit().await
        })
        .await;
    Ok(stored?)
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
pub async fn list(session: OrmSession, listing: &Listing) -> Result<Vec<Tag>, database::Error> {
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
    fetch(session, select).await
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
pub async fn find(session: OrmSession, tag_id: &TagId) -> Result<Option<Tag>, database::Error> {
    let select = Entity::find_by_id(tag_id.as_str()).select_only().columns([Column::TagId, Column::Description]);
    Ok(fetch(session, select).await?.pop())
}

/// Deletes the tag of this identity, and says whether there was one.
///
/// # Errors
///
/// If the database does not answer, or other writers won too often. The tag is stored still then, unless the last commit was not
/// answered.
///
/// # Cancellation
///
/// Safe: dropped before the commit was sent, the tag stays; afterwards, it may be gone.
pub async fn delete(tx: OrmTx, tag_id: &TagId) -> Result<bool, database::Error> {
    let delete = Entity::delete_many().filter(Column::TagId.eq(tag_id.as_str())).build(tx.backend());
    // Of all attempts: where a commit was carried out and the connection lost before it said so, the next finds nothing.
    let existed = AtomicBool::new(false);
    let deleted: Result<(), DbErr> = tx
        .run(async |tx| {
            let done = tx.execute_raw(delete.clone()).await?;
            existed.fetch_or(done.rows_affected() > 0, Ordering::Relaxed);
            tx.commit().await
        })
        .await;
    deleted?;
    Ok(existed.into_inner())
}

/// The tags that a statement of their two columns gives.
async fn fetch(session: OrmSession, select: Select<Entity>) -> Result<Vec<Tag>, database::Error> {
    let statement = select.build(session.backend());
    let tags: Result<Vec<Tag>, DbErr> = session
        .run(async |session| {
            let rows = session.query_all_raw(statement.clone()).await?;
            let tag =
                |row: &QueryResult| Ok(Tag { tag_id: row.try_get_by_index(0)?, description: row.try_get_by_index(1)? });
            rows.iter().map(tag).collect()
        })
        .await;
    Ok(tags?)
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
