//! The requests that are measured, and what the database holds meanwhile.

use serde::{Deserialize, Serialize};

/// A tag as both contenders read and write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) tag_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}

/// The body of a request or an answer: any number of tags, or a fixed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tags<List = Vec<Tag>> {
    pub(super) tags: List,
}

/// One of the three requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// GET of all tags, which are 2.
    Get2,
    /// GET of all tags, which are 100.
    Get100,
    /// POST of 2 tags that the database knows, each time another pair, and always with new descriptions.
    Post2,
}

/// How many pairs of tags are posted in turn: with 64 connections, and 10 to the database, two requests hardly ever
/// meet at one row.
const PAIRS: usize = 1000;

impl Request {
    pub(super) const ALL: [Self; 3] = [Self::Get2, Self::Get100, Self::Post2];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get2 => "get_2",
            Self::Get100 => "get_100",
            Self::Post2 => "post_2",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Get2 | Self::Get100 => "/api/tag",
            Self::Post2 => "/api/tags",
        }
    }

    /// What the database holds before the first request, as the pairs in which it is posted; in the order of a listing.
    pub(super) fn content(self) -> Vec<[Tag; 2]> {
        let pairs = match self {
            Self::Get2 => 1,
            Self::Get100 => 50,
            Self::Post2 => PAIRS,
        };
        (0..pairs).map(|number| pair(number, "first")).collect()
    }

    /// The bodies that are posted in turn, or none for a request without a body.
    ///
    /// Every pair comes twice, with other descriptions the second time: each request has something to write.
    pub(super) fn bodies(self) -> impl Iterator<Item = Tags<[Tag; 2]>> {
        let wordings: &[&str] = if self == Self::Post2 { &["second", "third"] } else { &[] };
        wordings.iter().flat_map(|wording| (0..PAIRS).map(|number| Tags { tags: pair(number, wording) }))
    }
}

fn pair(number: usize, wording: &str) -> [Tag; 2] {
    [2 * number, 2 * number + 1].map(|tag| Tag {
        tag_id: format!("tag-{tag:04}"),
        description: Some(format!("what tag {tag} means, in its {wording} wording")),
    })
}
