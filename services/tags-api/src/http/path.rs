//! The path of `/api/tag/{tag_id}`.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::Response;

use super::problem::{Input, Place, Violation, not_found, unprocessable};
use crate::tags::TagId;

/// The tag that a path names.
pub(super) struct NamedTag(pub(super) TagId);

impl<S: Send + Sync> FromRequestParts<S> for NamedTag {
    type Rejection = Response;

    /// A text that cannot be a tag names one that is not there.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(unprocessable(&[Violation {
                kind: "string_unicode",
                loc: vec![Place::Name("path"), Place::Name("tag_id")],
                msg: "Input should be a valid string, unable to parse raw data as a unicode string".into(),
                input: Input::Null,
                ctx: None,
            }]));
        };
        TagId::parse(text).map(Self).map_err(|_| not_found())
    }
}
