//! A tag and its parts, each valid from the moment it exists.

use std::fmt;

/// The longest tag, in Unicode scalar values: what the column `tag_id` holds on every engine.
pub const MAX_TAG_ID_CHARS: u32 = 255;

/// The longest description, in Unicode scalar values.
pub const MAX_DESCRIPTION_CHARS: u32 = 1000;

/// A tag's identity: its exact code points, at most [`MAX_TAG_ID_CHARS`] of them.
///
/// The empty string is a tag. Case, accents, width, trailing spaces and normalisation forms all tell tags apart. NUL is
/// refused because PostgreSQL cannot store it, and a tag means the same on every engine.
///
/// ```
/// use tags_api::tags::{TagId, TagIdError};
///
/// assert_ne!(TagId::parse("café")?, TagId::parse("cafe\u{301}")?);
/// assert_eq!(TagId::parse("x".repeat(256)), Err(TagIdError::TooLong));
/// assert_eq!(TagId::parse("a\0b"), Err(TagIdError::Nul));
/// # Ok::<(), TagIdError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(String);

/// Why a text is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagIdError {
    /// It has more than [`MAX_TAG_ID_CHARS`] Unicode scalar values.
    #[error("a tag has at most {MAX_TAG_ID_CHARS} characters")]
    TooLong,
    /// It contains U+0000.
    #[error("a tag must not contain the NUL character (U+0000)")]
    Nul,
}

impl TagId {
    /// Takes a text as a tag.
    ///
    /// # Errors
    ///
    /// If it is too long or contains NUL.
    pub fn parse(text: impl Into<String>) -> Result<Self, TagIdError> {
        let text = text.into();
        if exceeds(&text, MAX_TAG_ID_CHARS) {
            Err(TagIdError::TooLong)
        } else if text.contains('\0') {
            Err(TagIdError::Nul)
        } else {
            Ok(Self(text))
        }
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TagId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a request says of a value that may be null: nothing, "none", or a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// It was absent: what is stored stays.
    #[default]
    Keep,
    /// It was null: what is stored is cleared.
    Clear,
    /// It was given.
    Set(T),
}

/// Why a text is not a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// It has more than [`MAX_DESCRIPTION_CHARS`] Unicode scalar values.
    #[error("a description has at most {MAX_DESCRIPTION_CHARS} characters")]
    TooLong,
    /// It contains U+0000.
    #[error("a description must not contain the NUL character (U+0000)")]
    Nul,
}

/// A tag as a client posts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTag {
    /// Which tag.
    pub tag_id: TagId,
    /// What becomes of its description.
    pub description: Patch<String>,
}

impl NewTag {
    /// A tag of which nothing else is said.
    pub fn new(tag_id: TagId) -> Self {
        Self { tag_id, description: Patch::Keep }
    }

    /// The same tag with this description.
    ///
    /// # Errors
    ///
    /// If it is too long or contains NUL.
    pub fn described(self, description: impl Into<String>) -> Result<Self, DescriptionError> {
        let description = description.into();
        if exceeds(&description, MAX_DESCRIPTION_CHARS) {
            Err(DescriptionError::TooLong)
        } else if description.contains('\0') {
            Err(DescriptionError::Nul)
        } else {
            Ok(Self { description: Patch::Set(description), ..self })
        }
    }

    /// The same tag with its description cleared.
    #[must_use]
    pub fn undescribed(self) -> Self {
        Self { description: Patch::Clear, ..self }
    }
}

/// A tag as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Which tag.
    pub tag_id: String,
    /// What it means, where someone said so.
    pub description: Option<String>,
}

/// Whether `text` has more than `limit` Unicode scalar values. A text has at most as many of them as bytes, and at least
/// a quarter: most answers need no count.
fn exceeds(text: &str, limit: u32) -> bool {
    let limit = limit as usize;
    text.len() > limit && (text.len() > 4 * limit || text.chars().count() > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_scalar_values() {
        for character in ["a", "é", "あ", "🦀"] {
            assert!(TagId::parse(character.repeat(255)).is_ok(), "{character} × 255");
            assert_eq!(TagId::parse(character.repeat(256)), Err(TagIdError::TooLong), "{character} × 256");
        }
    }

    #[test]
    fn the_empty_string_is_a_tag() {
        assert_eq!(TagId::parse("").expect("a tag").as_str(), "");
    }

    #[test]
    fn a_description_has_its_own_limit() {
        let tag = NewTag::new(TagId::parse("t").expect("a tag"));
        assert!(tag.clone().described("🦀".repeat(1000)).is_ok());
        assert_eq!(tag.clone().described("🦀".repeat(1001)), Err(DescriptionError::TooLong));
        assert_eq!(tag.described("\0"), Err(DescriptionError::Nul));
    }
}
