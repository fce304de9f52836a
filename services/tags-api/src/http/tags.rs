//! The handlers of `/api`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use freshdb::OrmTx;
use freshdb::axum::Then;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::NewTags;
use super::path::NamedTag;
use super::problem;
use super::session::{Reading, Writing};
use crate::database;
use crate::tags::store::{self, Listing};
use crate::tags::{NewTag, Patch, Tag, TagId};

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Tag)]
pub(super) struct TagView {
    /// The tag's identity: its exact code points. The empty string is a tag, NUL is not part of any.
    #[schema(max_length = 255, pattern = r"^[^\x00]*$", examples("Python"))]
    tag_id: String,
    /// What the tag means. Posted, `null` clears it; absent, it stays as it is. It is left out of answers where there is
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$", examples("A language"))]
    description: Option<String>,
}

/// A list of tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Tags)]
pub(super) struct TagsView {
    /// The tags.
    tags: Vec<TagView>,
}

/// Stores tags, all or none.
///
/// New tags are inserted; of known ones the description is changed where one is given. The answer repeats the request.
#[utoipa::path(
    post,
    path = "/api/tags",
    tag = "tags",
    request_body = TagsView,
    responses(
        (status = 201, description = "All of them are stored", body = TagsView),
        (status = 400, description = "The body is not UTF-8", body = super::docs::Detail),
        (status = 413, description = "The body is too large", body = super::docs::Detail),
        (status = 422, description = "Everything that is wrong with the body; nothing is stored", body = super::docs::Violations),
        (status = 503, description = "Busy, or the database is away or read-only: try again after `Retry-After` seconds", body = super::docs::Detail),
    )
)]
pub(super) async fn upsert(
    Then(NewTags(tags), Writing(tx)): Then<NewTags, Writing>,
) -> Result<(StatusCode, Json<TagsView>), database::Error> {
    store::upsert(tx, &tags).await?;
    Ok((StatusCode::CREATED, Json(TagsView { tags: tags.into_iter().map(TagView::from).collect() })))
}

/// Lists tags in the order of their code points.
///
/// For a page, give `limit`; for the next, the last tag of this one as `after`.
#[utoipa::path(
    get,
    path = "/api/tag",
    tag = "tags",
    params(
        ("prefix" = Option<String>, Query, description = "Only tags that begin with this, code point for code point", pattern = r"^[^\x00]*$"),
        ("after" = Option<String>, Query, description = "Only tags that come after this one", pattern = r"^[^\x00]*$"),
        ("limit" = Option<u64>, Query, description = "At most this many; 0 or absent: all", format = "uint64"),
    ),
    responses(
        (status = 200, description = "The tags", body = TagsView),
        (status = 422, description = "A parameter is not valid", body = super::docs::Violations),
        (status = 503, description = "Busy, or the database is away: try again after `Retry-After` seconds", body = super::docs::Detail),
    )
)]
pub(super) async fn list(listing: Listing, Reading(session): Reading) -> Result<Json<TagsView>, database::Error> {
    let tags = store::list(session, &listing).await?;
    Ok(Json(TagsView { tags: tags.into_iter().map(TagView::from).collect() }))
}

/// Finds one tag.
///
/// The empty tag has no path of its own: `/api/tag/` leads to the list, where it comes first.
#[utoipa::path(
    get,
    path = "/api/tag/{tag_id}",
    tag = "tags",
    params(("tag_id" = String, Path, description = "The tag, percent-encoded", min_length = 1)),
    responses(
        (status = 200, description = "The tag", body = TagView),
        (status = 404, description = "There is no such tag", body = super::docs::Detail),
        (status = 422, description = "The path is not UTF-8", body = super::docs::Violations),
        (status = 503, description = "Busy, or the database is away: try again after `Retry-After` seconds", body = super::docs::Detail),
    )
)]
pub(super) async fn find(NamedTag(tag_id): NamedTag, Reading(session): Reading) -> Response {
    match store::find(session, &tag_id).await {
        Ok(Some(tag)) => Json(TagView::from(tag)).into_response(),
        Ok(None) => problem::not_found(),
        Err(error) => error.into_response(),
    }
}

/// Deletes one tag.
///
/// The empty tag is deleted by `DELETE /api/tag/`.
#[utoipa::path(
    delete,
    path = "/api/tag/{tag_id}",
    tag = "tags",
    params(("tag_id" = String, Path, description = "The tag, percent-encoded", min_length = 1)),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "There is no such tag", body = super::docs::Detail),
        (status = 422, description = "The path is not UTF-8", body = super::docs::Violations),
        (status = 503, description = "Busy, or the database is away or read-only: try again after `Retry-After` seconds", body = super::docs::Detail),
    )
)]
pub(super) async fn remove(NamedTag(tag_id): NamedTag, Writing(tx): Writing) -> Response {
    delete(tx, &tag_id).await
}

/// Deletes the empty tag.
pub(super) async fn remove_empty(Writing(tx): Writing) -> Response {
    delete(tx, &TagId::default()).await
}

async fn delete(tx: OrmTx, tag_id: &TagId) -> Response {
    match store::delete(tx, tag_id).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => problem::not_found(),
        Err(error) => error.into_response(),
    }
}

impl From<Tag> for TagView {
    fn from(Tag { tag_id, description }: Tag) -> Self {
        Self { tag_id, description }
    }
}

impl From<NewTag> for TagView {
    /// What was posted, not what is stored: a description that stays as it is was not part of the request.
    fn from(NewTag { tag_id, description }: NewTag) -> Self {
        let description = match description {
            Patch::Set(description) => Some(description),
            Patch::Keep | Patch::Clear => None,
        };
        Self { tag_id: tag_id.to_string(), description }
    }
}
