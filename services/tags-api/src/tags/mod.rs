//! What a tag is, and where tags are kept.

mod batch;
pub mod entity;
pub mod store;
mod tag;

pub use tag::{DescriptionError, NewTag, Patch, Tag, TagId, TagIdError};
pub use tag::{MAX_DESCRIPTION_CHARS, MAX_TAG_ID_CHARS};
