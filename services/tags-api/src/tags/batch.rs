//! The upsert of one request, as the statements that carry it out.

use std::collections::BTreeMap;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, DbBackend, EntityTrait, QueryTrait, Statement};

use super::entity::{ActiveModel, Column, Entity};
use super::tag::{NewTag, Patch};

/// Rows a statement carries at the most: 2 048 parameters, far below every engine's limit (SQLite: 32 766, the others:
/// 65 535), and small enough that a server parses it in a few milliseconds.
const LARGEST_CHUNK: usize = 1024;

/// Up to this many rows a chunk has any length.
const LARGEST_ODD_CHUNK: usize = 16;

/// The tags of one request, each once, in the order of their identity.
///
/// Two requests that upsert overlapping sets lock the rows they share in one order, whatever order their clients named
/// them in: neither waits for the other in a circle. Where some tags have a description and some have not, that takes an
/// insert of all of them: what one request describes, another may not.
pub(super) struct Batch {
    /// Tags that are inserted where they are missing, and stay as they are where they are not.
    inserted: Vec<String>,
    /// Tags whose description becomes this, after that.
    described: Vec<(String, Option<String>)>,
}

impl Batch {
    /// Folds repeated tags into one, as if they had been posted one after another: the last that says anything of the
    /// description wins.
    pub(super) fn of(tags: &[NewTag]) -> Self {
        let mut unique: BTreeMap<&str, &Patch<String>> = BTreeMap::new();
        for tag in tags {
            let description = unique.entry(tag.tag_id.as_str()).or_insert(&Patch::Keep);
            if tag.description != Patch::Keep {
                *description = &tag.description;
            }
        }
        let every_tag_is_described = unique.values().all(|description| **description != Patch::Keep);
        let mut batch = Self { inserted: Vec::new(), described: Vec::new() };
        for (tag_id, description) in unique {
            if !every_tag_is_described {
                batch.inserted.push(tag_id.to_owned());
            }
            match description {
                Patch::Keep => {}
                Patch::Clear => batch.described.push((tag_id.to_owned(), None)),
                Patch::Set(text) => batch.described.push((tag_id.to_owned(), Some(text.clone()))),
            }
        }
        batch
    }

    /// The statements, to be executed in this order in one transaction.
    pub(super) fn statements(&self, backend: DbBackend) -> impl Iterator<Item = Statement> {
        let inserted = chunks(&self.inserted).map(move |tag_ids| {
            let rows = tag_ids.iter().map(|tag_id| row(tag_id, ActiveValue::NotSet));
            // MySQL has no DO NOTHING: SeaORM writes `tag_id = tag_id` there, which changes nothing either.
            Entity::insert_many(rows)
                .on_conflict(OnConflict::column(Column::TagId).do_nothing_on([Column::TagId]).to_owned())
                .build(backend)
        });
        let described = chunks(&self.described).map(move |tags| {
            let rows = tags.iter().map(|(tag_id, description)| row(tag_id, ActiveValue::Set(description.clone())));
            Entity::insert_many(rows)
                .on_conflict(OnConflict::column(Column::TagId).update_column(Column::Description).to_owned())
                .build(backend)
        });
        inserted.chain(described)
    }
}

fn row(tag_id: &str, description: ActiveValue<Option<String>>) -> ActiveModel {
    ActiveModel { tag_id: ActiveValue::Set(tag_id.to_owned()), description }
}

/// Cuts `rows` into chunks whose lengths are few: any up to [`LARGEST_ODD_CHUNK`], and above it powers of two.
///
/// Each length is a statement text of its own, which every connection prepares and keeps in a cache of 100. Were every
/// length possible, clients with lists of varying length would fill it with statements that are never used again.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        if rows.is_empty() {
            return None;
        }
        let length = match rows.len() {
            length @ ..=LARGEST_ODD_CHUNK => length,
            length => LARGEST_CHUNK.min(1 << length.ilog2()),
        };
        let (chunk, rest) = rows.split_at(length);
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tag::TagId;
    use super::*;

    fn tag(tag_id: &str, description: &Patch<&str>) -> NewTag {
        let tag = NewTag::new(TagId::parse(tag_id).expect("a tag"));
        match description {
            Patch::Keep => tag,
            Patch::Clear => tag.undescribed(),
            Patch::Set(text) => tag.described(*text).expect("a description"),
        }
    }

    #[test]
    fn a_repeated_tag_is_written_once_and_the_last_word_on_it_wins() {
        let tags = [
            tag("b", &Patch::Set("first")),
            tag("a", &Patch::Keep),
            tag("b", &Patch::Set("second")),
            tag("b", &Patch::Keep),
            tag("c", &Patch::Set("gone")),
            tag("c", &Patch::Clear),
        ];
        let batch = Batch::of(&tags);
        assert_eq!(batch.inserted, ["a", "b", "c"], "in one order, with what is described");
        assert_eq!(batch.described, [("b".to_owned(), Some("second".to_owned())), ("c".to_owned(), None)]);
    }

    #[test]
    fn tags_that_are_all_described_are_written_once() {
        let batch = Batch::of(&[tag("b", &Patch::Set("second")), tag("a", &Patch::Clear)]);
        assert!(batch.inserted.is_empty());
        assert_eq!(batch.described, [("a".to_owned(), None), ("b".to_owned(), Some("second".to_owned()))]);
    }

    proptest! {
        #[test]
        fn chunks_are_the_rows_in_order_and_have_few_lengths(length in 0_usize..5000) {
            let rows: Vec<usize> = (0..length).collect();
            let chunks: Vec<&[usize]> = chunks(&rows).collect();
            prop_assert_eq!(&chunks.concat(), &rows);
            for chunk in chunks {
                prop_assert!(chunk.len() <= LARGEST_ODD_CHUNK || chunk.len().is_power_of_two());
                prop_assert!((1..=LARGEST_CHUNK).contains(&chunk.len()));
            }
        }
    }
}
